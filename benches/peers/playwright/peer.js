// What burdock's browser route is compared with: a minimal Playwright script, as one would write it without burdock.
//
//     NODE_PATH=tests/.cache/node_modules node benches/peers/playwright/peer.js EXECUTABLE RESOLVER_RULES
//
// It reads commands, a line of JSON each, and answers each with a line of JSON; it ends with its input.
const readline = require("node:readline");
const { chromium } = require("playwright-core");

const [executablePath, rules] = process.argv.slice(2);
const milliseconds = () => Number(process.hrtime.bigint()) / 1e6;

let browser;
/** The one context that all pages of `pages` share. */
let context;
/** What `idle` and `open` keep until `clear`. */
let kept = [];

/** Renders a page as a scraper does, and says how long it took. */
async function render(context, { url, wants }) {
  const began = milliseconds();
  const page = await context.newPage();
  await page.goto(url, { waitUntil: "load" });
  const html = await page.content();
  await page.close();
  if (!html.includes(wants)) throw new Error(`${url} without ${wants}: ${html}`);
  return milliseconds() - began;
}

const commands = {
  /** Pages for so many seconds, so many at once. */
  async pages({ parallel, seconds, ...what }) {
    await render(context, what);
    const latencies = [];
    const began = milliseconds();
    const worker = async () => {
      while (milliseconds() - began < seconds * 1e3) latencies.push(await render(context, what));
    };
    await Promise.all(Array.from({ length: parallel }, worker));
    return { latencies, seconds: (milliseconds() - began) / 1e3 };
  },

  /** A fresh context, with a state or an empty one, and its first page. */
  async fresh({ state, ...what }) {
    const began = milliseconds();
    const context = await browser.newContext({ storageState: state, ignoreHTTPSErrors: true });
    await render(context, what);
    const took = milliseconds() - began;
    await context.close();
    return { took };
  },

  /** So many contexts, each with a page that has been closed. */
  async idle({ count, ...what }) {
    for (let n = 0; n < count; n++) {
      const context = await browser.newContext({ ignoreHTTPSErrors: true });
      await render(context, what);
      kept.push(context);
    }
    return {};
  },

  /** So many open pages of one context. */
  async open({ count, url }) {
    const context = await browser.newContext({ ignoreHTTPSErrors: true });
    kept.push(context);
    for (let n = 0; n < count; n++) await (await context.newPage()).goto(url, { waitUntil: "load" });
    return {};
  },

  async clear() {
    for (const context of kept.splice(0)) await context.close();
    return {};
  },
};

async function main() {
  browser = await chromium.launch({ executablePath, args: ["--no-sandbox", `--host-resolver-rules=${rules}`] });
  try {
    context = await browser.newContext({ ignoreHTTPSErrors: true });
    console.log(JSON.stringify({ version: browser.version() }));
    for await (const line of readline.createInterface({ input: process.stdin })) {
      const { command, ...what } = JSON.parse(line);
      console.log(JSON.stringify(await commands[command](what)));
    }
  } finally {
    await browser.close();
  }
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
