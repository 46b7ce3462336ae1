// Renders GraphiQL and sends its operations with the token that the form got. The token is kept in memory only.
"use strict";

const EXAMPLE = `# Authorize above, then press Ctrl-Enter.
{
  supports(first: 5) {
    edges {
      node { id state
             verdict { state sentence } }
    }
  }
}
`;
const form = document.getElementById("authorize");
const outcome = document.getElementById("outcome");
const root = document.getElementById("editor");
const headers = { "Content-Type": "application/json", Accept: "application/graphql-response+json, application/json" };

function render() {
  // A new fetcher makes GraphiQL load the schema again, now with the token.
  const fetcher = async (operation) => {
    const answer = await fetch("graphql", { method: "POST", headers, body: JSON.stringify(operation) });
    return answer.json();
  };
  // The editor's content may name a student: it lasts as long as the browser's tab, and no longer.
  const properties = { fetcher, defaultQuery: EXAMPLE, storage: window.sessionStorage, shouldPersistHeaders: false };
  if (!headers.Authorization) properties.schema = null; // no schema is asked for before there is a token
  ReactDOM.render(React.createElement(GraphiQL, properties), root);
}

function say(text, failed) {
  outcome.textContent = text;
  outcome.toggleAttribute("data-failed", failed);
}

async function authorize(event) {
  event.preventDefault();
  const given = new FormData(form);
  const body = new URLSearchParams({ grant_type: "client_credentials" });
  for (const name of ["client_id", "client_secret"]) body.set(name, given.get(name).trim());
  const actsFor = given.get("act_for").trim();
  try {
    const answer = await fetch("oauth/token", { method: "POST", body });
    const token = await answer.json();
    if (!answer.ok) return say(token.error_description || token.error, true);
    headers.Authorization = `Bearer ${token.access_token}`;
    if (actsFor) headers["Aimline-Act-For"] = actsFor;
    else delete headers["Aimline-Act-For"];
    say(`Authorized for ${Math.round(token.expires_in / 60)} minutes.`, false);
    render();
  } catch {
    say("The token endpoint did not answer.", true);
  }
}

form.addEventListener("submit", authorize);
render();
