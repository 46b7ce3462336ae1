"""Tests the story and the README's requests as a newcomer runs them: separate processes, public HTTP."""

import asyncio
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from app.access.authenticate import Tokens
from app.access.directory import Grant, KnownClient
from app.core.ids import new_id
from app.settings import Settings
from tests.processes import REPOSITORY, environment
from tests.town import ALL_SCOPES, Town

README = (REPOSITORY / "README.md").read_text()
ADDRESS = "http://127.0.0.1:8000"


def _play(folder: Path, *more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "app.sandbox.playground", "--once", "--port", "0", "--folder", str(folder), *more],
        cwd=REPOSITORY,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )


@pytest.mark.long
def test_the_story_holds_from_an_empty_folder(tmp_path: Path) -> None:
    """SIS → roster → concern → support → scores → verdict → webhook → decision, each step checked from outside."""
    ran = _play(tmp_path)
    assert ran.returncode == 0, ran.stdout[-3000:] + ran.stderr[-3000:]
    assert "Every step held" in ran.stdout


@pytest.mark.long
def test_a_step_that_does_not_hold_is_named(tmp_path: Path) -> None:
    """A roster without a class ends the story with the step that failed, and not with 0."""
    broken = tmp_path / "broken.zip"
    broken.write_bytes(b"this is no zip")
    ran = _play(tmp_path / "folder", "--roster", str(broken))
    assert ran.returncode != 0
    assert "The step failed: its roster is synced" in ran.stderr
    assert "Traceback" not in ran.stdout + ran.stderr


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
    """`run`, `test`, and every file that it names."""
    assert "python3 dev.py run" in README
    assert "python3 dev.py test" in README
    for target in re.findall(r"\]\(([^)#:]+)\)", README):
        assert (REPOSITORY / target).exists(), target
    assert len(_requests()) == 2
