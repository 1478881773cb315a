// A Playwright page whose proxy credentials name the session; certificates are checked.
const { chromium } = require("playwright-core");

async function main() {
  const [server, username, password, executablePath] = process.argv.slice(2);
  const browser = await chromium.launch({
    executablePath,
    args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-background-networking"],
    proxy: { server, username, password },
  });
  try {
    const visit = async (url) => {
      const context = await browser.newContext();
      const page = await context.newPage();
      const response = await page.goto(url, { timeout: 30000 });
      const text = await page.textContent("body");
      const session = response.headers()["x-session-id"];
      await context.close();
      return { page: text, session };
    };
    await visit(`https://shop.example/set?v=${username}`);
    // A new context has an empty jar of its own: the cookie is the session's.
    console.log(JSON.stringify(await visit("https://shop.example/show")));
  } finally {
    await browser.close();
  }
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
