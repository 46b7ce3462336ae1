// Subscribes with the client of others: node subscribe.mjs URL TOKEN. Prints "ready", then the first event, and ends.
import { createClient } from "graphql-ws";
import WebSocket from "ws";

const [url, token] = process.argv.slice(2);
const client = createClient({
  url,
  webSocketImpl: WebSocket,
  connectionParams: { Authorization: `Bearer ${token}` },
  retryAttempts: 0,
});
client.on("connected", () => console.log("ready"));
const events = client.iterate({ query: "subscription { events { cursor node { type subject } } }" });
for await (const result of events) {
  console.log(JSON.stringify(result.data.events.node));
  break;
}
await client.dispose();
