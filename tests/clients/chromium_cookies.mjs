// Asks Chromium what burdock's cookie table asks burdock, and says where it differs.
//
//     NODE_PATH=tests/.cache/node_modules node tests/clients/chromium_cookies.mjs \
//         src/session/jar/tests/cases.json /usr/bin/chromium-headless-shell [STORED]
//
// A case is a chain of redirects in a browser context of its own: each of its responses comes from its `from` and sets its
// `set`, and the request to `to` that ends the chain carries what Chromium would send. STORED becomes a JSON file of what
// Chromium then holds for each case, as `Storage.getCookies` of CDP gives it.
import { execFileSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import net from "node:net";
import tls from "node:tls";

// `import` does not know NODE_PATH.
const { chromium, errors } = createRequire(import.meta.url)("playwright-core");

const CONTEXTS = 4;
/** How long the navigation of a case may take, and how long all of it, in milliseconds. */
const NAVIGATION = 15_000;
const DEADLINE = 30_000;

/** The visits under way: the requests of one name their visit in a field that Chromium keeps through redirects. */
const visits = new Map();
const VISIT = "x-visit";

/** One walk along the chain of a case. */
class Visit {
  constructor(number, { before = [], from, set, to }) {
    this.number = number;
    this.steps = [...before, { from, set }, { from: to }];
    this.urls = this.steps.map((step) => new URL(step.from));
    /** When the first response left and when the last request came, in milliseconds: cookies were stored in between. */
    this.began = this.ended = undefined;
    /** The octets of the `Cookie` field that came to `to`, empty without one. */
    this.cookie = undefined;
    this.at = 0;
  }

  /** The response to a request, as octets. */
  answer(url, cookie) {
    // Whatever else a browser likes to have, such as an icon, is not part of the chain.
    if (url !== this.urls[this.at]?.href) return response("404 Not Found");
    const { set } = this.steps[this.at++];
    if (this.at === this.steps.length) {
      this.ended = Date.now();
      this.cookie = cookie;
      return response("200 OK");
    }
    this.began ??= Date.now();
    return response("302 Found", [
      `Location: ${this.urls[this.at].href}`,
      ...set.map((line) => `Set-Cookie: ${line}`),
    ]);
  }
}

/** Octets, since Node's own server refuses the control characters of the table. Text of the table is UTF-8. */
function response(status, fields = []) {
  const head = [`HTTP/1.1 ${status}`, "Content-Length: 0", "Cache-Control: no-store", ...fields];
  return Buffer.from(`${head.join("\r\n")}\r\n\r\n`);
}

/** Answers the requests of a connection, which have no bodies. */
function serve(scheme, socket) {
  let unread = "";
  socket.setEncoding("latin1");
  socket.on("data", (octets) => {
    unread += octets;
    for (let end; (end = unread.indexOf("\r\n\r\n")) >= 0; unread = unread.slice(end + 4)) {
      const [line, ...fields] = unread.slice(0, end).split("\r\n");
      const values = (wanted) =>
        fields
          .map((field) => field.split(/: ?(.*)/s))
          .filter(([name]) => name.toLowerCase() === wanted)
          .map(([, value]) => value);
      const url = `${scheme}://${values("host")}${line.split(" ")[1]}`;
      const visit = visits.get(Number(values(VISIT)));
      // Two fields would equal nothing that the table wants.
      const cookie = Buffer.from(values("cookie").join("\n"), "latin1");
      socket.write(visit ? visit.answer(url, cookie) : response("404 Not Found"));
    }
  });
  // A context that is closed drops its connections; what that breaks, the case itself reports.
  socket.on("error", () => socket.destroy());
}

/** The port of a server on a free port of the loopback. */
async function listening(server) {
  await new Promise((resolve, reject) => {
    server.once("error", reject);
    server.listen(0, "127.0.0.1", resolve);
  });
  return server.address().port;
}

/** Chromium for which every name and address is one of our two servers. */
async function launch(executablePath) {
  // Certificates are not what is asked here: key and certificate are one file, made for nobody.
  const pem = execFileSync(
    "openssl",
    ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
      "-subj", "/CN=cookies", "-keyout", "-", "-out", "-"],
    { stdio: ["ignore", "pipe", "ignore"] },
  );
  const http = await listening(net.createServer((socket) => serve("http", socket)).unref());
  const https = await listening(
    tls.createServer({ key: pem, cert: pem }, (socket) => serve("https", socket)).unref(),
  );
  return chromium.launch({
    executablePath,
    args: [
      "--no-sandbox",
      "--disable-gpu",
      "--disable-quic",
      "--disable-sync",
      "--no-proxy-server",
      "--ignore-certificate-errors",
      "--disable-features=HttpsUpgrades,HttpsFirstBalancedMode,HttpsFirstBalancedModeAutoEnable",
      "--host-resolver-rules=" +
        [[80, http], [443, https], [8443, https]]
          .map(([port, ours]) => `MAP *:${port} 127.0.0.1:${ours}`)
          .join(", "),
    ],
  });
}

let numbers = 0;

/** What came to `to` and what Chromium holds then, in a context that nothing else has used. */
async function visit(browser, cdp, test) {
  const visit = new Visit(++numbers, test);
  visits.set(visit.number, visit);
  const context = await browser.newContext({ extraHTTPHeaders: { [VISIT]: String(visit.number) } });
  try {
    const page = await context.newPage();
    const last = await page.goto(visit.urls[0].href, {
      waitUntil: "commit",
      timeout: NAVIGATION,
    });
    if (visit.cookie === undefined) {
      throw new Error(`the chain ended at ${last.url()} with ${last.status()}`);
    }
    const { began, ended, cookie } = visit;
    return { cookie, stored: { began, ended, cookies: await stored(cdp, context, page) } };
  } finally {
    await context.close();
    visits.delete(visit.number);
  }
}

/** The cookies of the page's context as CDP tells them: Playwright's own call makes `Lax` of a missing `SameSite`. */
async function stored(cdp, context, page) {
  const target = await context.newCDPSession(page);
  const { targetInfo } = await target.send("Target.getTargetInfo");
  // Of a page's session the method gives the default context's.
  const { browserContextId } = targetInfo;
  const { cookies } = await cdp.send("Storage.getCookies", { browserContextId });
  return cookies;
}

/** A line for a case that came out otherwise, or nothing; and what is stored. */
async function ask(browser, cdp, test) {
  const attempt = () => withinDeadline(visit(browser, cdp, test));
  const again = (error) => {
    if (!(error instanceof errors.TimeoutError)) throw error;
    console.log(`${test.name}: once more, the navigation took over ${NAVIGATION} ms`);
    return attempt();
  };
  try {
    const { cookie, stored } = await attempt().catch(again);
    const wanted = Buffer.from(test.chromium ?? test.cookie);
    const differs = cookie.equals(wanted)
      ? undefined
      : `Chromium sent ${shown(cookie)}, the table has ${shown(wanted)}`;
    return { differs, stored: { name: test.name, ...stored } };
  } catch (error) {
    return { differs: `failed: ${error.message.split("\n")[0]}` };
  }
}

/** What `work` gives: a browser that no longer answers would let it wait for ever. */
function withinDeadline(work) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`not within ${DEADLINE} ms`)), DEADLINE);
  });
  return Promise.race([work, late]).finally(() => clearTimeout(timer));
}

function shown(octets) {
  const text = octets.toString();
  return JSON.stringify(text.length > 120 ? `${text.slice(0, 100)}... (${octets.length} octets)` : text);
}

async function main() {
  const [table, executablePath, store] = process.argv.slice(2);
  const cases = JSON.parse(readFileSync(table, "utf8"));
  const browser = await launch(executablePath);
  const results = new Array(cases.length);
  try {
    const cdp = await browser.newBrowserCDPSession();
    let next = 0;
    const worker = async () => {
      while (next < cases.length) {
        const number = next++;
        results[number] = await ask(browser, cdp, cases[number]);
      }
    };
    await Promise.all(Array.from({ length: CONTEXTS }, worker));
  } finally {
    await browser.close();
  }
  if (store) {
    writeFileSync(store, JSON.stringify(results.map(({ stored }) => stored).filter(Boolean)));
  }
  let differ = 0;
  results.forEach(({ differs }, number) => {
    if (differs) {
      differ++;
      console.log(`${cases[number].name}: ${differs}`);
    }
  });
  console.log(`${cases.length - differ} agree, ${differ} differ`);
  process.exitCode = differ === 0 && cases.length > 0 ? 0 : 1;
}

await main();
