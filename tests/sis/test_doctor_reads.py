"""Tests that an inspection reads a source as a run would, and has the same exit code."""

from collections.abc import Callable
from typing import Any

import pytest

from app.sis.oneroster_rest.explore import explore
from app.sis.port import OpenedSource
from app.sis.service import rehearse
from tests.sis.plain_server import Reply, SisRequest
from tests.sis.roster_zip import ROSTER, ask, fingerprint
from tests.sis.rows_server import RowsServer, sync_rows
from tests.town import Town

FAILURES: dict[str, Any] = {
    "500": Reply(500),
    "data in place of the collection": Reply(body={"data": []}),
    "HTML": Reply(body="<html>"),
    "an object in place of the list": Reply(body={"demographics": {}}),
}


async def _exit_of(rows: RowsServer) -> tuple[bool, int, str]:
    with rows.running(page_size=20) as connection:
        findings = await explore(connection)
    return findings.ready, findings.exit_code, " ".join(findings.sentences)


async def test_a_source_that_a_run_reads_is_read() -> None:
    """A source that a run can read is read completely by an inspection: every page of every collection, with exit code
    0.
    """
    rows = RowsServer()
    ready, exit_code, sentences = await _exit_of(rows)
    assert (ready, exit_code) == (True, 0), sentences
    assert "A sync can read this source." in sentences
    assert [request for request in rows.requests if request.name == "users" and request.query.get("offset") == "40"]


@pytest.mark.parametrize("name", FAILURES)
async def test_an_optional_collection_that_fails_is_named_with_its_option(name: str) -> None:
    """If an optional collection fails, an inspection has exit code 3, like a run, and names the option that leaves it
    out.
    """
    rows = RowsServer()
    rows.answer = lambda request: FAILURES[name] if request.name == "demographics" else None
    ready, exit_code, sentences = await _exit_of(rows)
    assert (ready, exit_code) == (True, 3), sentences
    assert "--leave-out demographics" in sentences
    assert "A sync can read this source." not in sentences


async def test_a_later_page_that_fails_fails_the_doctor() -> None:
    """If the first page of users can be read and a later one cannot, an inspection fails as a run does."""
    rows = RowsServer()

    def later(request: SisRequest) -> Reply | None:
        return (
            Reply(500)
            if request.name == "users" and request.query["limit"] == "20" and request.query["offset"] != "0"
            else None
        )

    rows.answer = later
    ready, exit_code, sentences = await _exit_of(rows)
    assert (ready, exit_code) == (False, 5), sentences
    assert "A sync cannot read this source" in sentences


async def test_a_required_collection_that_fails_at_once_is_named_with_the_reason() -> None:
    """If users cannot be read, an inspection gives the same reason as a run. It does not say that the source refuses a
    filter.
    """
    rows = RowsServer()
    rows.answer = lambda request: Reply(body="<html>") if request.name == "users" else None
    ready, exit_code, sentences = await _exit_of(rows)
    assert (ready, exit_code) == (False, 5), sentences
    assert "The source answers for users with a web page" in sentences
    assert "filter" not in sentences


Change = Callable[[RowsServer], object]
CHANGES: dict[str, tuple[Change, int, str]] = {
    "nothing": (lambda rows: rows.users, 0, "would make 0 changes"),
    "a renamed child": (lambda rows: rows.row("users", "s3").update(givenName="Anna"), 0, "would make 1 change."),
    "an unknown role": (lambda rows: rows.set_role("s3", "pupil"), 3, "s3, role: role.unknown"),
    "no enrollments": (lambda rows: rows.rows["enrollments"].clear(), 4, "No enrollments came"),
    "demographics that are forbidden": (
        lambda rows: setattr(rows, "answer", lambda request: Reply(403) if request.name == "demographics" else None),
        3,
        "--leave-out demographics",
    ),
}


@pytest.mark.parametrize("name", CHANGES)
async def test_the_doctor_exits_as_the_run_and_writes_nothing(north: Town, name: str) -> None:
    """An inspection has the same exit code as a run, names the reason, and changes no row of any table."""
    change, code, words = CHANGES[name]
    rows = RowsServer()
    await sync_rows(north, rows)
    change(rows)
    (source,) = await ask(north, "SELECT id FROM source WHERE district_id = :district AND name = 'csv'")
    tables = [*ROSTER, "sis_run", "sis_quarantine", "sis_planned_change", "sis_lease"]
    before = await fingerprint(north, tables)
    engine, keyring = north.worker_engine, north.settings.keyring

    async def judge(opened: OpenedSource) -> tuple[int, list[str]]:
        report = await rehearse(engine, keyring, north.district_id, source[0], opened)
        return report.exit_code, report.planned_sentences()

    with rows.running() as connection:
        findings = await explore(connection, judge)
    assert (findings.ready, findings.exit_code) == (True, code), findings.sentences
    assert words in " ".join(findings.sentences)
    assert await fingerprint(north, tables) == before
    assert (await sync_rows(north, rows)).exit_code == code
