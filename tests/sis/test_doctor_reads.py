"""Protects that the doctor reads a source as a run would, and exits as a run would."""

from typing import Any

import pytest

from app.sis.oneroster_rest.explore import explore
from tests.sis.plain_server import Reply, SisRequest
from tests.sis.rows_server import RowsServer

FAILURES: dict[str, Any] = {
    "500": Reply(500),
    "data in place of the collection": Reply(body={"data": []}),
    "HTML": Reply(body="<html>"),
}


async def _exit_of(rows: RowsServer) -> tuple[bool, int, str]:
    with rows.running(page_size=20) as connection:
        findings = await explore(connection)
    return findings.ready, findings.exit_code, " ".join(findings.sentences)


async def test_a_source_that_a_run_reads_is_read() -> None:
    """Every page of every collection, and exit 0."""
    rows = RowsServer()
    ready, exit_code, sentences = await _exit_of(rows)
    assert (ready, exit_code) == (True, 0), sentences
    assert "A sync can read this source." in sentences
    assert [request for request in rows.requests if request.name == "users" and request.query.get("offset") == "40"]


@pytest.mark.parametrize("name", FAILURES)
async def test_an_optional_collection_that_fails_is_named_with_its_option(name: str) -> None:
    """If an optional collection fails, the doctor exits with 3, as the run would, and names the option."""
    rows = RowsServer()
    rows.answer = lambda request: FAILURES[name] if request.name == "demographics" else None
    ready, exit_code, sentences = await _exit_of(rows)
    assert (ready, exit_code) == (True, 3), sentences
    assert "--leave-out demographics" in sentences
    assert "A sync can read this source." not in sentences


async def test_a_later_page_that_fails_fails_the_doctor() -> None:
    """The first page of users is there, a later one is not: the run would fail, and so does the doctor."""
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
