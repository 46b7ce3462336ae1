// Audits GraphQL over HTTP with the tests of graphql-http: node audit.mjs URL TOKEN. Prints one JSON line for each.
import { serverAudits } from "graphql-http";

const [url, token] = process.argv.slice(2);
const authorized = (input, init = {}) => {
  const headers = new Headers(init.headers);
  headers.set("Authorization", `Bearer ${token}`);
  return fetch(input, { ...init, headers });
};
for (const audit of serverAudits({ url, fetchFn: authorized })) {
  const { status, reason } = await audit.fn();
  console.log(JSON.stringify({ name: audit.name, status, reason: reason ?? null }));
}
