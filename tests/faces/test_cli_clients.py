"""Tests an operator's commands for districts, clients and tokens, which are run as processes."""

import asyncio
import json
import subprocess
import time
from typing import Any

import httpx
import pytest
from sqlalchemy import select
from sqlalchemy.engine import make_url
from sqlalchemy.ext.asyncio import AsyncEngine

from app.access.authenticate import Tokens
from app.access.directory import Grant, KnownClient
from app.access.permission import Can
from app.access.principal import system_principal
from app.access.work import Work, needs, unit
from app.core import ids
from app.core.db import open_engine
from app.core.errors import Unavailable
from app.core.ids import new_id
from app.maintenance.models import Task, TaskKind
from app.settings import Settings
from tests.faces.served_app import served
from tests.processes import TRUSTS_NOBODY, aimline, environment, warm
from tests.town import Town


async def _run(town: Town, *arguments: str, code: int = 0) -> dict[str, Any]:
    """Runs a command with `--json`, checks its exit code, and returns its JSON output.

    If the command is expected to fail, returns the texts of `stdout` and `stderr` instead.
    """
    ran = await asyncio.to_thread(aimline, town.settings, *arguments, "--json")
    assert ran.returncode == code, ran.stderr
    assert "Traceback" not in ran.stderr
    return dict(json.loads(ran.stdout)) if code == 0 else {"stderr": ran.stderr, "stdout": ran.stdout}


async def _client(town: Town, *more: str) -> dict[str, Any]:
    return await _run(town, "client", "create", "--district", town.slug, "--scope", "roster:read", *more)


async def test_districts_are_listed_and_shown(north: Town, south: Town) -> None:
    """The command line lists all districts, and shows the id, time zone and number of clients of one district."""
    listed = {one["slug"]: one for one in (await _run(north, "district", "list"))["districts"]}
    assert {north.slug, south.slug} <= listed.keys()
    shown = await _run(north, "district", "show", north.slug)
    assert shown["id"] == listed[north.slug]["id"]
    assert (shown["time_zone"], shown["clients"]) == ("America/Chicago", 0)
    table = await asyncio.to_thread(aimline, north.settings, "district", "list")
    assert f"{north.slug}  {shown['id']}  America/Chicago" in " ".join(table.stdout.split("\n")).replace("   ", "  ")
    missing = await _run(north, "district", "show", "nowhere", code=2)
    assert missing["stderr"] == "There is no such district.\n"


async def test_a_new_district_has_its_tasks_at_once(north: Town) -> None:
    """In a new district, supports start and reminders are sent at once, without a wait for the worker's hourly task."""

    @needs(Can.MAINTAIN)
    async def kinds(work: Work) -> set[str]:
        return set(await work.db.scalars(select(Task.kind).where(Task.district_id == work.district_id)))

    made = await _run(north, "district", "create", f"new-{north.slug}"[:40], "--sandbox")
    principal = system_principal(ids.parse_id("district", made["id"]), "test")
    async with unit(north.worker_engine, principal, north.settings.keyring, "test") as work:
        assert await kinds(work) == set(TaskKind)


async def test_a_client_is_listed_shown_and_revoked(north: Town) -> None:
    """A client can be created, listed, shown, revoked and granted again, and its secret is shown only once."""
    made = await _client(north, "--name", "Reading app")
    name = made["client_id"]
    (listed,) = (await _run(north, "client", "list", "--district", north.slug))["clients"]
    shown = await _run(north, "client", "show", name, "--district", north.slug)
    assert shown == shown | listed
    assert (shown["name"], shown["scopes"], shown["valid_secrets"]) == ("Reading app", ["roster:read"], 1)
    assert made["client_secret"] not in json.dumps([listed, shown])
    await _run(north, "client", "revoke", name, "--district", north.slug)
    assert (await _run(north, "client", "show", name, "--district", north.slug))["revoked_at"] is not None
    repeated = await _run(north, "client", "revoke", name, "--district", north.slug, code=2)
    assert "revoked already" in repeated["stderr"]
    rotated = await _run(north, "client", "rotate", name, "--district", north.slug, code=2)
    assert rotated["stderr"] == "There is no such client.\n"
    await _run(north, "client", "grant", name, "--district", north.slug, "--scope", "score:read")
    assert (await _run(north, "client", "show", name, "--district", north.slug))["scopes"] == ["score:read"]


@pytest.mark.parametrize("command", ["show", "rotate", "revoke"])
async def test_another_districts_client_is_unknown(north: Town, south: Town, command: str) -> None:
    """A command that names the client of another district is refused, and does not change this client."""
    made = await _client(south)
    refused = await _run(north, "client", command, made["client_id"], "--district", north.slug, code=2)
    assert refused["stderr"] == "There is no such client.\n"
    shown = await _run(south, "client", "show", made["client_id"], "--district", south.slug)
    assert (shown["valid_secrets"], shown["revoked_at"]) == (1, None)
    tokens = ("token", "revoke", "--client", made["client_id"], "--district", north.slug)
    assert (await _run(north, *tokens, code=2))["stderr"] == "There is no such client.\n"


async def test_a_revocation_holds_on_every_process(
    north: Town, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Revoked tokens and clients are refused by all processes, and others are accepted."""
    monkeypatch.setattr("app.access.directory.EVERY", 0.2)
    clients = [await _client(north) for _ in range(3)]
    with served(settings) as first, served(settings) as second:
        tokens = [await _token(first, client) for client in clients for _ in range(2)]
        assert [await _statuses(address, tokens) for address in (first, second)] == [[200] * 6] * 2
        piped = await asyncio.to_thread(_pipe, settings, tokens[0])
        assert (piped.returncode, json.loads(piped.stdout)["client_id"]) == (0, clients[0]["client_id"]), piped.stderr
        await _run(north, "token", "revoke", "--client", clients[1]["client_id"], "--district", north.slug)
        await _run(north, "client", "revoke", clients[2]["client_id"], "--district", north.slug)
        expected = [401, 200, 401, 401, 401, 401]
        for address in (first, second):
            await _until(address, tokens, expected)
        await asyncio.sleep(1.1)  # a token states its second only
        assert await _statuses(second, [await _token(first, clients[1])]) == [200]
        async with httpx.AsyncClient(base_url=first, trust_env=False, verify=TRUSTS_NOBODY) as http:
            answer = await _ask_token(http, clients[2])
        assert (answer.status_code, answer.json()["error"]) == (400, "invalid_request")


async def test_a_token_that_is_none_is_named_so(north: Town) -> None:
    """A command that gets an invalid token ends with exit code 2, and its output does not repeat the token."""
    for text in ("eyJhbGciOiJub25lIn0.e30.x", ""):
        ran = await asyncio.to_thread(_pipe, north.settings, text)
        assert ran.returncode == 2
        assert "Traceback" not in ran.stderr
        assert not text or text not in ran.stderr


async def test_a_process_that_cannot_read_the_revocations_accepts_no_token(settings: Settings, north: Town) -> None:
    """A process that cannot read the list of revocations accepts no token."""
    url = make_url(settings.url_of("api")).set(database="nowhere").render_as_string(hide_password=False)
    tokens, nowhere = Tokens(settings.keyring, settings.base_url, 60), open_engine(url, name="tests nowhere")
    grant = Grant(north.district_id, north.slug, frozenset({"roster:read"}), ())
    token = tokens.issue(KnownClient(new_id(), "x", (), (grant,)), grant, ("roster:read",)).token
    tokens.read_header(f"Bearer {token}")
    try:
        async with tokens.revocations.kept_current(nowhere):
            with pytest.raises(Unavailable):
                tokens.read_header(f"Bearer {token}")
    finally:
        await nowhere.dispose()


async def test_a_list_that_grew_too_old_is_not_relied_on(
    settings: Settings, north: Town, engine: AsyncEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The list of revocations is trusted for a minute after it was read. Then tokens are refused until it is read
    again.
    """
    tokens = Tokens(settings.keyring, settings.base_url, 60)
    grant = Grant(north.district_id, north.slug, frozenset({"roster:read"}), ())
    header = "Bearer " + tokens.issue(KnownClient(new_id(), "x", (), (grant,)), grant, ("roster:read",)).token
    async with tokens.revocations.kept_current(engine):
        tokens.read_header(header)
        at = time.monotonic() + 61
        monkeypatch.setattr("app.access.directory.time.monotonic", lambda: at)
        with pytest.raises(Unavailable):
            tokens.read_header(header)
        await tokens.revocations.load(engine)
        tokens.read_header(header)
        monkeypatch.undo()


def _pipe(settings: Settings, token: str) -> subprocess.CompletedProcess[str]:
    command = ["aimline", "token", "revoke", "--json"]
    return warm().run(command, environment(settings), stdin=token)


async def _ask_token(http: httpx.AsyncClient, client: dict[str, Any]) -> httpx.Response:
    credentials = (client["client_id"], client["client_secret"])
    return await http.post("/oauth/token", data={"grant_type": "client_credentials"}, auth=credentials)


async def _token(address: str, client: dict[str, Any]) -> str:
    async with httpx.AsyncClient(base_url=address, trust_env=False, verify=TRUSTS_NOBODY) as http:
        answer = await _ask_token(http, client)
    return str(answer.json()["access_token"])


async def _statuses(address: str, tokens: list[str]) -> list[int]:
    async with httpx.AsyncClient(base_url=address, trust_env=False, verify=TRUSTS_NOBODY) as http:
        answers = [await http.get("/v1/schools", headers={"Authorization": f"Bearer {token}"}) for token in tokens]
    return [answer.status_code for answer in answers]


async def _until(address: str, tokens: list[str], expected: list[int]) -> None:
    deadline = time.monotonic() + 120
    while (statuses := await _statuses(address, tokens)) != expected:
        assert time.monotonic() < deadline, statuses
        await asyncio.sleep(0.1)
