"""Checks the contracts with tools from npm: one audits the API, and others compile clients from the contracts."""

import asyncio
import json
from pathlib import Path

import pytest

from app.access.authenticate import Tokens
from app.access.directory import Grant, KnownClient
from app.core.ids import new_id
from app.settings import Settings
from tests.contract.tools import CONTRACTS, run, tool
from tests.town import ALL_SCOPES, Town

pytestmark = pytest.mark.long

AUDITS = 61
STRICT = ("--noEmit", "--strict", "--skipLibCheck", "--target", "es2022", "--module", "nodenext")
RELAY = {
    "src": ".",
    "schema": "schema.graphql",
    "language": "typescript",
    "artifactDirectory": "relay",
    "eagerEsModules": True,
}
CODEGEN = {
    "schema": "schema.graphql",
    "documents": "operations.graphql",
    "generates": {
        "types.ts": {"plugins": ["typescript"]},
        "operations.ts": {"plugins": ["typescript-operations"]},
    },
}


async def test_every_audit_of_graphql_over_http_passes(
    tools: Path, serving: str, north: Town, settings: Settings
) -> None:
    """The reference audits for GraphQL over HTTP pass, with a token."""
    grant = Grant(north.district_id, north.slug, ALL_SCOPES, ())
    client = KnownClient(new_id(), "auditor", (), (grant,))
    token = Tokens(settings.keyring, settings.base_url, 900).issue(client, grant, tuple(sorted(ALL_SCOPES))).token
    ran = await asyncio.to_thread(run, "node", "audit.mjs", f"{serving}/graphql", token, cwd=tools)
    assert ran.returncode == 0, ran.stderr
    audits = [json.loads(line) for line in ran.stdout.splitlines()]
    assert [audit for audit in audits if audit["status"] != "ok"] == []
    assert len(audits) >= AUDITS


def test_relay_compiles_the_schema(workshop: Path) -> None:
    """Relay's compiler accepts the schema, with its conventions for connections, nodes and refetching."""
    (workshop / "relay").mkdir()
    (workshop / "relay.config.json").write_text(json.dumps(RELAY))
    ran = run(tool("relay-compiler"), "relay.config.json", cwd=workshop)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert (workshop / "relay" / "documentsQuery.graphql.ts").exists()


def test_graphql_code_generator_compiles_the_schema(workshop: Path) -> None:
    """The types that GraphQL Code Generator generates pass a strict type check."""
    (workshop / "codegen.json").write_text(json.dumps(CODEGEN))
    ran = run(tool("graphql-codegen"), "--config", "codegen.json", cwd=workshop)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    checked = run(tool("tsc"), *STRICT, "types.ts", "operations.ts", cwd=workshop)
    assert checked.returncode == 0, checked.stdout


def test_openapi_typescript_compiles_the_contract(workshop: Path) -> None:
    """The types that openapi-typescript generates pass a strict type check, with a client that sends small bodies."""
    ran = run(tool("openapi-typescript"), CONTRACTS / "rest.json", "-o", "rest.ts", cwd=workshop)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    checked = run(tool("tsc"), *STRICT, "client.ts", cwd=workshop)
    assert checked.returncode == 0, checked.stdout
