"""Tests the served API with schemathesis: its checks, with a token, with the examples and with bodies at the bounds.

It runs for at most 60 seconds. `tests/faces/test_rest_fuzz.py` sends generated bodies to every operation.
"""

import asyncio
import sys
from pathlib import Path

import pytest

from app.access.authenticate import Tokens
from app.access.directory import Grant, KnownClient
from app.core.ids import new_id
from app.settings import Settings
from tests.contract.tools import CONTRACTS, run
from tests.town import ALL_SCOPES, Town

pytestmark = pytest.mark.long

SECONDS = 50
LEFT_OUT = {
    "positive_data_acceptance": "a schema cannot say which ids, dates and versions a district has",
}
"""Checks that are left out, with the reason."""
STREAM = "/v1/events/stream"
"""A path whose answer has no end."""


async def test_schemathesis_finds_nothing(serving: str, north: Town, settings: Settings, tmp_path: Path) -> None:
    """No fault, no undocumented status, type, header or shape, and no malformed request that is accepted."""
    grant = Grant(north.district_id, north.slug, ALL_SCOPES, ())
    client = KnownClient(new_id(), "schemathesis", (), (grant,))
    token = Tokens(settings.keyring, settings.base_url, 900).issue(client, grant, tuple(sorted(ALL_SCOPES))).token
    options = ("--phases", "examples,coverage", "--max-time", SECONDS, "--no-color", "--exclude-path", STREAM)
    ran = await asyncio.to_thread(
        run,
        Path(sys.executable).parent / "schemathesis",
        *("run", CONTRACTS / "rest.json", "--url", serving, "--header", f"Authorization: Bearer {token}"),
        *options,
        *("--exclude-checks", ",".join(LEFT_OUT), "--max-failures", 20, "--seed", 1),
        cwd=tmp_path,
        within=180,
    )
    assert ran.returncode == 0, ran.stdout[-6000:]
