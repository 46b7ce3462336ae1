"""Tests the REST contract with tools of other makers: linters find nothing, and generated clients are complete."""

import asyncio
import json
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import httpx
import pytest

from app.access.authenticate import Tokens
from app.access.directory import Grant, KnownClient
from app.core.ids import new_id
from app.settings import Settings
from tests.contract.tools import CONTRACTS, run, tool
from tests.processes import environment
from tests.town import ALL_SCOPES, Town

pytestmark = pytest.mark.long

REST = CONTRACTS / "rest.json"
NO_LICENCE = {"info-license"}
"""The one finding that is not ours to remove: the owner of the project chooses its licence."""
GENERATOR = ("openapi-python-client==0.29.1", "mypy==2.4.1")
"""The generator and the type checker, which have an environment of their own because of other versions of a library."""
SOURCE = {
    "name": "nightly",
    "kind": "oneroster-1.1",
    "url": "https://sis.example.org/ims/oneroster/v1p1",
    "auth": "oauth2-basic",
    "client_id": "north",
    "client_secret": "of-a-test",
    "concurrency": 3,
    "jitter_minutes": 7,
    "freeze": [["2026-12-21", "2027-01-01"]],
    "pull_minutes": 90,
}


def test_redocly_finds_nothing_but_the_licence(tools: Path) -> None:
    """The contract passes the rules that Redocly recommends."""
    ran = run(tool("redocly"), "lint", REST, "--extends", "recommended", "--format", "json", cwd=tools)
    findings = json.loads(ran.stdout)["problems"]
    assert [one for one in findings if one["ruleId"] not in NO_LICENCE] == []


def test_spectral_finds_nothing(tools: Path, tmp_path: Path) -> None:
    """Spectral's rules for OpenAPI find no fault in the contract."""
    rules = tmp_path / "rules.json"
    rules.write_text('{"extends": ["spectral:oas"]}')
    ran = run(tool("spectral"), "lint", "--ruleset", rules, "--format", "json", "--quiet", REST, cwd=tools)
    findings = json.JSONDecoder().raw_decode(ran.stdout.lstrip() or "[]")[0]
    assert [one for one in findings if one["code"] not in NO_LICENCE] == []


@pytest.fixture(scope="session")
def python_tools(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Returns the programs of a temporary environment with the generator. Skips the test if it cannot be installed."""
    folder = tmp_path_factory.mktemp("generator")
    run(sys.executable, "-m", "venv", "--without-pip", folder, cwd=folder)
    pip = (sys.executable, "-m", "pip", "--python", folder / "bin" / "python")  # ours: installing another takes seconds
    ended = run(*pip, "install", "--quiet", "--no-compile", *GENERATOR, cwd=folder, within=600)
    if ended.returncode:
        pytest.skip(f"The generator could not be installed: {ended.stderr.strip()[-500:]}")
    return folder / "bin"


@pytest.fixture(scope="session")
def python_client(python_tools: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Returns the folder of the generated Python client."""
    folder = tmp_path_factory.mktemp("generated") / "client"
    command = (python_tools / "openapi-python-client", "generate", "--path", REST, "--output-path", folder)
    ran = subprocess.run(
        [str(part) for part in command],
        env=environment() | {"PATH": f"{python_tools}:/usr/bin:/bin"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "warning" not in (ran.stdout + ran.stderr).lower(), ran.stdout
    return folder


def test_the_generated_python_client_has_every_operation(python_client: Path) -> None:
    """The generated Python client has every operation of the contract."""
    document = json.loads(REST.read_text())
    names = [operation["operationId"] for path in document["paths"].values() for operation in path.values()]
    modules = Counter(path.stem for path in (python_client / "aimline_client" / "api").rglob("*.py"))
    assert [name for name in names if modules[name] == 0] == []


def test_the_generated_python_client_type_checks(python_client: Path, python_tools: Path) -> None:
    """The generated Python client passes mypy's strictest settings."""
    ran = run(
        python_tools / "mypy", "--strict", "--cache-dir", "/dev/null", "aimline_client", cwd=python_client, within=600
    )
    assert ran.returncode == 0, ran.stdout[-3000:]


PROGRAM = """
import json, sys
from aimline_client import AuthenticatedClient
from aimline_client.api.sync import change_source, get_source, register_source
from aimline_client.models import NewSource, SourceChanges

address, token, settings = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])
client = AuthenticatedClient(base_url=address, token=token, httpx_args={"trust_env": False})
made = register_source.sync(client=client, body=NewSource.from_dict(settings))
before = get_source.sync(made.id, client=client).to_dict()
changed = change_source.sync_detailed(
    made.id, client=client, body=SourceChanges(cron="0 4 * * *"), if_match='"%d"' % made.version
)
assert changed.status_code == 200, changed.content
after = get_source.sync(made.id, client=client).to_dict()
print(json.dumps({"before": before, "after": after}))
"""


def _token(settings: Settings, town: Town) -> str:
    grant = Grant(town.district_id, town.slug, ALL_SCOPES, ())
    client = KnownClient(new_id(), "generated", (), (grant,))
    return Tokens(settings.keyring, settings.base_url, 900).issue(client, grant, tuple(sorted(ALL_SCOPES))).token


def _changed(returned: dict[str, Any]) -> set[str]:
    return {name for name, value in returned["before"].items() if returned["after"][name] != value}


async def test_a_python_client_changes_what_it_names_and_nothing_else(
    python_client: Path, python_tools: Path, serving: str, north: Town, settings: Settings
) -> None:
    """A generated Python client that changes one setting sends only this setting.

    The defaults in the contract once made such a client reset four other settings.
    """
    (python_client / "change.py").write_text(PROGRAM)
    source = json.dumps(SOURCE)
    ran = await asyncio.to_thread(
        run, python_tools / "python", "change.py", serving, _token(settings, north), source, cwd=python_client
    )
    assert ran.returncode == 0, ran.stderr
    assert _changed(json.loads(ran.stdout)) == {"cron", "due", "version"}


TYPESCRIPT = """
import type { components } from "./rest.js";

export const change: components["schemas"]["SourceChanges"] = { cron: "0 4 * * *" };
export const measure: components["schemas"]["MeasureChanges"] = { name: "Fluency" };
export const endpoint: components["schemas"]["EndpointChanges"] = {};
console.log(JSON.stringify(change));
"""


async def test_a_typescript_client_changes_what_it_names_and_nothing_else(
    workshop: Path, serving: str, north: Town, settings: Settings
) -> None:
    """A client with the generated TypeScript types can send a body with one field. This changes only this field."""
    ran = run(tool("openapi-typescript"), REST, "-o", "rest.ts", cwd=workshop)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    (workshop / "change.ts").write_text(TYPESCRIPT)
    strict = ("--strict", "--skipLibCheck", "--target", "es2022", "--module", "nodenext")
    checked = run(tool("tsc"), *strict, "change.ts", cwd=workshop)
    assert checked.returncode == 0, checked.stdout
    body = json.loads(run("node", "change.js", cwd=workshop).stdout)
    headers = {"Authorization": f"Bearer {_token(settings, north)}", "If-Match": "*"}
    async with httpx.AsyncClient(base_url=serving, headers=headers, trust_env=False) as client:
        made = (await client.post("/v1/sis-sources", json={**SOURCE, "name": "typed"})).json()
        before = (await client.get(f"/v1/sis-sources/{made['id']}")).json()
        assert (await client.patch(f"/v1/sis-sources/{made['id']}", json=body)).status_code == 200
        after = (await client.get(f"/v1/sis-sources/{made['id']}")).json()
    assert _changed({"before": before, "after": after}) == {"cron", "due", "version"}


def test_no_name_of_the_contract_names_a_module() -> None:
    """No name in the contract is the name of a Python module, because generators name files after these names."""
    assert not re.search(r"app__|__main__|Items_", REST.read_text())
