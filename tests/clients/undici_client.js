// Two calls of undici, whose proxy and trust come from the environment.
const { EnvHttpProxyAgent, request } = require("undici");

async function main() {
  const [origin, value] = process.argv.slice(2);
  const dispatcher = new EnvHttpProxyAgent();
  const set = await request(`${origin}/set?v=${value}`, { dispatcher });
  await set.body.dump();
  const show = await request(`${origin}/show`, { dispatcher });
  const page = await show.body.text();
  console.log(JSON.stringify({ page, session: show.headers["x-session-id"] }));
  await dispatcher.close();
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
