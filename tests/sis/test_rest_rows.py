"""Tests single rows and texts over REST: other encodings, rows that are no objects, and the end of the last page."""

import json
from typing import Any

import pytest

from tests.sis.plain_server import Reply, SisRequest
from tests.sis.roster_zip import LENIENT, STUDENTS, ask, fingerprint
from tests.sis.rows_server import Answer, RowsServer, sync_rows
from tests.town import Town

NAME = "SELECT given_name FROM person WHERE district_id = :district AND username = 's3'"


def _encoded(server: RowsServer, name: str, codec: str, content_type: str) -> Answer:
    """Returns a response with one collection in another encoding."""

    def answer(request: SisRequest) -> Reply | None:
        if request.name != name:
            return None
        rows = server.rows[name]
        limit, offset = int(request.query["limit"]), int(request.query["offset"])
        body = json.dumps({name: rows[offset : offset + limit]}, ensure_ascii=False).encode(codec)
        return Reply(body=body, headers={"Content-Type": content_type})

    return answer


@pytest.mark.parametrize("codec", ["cp1252", "utf-16", "mac-roman"])
async def test_names_in_another_encoding_are_not_imported_wrongly(north: Town, codec: str) -> None:
    """Text that is not UTF-8 fails the run, with the collection and the encoding, as in CSV.

    Earlier, letters of names were lost without a message.
    """
    server = RowsServer()
    await sync_rows(north, server)
    before = await fingerprint(north)
    server.row("users", "s3")["givenName"] = "Noêl"
    server.answer = _encoded(server, "users", codec, "application/json")
    report = await sync_rows(north, server)
    assert (report.state, report.exit_code, await fingerprint(north)) == ("failed", 5, before)
    assert "answers for users with text that is not UTF-8" in report.sentence
    looks = {"cp1252": "Windows-1252", "utf-16": "UTF-16", "mac-roman": "an old code page"}[codec]
    assert looks in report.sentence
    assert "Noêl" not in report.sentence


@pytest.mark.parametrize(
    ("codec", "charset"), [("cp1252", "ISO-8859-1"), ("cp1252", '"windows-1252"'), ("utf-16", "UTF-16")]
)
async def test_a_charset_that_is_stated_is_read(north: Town, codec: str, charset: str) -> None:
    """Text in a charset that the source states in its header is decoded with that charset."""
    server = RowsServer()
    server.row("users", "s3")["givenName"] = "José"
    server.answer = _encoded(server, "users", codec, f"application/json; charset={charset}")
    report = await sync_rows(north, server)
    assert (report.state, report.exit_code) == ("applied", 0), report.sentence
    assert (await ask(north, NAME))[0][0] == "José"


@pytest.mark.parametrize("junk", [None, "x", {}, {"givenName": ""}, []], ids=str)
async def test_rows_that_cannot_be_read_remove_nobody(north: Town, junk: Any) -> None:
    """Rows without a sourcedId that are equal on several pages go into quarantine, and no other row counts as absent.

    Earlier, such rows made every run fail, as if the source had changed while it was read.
    """
    server = RowsServer()
    await sync_rows(north, server)
    before = await fingerprint(north)
    server.rows["users"] = [row if number % 7 else junk for number, row in enumerate(server.users)]
    server.rows["enrollments"] = [
        row for number, row in enumerate(server.rows["enrollments"]) if number % 7
    ]  # no enrollment names them
    server.total = False
    report = await sync_rows(north, server, page_size=7, limits=LENIENT)
    assert (report.state, report.exit_code) == ("applied", 3), report.sentence
    assert (report.kinds["person"].absent, report.kinds["person"].quarantined) == (0, 6)
    assert (await fingerprint(north, ("person",)))["person"] == before["person"]


@pytest.mark.parametrize("status", [204, 404, 416])
async def test_a_status_behind_the_last_row_is_the_end(north: Town, status: int) -> None:
    """If the page after the last row is answered with 204, 404 or 416, the collection counts as completely read."""
    server = RowsServer()
    server.total, server.cap = False, 10

    def answer(request: SisRequest) -> Reply | None:
        rows = server.rows.get(request.name)
        return Reply(status) if rows and int(request.query["offset"]) >= len(rows) else None

    server.answer = answer
    report = await sync_rows(north, server)
    assert (report.state, report.exit_code) == ("applied", 0), report.sentence
    assert report.kinds["person"].created == STUDENTS + 2
