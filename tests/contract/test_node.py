"""Protects the contracts for clients of other makers: tools from npm audit the face and compile the contracts."""

import asyncio
import fcntl
import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from app.access.authenticate import Tokens
from app.access.directory import Grant, KnownClient
from app.core.ids import new_id
from app.settings import Settings
from tests.processes import REPOSITORY, environment
from tests.town import ALL_SCOPES, Town

pytestmark = pytest.mark.long

TOOLS = Path(__file__).parent / "node"
CONTRACTS = REPOSITORY / "openapi"
OLDEST_NODE = 20
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


def _run(*command: object, cwd: Path, within: float = 300) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env=environment() | {"CI": "1", "NO_COLOR": "1"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=within,
    )


@pytest.fixture(scope="session")
def tools() -> Path:
    """The folder of the installed tools; skips where there is no Node, or no registry to install them from."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        pytest.skip("There is no Node on this machine; version 20 or newer runs these checks.")
    version = _run("node", "--version", cwd=TOOLS).stdout.strip()
    if int(version.removeprefix("v").split(".")[0]) < OLDEST_NODE:
        pytest.skip(f"Node is {version} on this machine; these checks need {OLDEST_NODE} or newer.")
    installed, lock = TOOLS / "node_modules" / ".package-lock.json", TOOLS / "package-lock.json"
    with lock.open() as held:
        fcntl.flock(held, fcntl.LOCK_EX)  # of two processes of tests, one installs and the other waits
        if not installed.exists() or installed.stat().st_mtime < lock.stat().st_mtime:
            ended = _run("npm", "ci", "--no-progress", "--ignore-scripts", cwd=TOOLS, within=900)
            if ended.returncode:
                pytest.skip(f"npm could not install the tools: {ended.stderr.strip()[-500:]}")
            os.utime(installed)
    return TOOLS


@pytest.fixture
def workshop(tools: Path, tmp_path: Path) -> Path:
    """A folder with the contract, the documents to compile and the installed tools."""
    shutil.copy(CONTRACTS / "schema.graphql", tmp_path)
    for name in ("documents.ts", "operations.graphql", "client.ts", "package.json"):
        shutil.copy(tools / name, tmp_path)
    (tmp_path / "node_modules").symlink_to(tools / "node_modules")
    return tmp_path


def _tool(name: str) -> str:
    return f"node_modules/.bin/{name}"


async def test_every_audit_of_graphql_over_http_passes(
    tools: Path, serving: str, north: Town, settings: Settings
) -> None:
    """The audits of the specification's own reference implementation, with a token, over HTTP."""
    grant = Grant(north.district_id, north.slug, ALL_SCOPES, ())
    client = KnownClient(new_id(), "auditor", (), (grant,))
    token = Tokens(settings.keyring, settings.base_url, 900).issue(client, grant, tuple(sorted(ALL_SCOPES))).token
    ran = await asyncio.to_thread(_run, "node", "audit.mjs", f"{serving}/graphql", token, cwd=tools)
    assert ran.returncode == 0, ran.stderr
    audits = [json.loads(line) for line in ran.stdout.splitlines()]
    assert [audit for audit in audits if audit["status"] != "ok"] == []
    assert len(audits) >= AUDITS


def test_relay_compiles_the_schema(workshop: Path) -> None:
    """Relay's compiler holds the schema to its conventions: connections, page info, nodes, refetching."""
    (workshop / "relay").mkdir()
    (workshop / "relay.config.json").write_text(json.dumps(RELAY))
    ran = _run(_tool("relay-compiler"), "relay.config.json", cwd=workshop)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert (workshop / "relay" / "documentsQuery.graphql.ts").exists()


def test_graphql_code_generator_compiles_the_schema(workshop: Path) -> None:
    """What it generates type-checks strictly."""
    (workshop / "codegen.json").write_text(json.dumps(CODEGEN))
    ran = _run(_tool("graphql-codegen"), "--config", "codegen.json", cwd=workshop)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    checked = _run(_tool("tsc"), *STRICT, "types.ts", "operations.ts", cwd=workshop)
    assert checked.returncode == 0, checked.stdout


def test_openapi_typescript_compiles_the_contract(workshop: Path) -> None:
    """What it generates type-checks strictly, with a client that sends the smallest bodies."""
    ran = _run(_tool("openapi-typescript"), CONTRACTS / "rest.json", "-o", "rest.ts", cwd=workshop)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    checked = _run(_tool("tsc"), *STRICT, "client.ts", cwd=workshop)
    assert checked.returncode == 0, checked.stdout
