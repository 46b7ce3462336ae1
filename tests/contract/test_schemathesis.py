"""Tests the served API with schemathesis, which sends requests that it generates from the contract.

They are the contract's examples, values at the declared limits, and random values. Each part runs for at most half a
minute. `tests/faces/test_rest_fuzz.py` sends generated bodies to every operation.
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
from tests.processes import REPOSITORY
from tests.town import ALL_SCOPES, Town

pytestmark = pytest.mark.long

SECONDS = 24
"""How long each part of the phases runs."""
PARTS = ("examples,coverage", "fuzzing,stateful")
CONFIGURATION = """
[generation]
allow-x00 = false
[checks]
negative_data_rejection.expected-statuses = [400, 401, 403, 404, 405, 406, 409, 413, 415, 422, 428, 429]
"""
"""A list that is too long may make a body too large (413) before anything reads it. No text may contain a NUL."""
LEFT_OUT = {
    "positive_data_acceptance": "`schemathesis_checks` does the same, and knows the reasons that a schema cannot say",
}
"""Checks that are left out, with the reason."""
STREAM = "/v1/events/stream"
"""A path whose answer has no end."""


@pytest.mark.parametrize("phases", PARTS)
async def test_schemathesis_finds_nothing(
    serving: str, north: Town, settings: Settings, tmp_path: Path, phases: str
) -> None:
    """Schemathesis finds no internal error and no undocumented response.

    It finds no malformed request that is accepted. A request that fits the contract is refused only for a reason that a
    JSON schema cannot state.
    """
    grant = Grant(north.district_id, north.slug, ALL_SCOPES, ())
    client = KnownClient(new_id(), "schemathesis", (), (grant,))
    token = Tokens(settings.keyring, settings.base_url, 900).issue(client, grant, tuple(sorted(ALL_SCOPES))).token
    (tmp_path / "schemathesis.toml").write_text(CONFIGURATION)
    options = ("--phases", phases, "--max-time", SECONDS, "--no-color", "--exclude-path", STREAM)
    ran = await asyncio.to_thread(
        run,
        *("env", "SCHEMATHESIS_HOOKS=tests.contract.schemathesis_checks", f"PYTHONPATH={REPOSITORY}"),
        Path(sys.executable).parent / "schemathesis",
        *("run", CONTRACTS / "rest.json", "--url", serving, "--header", f"Authorization: Bearer {token}"),
        *options,
        *("--exclude-checks", ",".join(LEFT_OUT), "--max-failures", 20, "--seed", 1),
        cwd=tmp_path,
        within=180,
    )
    assert ran.returncode == 0, ran.stdout.partition("FAILURES =")[2][:6000] or ran.stdout[-3000:] + ran.stderr
