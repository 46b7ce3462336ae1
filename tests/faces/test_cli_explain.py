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
    """For an unknown path or a wrong parameter, `aimline explain` prints one sentence and exits with 2."""
    done = aimline(north.settings, "explain", path, "--district", north.slug)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1


async def test_a_graphql_query_is_explained_with_its_cost(north: Town) -> None:
    """The explanation has the statement, its plan, its scopes, the disclosures, and the cost that the API would
    count.
    """
    query = "{ students(first: 20) { edges { node { givenName concerns { description } } } } }"
    done = aimline(north.settings, "explain", query, "--district", north.slug, "--json")
    assert done.returncode == 0, done.stderr
    explained = json.loads(done.stdout)
    (statement,) = explained["statements"]
    assert explained["cost"] == 120
    assert statement["discloses"] == ["concern", "student"]
    assert "roster:read" in statement["scopes"]
    assert any("Scan" in line for line in statement["plan"])


@pytest.mark.parametrize(
    "query", ["{ nothing }", "{ students(first: 0) { pageInfo { endCursor } } }", "mutation { a }"]
)
def test_a_bad_query_is_a_sentence(north: Town, query: str) -> None:
    """A query that the API would refuse is refused with a sentence, without a stack trace."""
    done = aimline(north.settings, "explain", query, "--district", north.slug)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
