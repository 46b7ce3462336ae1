"""Tests the token endpoint with oauth4webapi, a client library that checks every response against the OAuth RFCs."""

import asyncio
from pathlib import Path

import pytest

from app.access.service import NewClient, register_client
from app.core import ids
from app.settings import Settings
from tests.contract.tools import run
from tests.town import Town

pytestmark = pytest.mark.long

WAYS = ("ClientSecretBasic", "ClientSecretPost")
OUTCOMES = ("token", "invalid_client", "invalid_scope", "invalid_request")


async def test_oauth4webapi_succeeds_on_all_paths(tools: Path, serving: str, north: Town, settings: Settings) -> None:
    """The client library succeeds with discovery and with both ways to authenticate.

    It also recognizes every error of the token endpoint, and the refusal of an invalid token.
    """
    async with north.house() as work:
        client = await register_client(work, NewClient("vendor", ("roster:read", "concern:read"), ()))
    arguments = (settings.base_url, serving, ids.format_id("client", client.client_id), client.secret)
    ran = await asyncio.to_thread(run, "node", "oauth.mjs", *arguments, cwd=tools)
    assert ran.returncode == 0, ran.stderr
    paths = ran.stdout.splitlines()
    assert paths == ["discovery", *(f"{way}: {outcome}" for way in WAYS for outcome in OUTCOMES), "challenge"]
