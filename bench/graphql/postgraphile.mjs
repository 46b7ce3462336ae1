// Serves the database with PostGraphile, as role `api` and bound to a principal, and logs each disclosure.
// It is copied into a scratch folder in which npm has installed PostGraphile; BENCH has the settings as JSON.
import { createServer } from "node:http";
import { postgraphile } from "postgraphile";
import { makePgService } from "postgraphile/adaptors/pg";
import { grafserv } from "postgraphile/grafserv/node";
import { PostGraphileAmberPreset } from "postgraphile/presets/amber";

// Node 20 lacks what PostGraphile 5.1 calls.
Promise.withResolvers ??= function () {
  let resolve, reject;
  const promise = new Promise((yes, no) => { resolve = yes; reject = no; });
  return { promise, resolve, reject };
};
const { connection, pgSettings, port, log } = JSON.parse(process.env.BENCH);
const service = makePgService({ connectionString: connection, schemas: ["public"], poolConfig: { max: 10 } });
const adaptor = service.adaptor;
service.adaptor = {
  ...adaptor,
  createWithPgClient(settings, variant) {
    const withPgClient = adaptor.createWithPgClient(settings, variant);
    const logged = (given, callback) =>
      withPgClient(given, async (client) => {
        const result = await callback(client);
        if (given) await client.query({ text: log.text, values: log.values });
        return result;
      });
    return Object.assign(logged, withPgClient);
  },
};
const instance = postgraphile({
  extends: [PostGraphileAmberPreset],
  pgServices: [service],
  grafast: { context: () => ({ pgSettings }) },
  grafserv: { graphiql: false, watch: false },
});
await instance.getSchema();
const server = createServer();
server.on("error", (error) => { console.error(error); process.exit(1); });
await instance.createServ(grafserv).addTo(server);
server.listen(port, "127.0.0.1", () => console.log("ready"));
