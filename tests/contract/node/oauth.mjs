// Walks the paths of the token endpoint with oauth4webapi; prints one line for each path that went as it must.
// Run as: node oauth.mjs ISSUER ADDRESS CLIENT_ID CLIENT_SECRET
import * as oauth from "oauth4webapi";

const [issuer, address, clientId, secret] = process.argv.slice(2);
// The tests serve the api on a port of its own, and the issuer names another.
const options = {
  [oauth.allowInsecureRequests]: true,
  [oauth.customFetch]: (url, init) => fetch(String(url).replace(issuer, address), init),
};
const server = await oauth.processDiscoveryResponse(
  new URL(issuer),
  await oauth.discoveryRequest(new URL(issuer), { ...options, algorithm: "oauth2" }),
);
console.log("discovery");

const client = { client_id: clientId };
const ask = async (authentication, parameters) =>
  oauth.processClientCredentialsResponse(
    server,
    client,
    await oauth.clientCredentialsGrantRequest(server, client, authentication, new URLSearchParams(parameters), options),
  );
for (const way of ["ClientSecretBasic", "ClientSecretPost"]) {
  const { access_token: token } = await ask(oauth[way](secret), { scope: "roster:read" });
  const answer = await oauth.protectedResourceRequest(
    token,
    "GET",
    new URL(`${address}/v1/students`),
    undefined,
    undefined,
    options,
  );
  if (answer.status === 200) console.log(`${way}: token`);
  for (const [credential, parameters, code] of [
    ["aim_wrong", {}, "invalid_client"],
    [secret, { scope: "no:such" }, "invalid_scope"],
    [secret, { district: "no-such" }, "invalid_request"],
  ]) {
    try {
      await ask(oauth[way](credential), parameters);
    } catch (error) {
      const challenge = error instanceof oauth.WWWAuthenticateChallengeError && code === "invalid_client";
      if (error.error === code || challenge) console.log(`${way}: ${code}`);
    }
  }
}
try {
  await oauth.protectedResourceRequest("spoilt", "GET", new URL(`${address}/v1/students`), undefined, undefined, options);
} catch (error) {
  if (error instanceof oauth.WWWAuthenticateChallengeError) console.log("challenge");
}
