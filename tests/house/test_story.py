"""Tests the sandbox's scripted example (`app.sandbox.story`), and the requests that the README shows.

The tests use real processes and HTTP, like a newcomer who follows the README.
"""

import asyncio
import json
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, timedelta
from pathlib import Path

import httpx
import pytest

from app.access.authenticate import Tokens
from app.access.directory import Grant, KnownClient
from app.core.ids import new_id
from app.sandbox.discovery import FILE
from app.settings import Settings
from tests.contract.examples import failed_examples
from tests.contract.tools import CONTRACTS
from tests.playground import Playground
from tests.processes import REPOSITORY, TRUSTS_NOBODY, environment, warm
from tests.town import ALL_SCOPES, Town

README = (REPOSITORY / "README.md").read_text()
ADDRESS = "http://127.0.0.1:8000"


def _run(module: str, *arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", f"app.sandbox.{module}", "--once", *arguments],
        cwd=REPOSITORY,
        env=environment(None, **settings),
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )


@pytest.mark.long
def test_the_story_holds_in_a_playground_that_is_killed_and_continued(tmp_path: Path) -> None:
    """Every step of the sandbox's scripted example works, also after the playground was killed and started again.

    A playground that was killed keeps its district and its client. A step that fails is named. Each example of the
    contract works with the printed credentials. When the playground is stopped, no process is left. With `--once` it
    ends after the scripted example. All this is one test, because each start takes much processor time.
    """
    folder = tmp_path / "folder"
    first = Playground(folder)
    try:
        assert "Every step held" in first.printed
        assert "A caseload to look at" in first.printed
        client = _credentials(first)
        _assert_caseload(first)
        _assert_broken_roster_is_named(tmp_path, first)
    finally:
        first.end(signal.SIGKILL)
    _forget_days(folder / "district.json", 15)
    repeated = Playground(folder)
    try:
        assert "The district demo is as you left it" in repeated.printed
        assert int(repeated.named(r"(\d+) scores since")) > 20
        assert _credentials(repeated) == client
        _assert_caseload(repeated)
        ran = warm().run(["aimline", "district", "list", "--json"], environment(AIMLINE_PLAYGROUND=str(folder)))
        slugs = [one["slug"] for one in json.loads(ran.stdout)["districts"]]
        assert slugs == ["demo", "demo-2"]  # the second is that of the broken roster
        with _vendor(repeated) as vendor:
            failed = failed_examples(json.loads((CONTRACTS / "rest.json").read_text()), vendor)
        assert not failed, "\n".join(map(str, failed))
    finally:
        repeated.end(signal.SIGINT)
    assert not (folder / FILE).exists()
    ran = _run("playground", "--port", "0", "--folder", str(folder))
    assert ran.returncode == 0, ran.stdout[-3000:] + ran.stderr[-3000:]
    assert "Every step held" in ran.stdout
    left = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout
    assert str(folder) not in left


def _credentials(playground: Playground) -> tuple[str, str]:
    return playground.named(r"client id +(\S+)"), playground.named(r"client secret +(\S+)")


@contextmanager
def _vendor(playground: Playground) -> Iterator[httpx.Client]:
    """Yields a client with a token for the credentials that the playground has printed."""
    address = playground.named(r"serves at (\S+)\. ")
    with httpx.Client(base_url=address, trust_env=False, verify=TRUSTS_NOBODY, timeout=60) as client:
        answer = client.post("/oauth/token", data={"grant_type": "client_credentials"}, auth=_credentials(playground))
        client.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"
        yield client


def _assert_caseload(playground: Playground) -> None:
    """Checks that the supports of a playground show every state and verdict."""
    with _vendor(playground) as vendor:
        supports = vendor.get("/v1/supports", params={"limit": 200}).json()["items"]
    verdicts = {(one["verdict"] or {}).get("state") for one in supports}
    assert {"responding", "not_responding", "goal_met", "insufficient_data"} <= verdicts
    assert {one["state"] for one in supports} == {"planned", "active", "ended"}
    assert len(supports) >= 30
    assert len({one["area"] for one in supports}) >= 5


def _assert_broken_roster_is_named(tmp_path: Path, playground: Playground) -> None:
    """Checks that the example fails if the roster is no zip: it names the failed step, and exits with 1."""
    broken = tmp_path / "broken.zip"
    broken.write_bytes(b"this is no zip")
    arguments = ("--base-url", playground.named(r"serves at (\S+)\. "), "--folder", str(tmp_path / "other"))
    folder = str(tmp_path / "folder")
    ran = _run("demonstration", *arguments, "--roster", str(broken), AIMLINE_PLAYGROUND=folder)
    assert ran.returncode == 1
    assert "The step failed: its roster is synced" in ran.stderr
    assert "Traceback" not in ran.stdout + ran.stderr


def _forget_days(saved: Path, days: int) -> None:
    """Makes a saved district look as if it had no data of the last days."""
    assert saved.stat().st_mode & 0o777 == 0o600
    content = json.loads(saved.read_text())
    earlier = date.fromisoformat(content["data_until"]) - timedelta(days=days)
    saved.write_text(json.dumps(content | {"data_until": earlier.isoformat()}))


def _requests() -> list[str]:
    blocks = re.findall(r"^```\w*\n(.*?)^```", README, re.DOTALL | re.MULTILINE)
    return [block for block in blocks if block.startswith("curl")]


@pytest.mark.skipif(shutil.which("curl") is None, reason="the README's requests are made with curl")
@pytest.mark.parametrize("request_", _requests(), ids=lambda text: "graphql" if "graphql" in text else "rest")
async def test_a_request_of_the_readme_works_when_pasted(
    request_: str, serving: str, north: Town, settings: Settings
) -> None:
    """Each request of the README returns data when it is pasted into a shell."""
    grant = Grant(north.district_id, north.slug, ALL_SCOPES, ())
    client = KnownClient(new_id(), "reader", (), (grant,))
    token = Tokens(settings.keyring, settings.base_url, 900).issue(client, grant, tuple(sorted(ALL_SCOPES))).token
    assert ADDRESS in request_
    ran = await asyncio.to_thread(
        subprocess.run,
        ["bash", "-c", request_.replace(ADDRESS, serving)],
        env=environment() | {"TOKEN": token},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ran.returncode == 0
    assert '"items":[]' in ran.stdout or '"edges":[]' in ran.stdout.replace(" ", ""), ran.stdout


def test_the_readme_gives_both_commands_and_links_that_lead_somewhere() -> None:
    """The README has the commands `run` and `test`, and every file to which it links exists."""
    assert "python3 dev.py run" in README
    assert "python3 dev.py test" in README
    for target in re.findall(r"\]\(([^)#:]+)\)", README):
        assert (REPOSITORY / target).exists(), target
    assert len(_requests()) == 2
