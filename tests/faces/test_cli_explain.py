"""Tests `aimline explain` as a process: it shows how a read is answered, and reads no record."""

import json

import pytest

from tests.processes import aimline
from tests.sis.roster_zip import ask
from tests.town import Town


async def test_a_read_is_explained_and_not_run(north: Town) -> None:
    """The explanation has the statement, its plan, scopes and kinds of record, and writes nothing to the disclosure
    log.
    """
    counted = "SELECT count(*) AS n FROM disclosure WHERE district_id = :district"
    before = await ask(north, counted)
    path = "/v1/students?expand=concerns,supports.measure&class=sis:sis:class-1&limit=5"
    done = aimline(north.settings, "explain", path, "--district", north.slug, "--json")
    assert done.returncode == 0, done.stderr
    (statement,) = json.loads(done.stdout)["statements"]
    assert statement["statement"].startswith("SELECT")
    assert any("Scan" in line for line in statement["plan"])
    assert "roster:read" in statement["scopes"]
    assert statement["discloses"] == ["concern", "student", "support", "verdict"]
    assert await ask(north, counted) == before
    text = aimline(north.settings, "explain", "/v1/areas", "--district", north.slug).stdout
    assert "Discloses: no record about a student" in text


@pytest.mark.parametrize("path", ["/v1/nothing", "/v1/students?grades=03", "/v1/students?limit=many"])
def test_what_is_no_read_is_a_sentence(north: Town, path: str) -> None:
    """The wrong path or parameter is named, without a stack trace."""
    done = aimline(north.settings, "explain", path, "--district", north.slug)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
