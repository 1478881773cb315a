// Walks Chromium through the table of cookie cases; what it sends, the origins record.
const { readFileSync } = require("node:fs");
const { chromium } = require("playwright-core");

async function main() {
  const [server, executablePath, table] = process.argv.slice(2);
  const cases = JSON.parse(readFileSync(table, "utf8"));
  const browser = await chromium.launch({
    executablePath,
    args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-background-networking"],
    proxy: { server },
  });
  try {
    const context = await browser.newContext();
    const page = await context.newPage();
    for (const [number, { before = [], from, to }] of cases.entries()) {
      await context.clearCookies();
      const visits = [...before.map((response) => response.from), from, to];
      for (const [visit, url] of visits.entries()) {
        await page.setExtraHTTPHeaders({ "X-Visit": `${number}/${visit}` });
        const response = await page.goto(url, { timeout: 10000, waitUntil: "commit" });
        if (response.status() !== 200) {
          throw new Error(`${url}: ${response.status()}`);
        }
      }
    }
  } finally {
    await browser.close();
  }
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
