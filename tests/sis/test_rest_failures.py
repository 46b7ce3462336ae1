"""Tests a REST sync with an optional collection that fails, and with a source that refuses the filter for changes."""

import time
from datetime import UTC, datetime
from typing import Any

import pytest

from app.sis.oneroster_rest.connection import RetryPolicy
from app.sis.oneroster_rest.wire import MAX_PAGE_BYTES
from tests.sis.plain_server import Reply, SisRequest
from tests.sis.roster_zip import STUDENTS, ask, fingerprint
from tests.sis.rows_server import RowsServer, sync_rows
from tests.town import Town

SINCE = datetime(2026, 9, 2, tzinfo=UTC)
FAILURES: dict[str, Any] = {
    "500": Reply(500),
    "data in place of the collection": Reply(body={"data": []}),
    "HTML": Reply(body="<html>"),
    "a redirect": Reply(302),
    "429": Reply(429, headers={"Retry-After": "7200"}),
    "a broken connection": Reply(body="[", headers={"Content-Encoding": "gzip"}),
    "a page that is too large": Reply(body=" " * (MAX_PAGE_BYTES + 1)),
}
LOST: dict[str, tuple[str, Any]] = {
    "403": ("demographics", Reply(403)),
    "401": ("demographics", Reply(401)),
    "404 of grades": ("categories", Reply(404)),
}


@pytest.mark.parametrize("name", FAILURES)
async def test_an_optional_collection_that_fails_keeps_what_is_known(north: Town, name: str) -> None:
    """If an optional collection fails, its stored rows stay, and the other collections are synced.

    The exit code is 3, and a warning names the option that leaves out the collection.
    """
    rows = RowsServer()
    assert (await sync_rows(north, rows)).state == "applied"
    before = await fingerprint(north, ["demographics"])
    rows.answer = lambda request: FAILURES[name] if request.name == "demographics" else None
    rows.row("users", "s3")["givenName"] = "Renamed"
    report = await sync_rows(north, rows)
    assert (report.state, report.exit_code, report.kinds["person"].updated) == ("applied", 3, 1), report.sentence
    assert any("--leave-out demographics" in warning for warning in report.warnings), report.warnings
    assert await fingerprint(north, ["demographics"]) == before


@pytest.mark.parametrize("name", FAILURES)
async def test_a_collection_that_a_roster_needs_fails_the_run(north: Town, name: str) -> None:
    """If a required collection fails, the run fails with exit 5."""
    rows = RowsServer()
    rows.answer = lambda request: FAILURES[name] if request.name == "users" else None
    report = await sync_rows(north, rows)
    assert (report.state, report.exit_code) == ("failed", 5)


@pytest.mark.parametrize("name", LOST)
async def test_an_optional_collection_that_is_no_longer_there_keeps_what_is_known(north: Town, name: str) -> None:
    """If an optional collection had rows and is now missing or forbidden, its rows stay, and the exit code is 3."""
    collection, response = LOST[name]
    rows = RowsServer()
    rows.rows["categories"] = [{"sourcedId": "quiz", "status": "active", "title": "Quizzes"}]
    assert (await sync_rows(north, rows)).exit_code == 0
    before = await fingerprint(north, ["demographics", "category"])
    rows.answer = lambda request: response if request.name == collection else None
    rows.row("users", "s3")["givenName"] = "Renamed"
    report = await sync_rows(north, rows)
    assert (report.state, report.exit_code, report.kinds["person"].updated) == ("applied", 3, 1), report.sentence
    assert any(f"--leave-out {collection}" in warning for warning in report.warnings), report.warnings
    assert await fingerprint(north, ["demographics", "category"]) == before


@pytest.mark.parametrize(
    ("answer", "sentence", "total"),
    [
        (lambda offset: Reply(403) if offset >= 4 else None, "are refused from row 5 on (403)", True),
        (lambda offset: Reply(403) if offset >= 4 else None, "are refused from row 5 on (403)", False),
        (
            lambda offset: Reply(body={"users": []}) if offset == 4 else None,
            "are empty at row 5, although rows follow",
            False,
        ),
    ],
    ids=["refused before the total", "refused", "empty"],
)
async def test_pages_that_break_off_are_named_and_end_with_exit_3(
    north: Town, answer: Any, sentence: str, total: bool
) -> None:
    """If pages in the middle are refused or empty, nobody is removed, and the run ends with exit code 3."""
    rows = RowsServer()
    assert (await sync_rows(north, rows)).state == "applied"
    before = await fingerprint(north, ["person", "enrollment"])
    rows.cap, rows.total = 2, total
    rows.answer = lambda request: answer(int(request.query["offset"])) if request.name == "users" else None
    report = await sync_rows(north, rows)
    assert (report.kinds["person"].absent, report.partial) == (0, ["users"]), report.sentence
    assert any(sentence in warning for warning in report.warnings), report.warnings
    assert report.exit_code in (3, 4)
    assert await fingerprint(north, ["person", "enrollment"]) == before


REFUSALS = {"500": Reply(500), "400": Reply(400), "HTML": Reply(body="<html>"), "404": Reply(404), "403": Reply(403)}


@pytest.mark.parametrize("response", REFUSALS.values(), ids=REFUSALS)
async def test_a_filter_that_is_refused_falls_back_to_a_full_pull(north: Town, response: Reply) -> None:
    """If a source refuses the filter for changes, the run becomes a full one, reports this, and removes people who are
    gone.
    """
    rows = RowsServer()
    assert (await sync_rows(north, rows)).state == "applied"
    rows.answer = lambda request: response if "filter" in request.query else None
    rows.users.remove(rows.row("users", "s3"))
    for name, sourced_id in (("enrollments", "e3"), ("demographics", "s3")):
        rows.rows[name].remove(rows.row(name, sourced_id))
    report = await sync_rows(north, rows, since=SINCE)
    assert (report.state, report.mode, report.kinds["person"].absent) == ("applied", "full", 1), report.sentence
    assert "cannot send only the changes" in report.warnings[0]


async def test_a_filter_that_fails_on_a_later_page_falls_back_to_a_full_pull(north: Town) -> None:
    """If the filter for changes fails on a later page, the source is read in full, and the run does not fail."""
    rows = RowsServer()
    assert (await sync_rows(north, rows)).state == "applied"
    rows.cap = 2

    def answer(request: SisRequest) -> Reply | None:
        is_late = "filter" in request.query and int(request.query["offset"]) >= 4
        return Reply(500) if request.name == "users" and is_late else None

    rows.answer = answer
    rows.row("users", "s3")["givenName"] = "Renamed"
    report = await sync_rows(north, rows, since=SINCE)
    assert (report.state, report.mode, report.kinds["person"].updated) == ("applied", "full", 1), report.sentence


async def test_a_delta_of_a_source_without_an_optional_collection_stays_a_delta(north: Town) -> None:
    """If a source does not have an optional collection, a delta stays a delta, with and without a filter."""
    rows = RowsServer()
    rows.answer = lambda request: Reply(404) if request.name == "demographics" else None
    assert (await sync_rows(north, rows)).exit_code == 0
    report = await sync_rows(north, rows, since=SINCE)
    assert (report.state, report.exit_code) == ("applied", 0)
    assert not any("read in full" in warning for warning in report.warnings)


async def test_a_role_that_a_delta_no_longer_lists_is_removed(north: Town) -> None:
    """In a delta, a role that its user no longer has is removed, and roles of other users stay."""
    rows = RowsServer("1.2")
    second = {"roleType": "secondary", "role": "student", "org": {"sourcedId": "south"}}
    rows.row("users", "s4")["roles"].append(second)
    assert (await sync_rows(north, rows)).state == "applied"
    rows.row("users", "s4")["roles"].remove(second)

    def changes(request: SisRequest) -> Reply | None:
        if "filter" not in request.query:
            return None
        return Reply(body={request.name: [rows.row("users", "s4")] if request.name == "users" else []})

    rows.answer = changes
    report = await sync_rows(north, rows, since=SINCE)
    assert (report.state, report.mode) == ("applied", "delta")
    assert (report.kinds["role"].absent, report.kinds["role"].changes) == (1, 1)
    (count,) = await ask(north, "SELECT count(*) FROM person_role WHERE district_id = :district AND removed_at IS NULL")
    assert count[0] == STUDENTS + 2


async def test_the_roles_of_a_user_that_is_refused_stay(north: Town) -> None:
    """If a role of a user is refused, all stored roles of the user stay."""
    rows = RowsServer("1.2")
    assert (await sync_rows(north, rows)).state == "applied"
    rows.set_role("s4", "learner")
    report = await sync_rows(north, rows)
    assert (report.state, report.exit_code, report.total("changes")) == ("applied", 3, 0)


@pytest.mark.parametrize("org", [{"org": None}, {}], ids=["null", "missing"])
async def test_the_roles_of_a_student_who_would_be_in_no_school_stay(north: Town, org: dict[str, Any]) -> None:
    """If a student's only role names no school, the student and the known roles stay, and the rows are quarantined."""
    rows = RowsServer("1.2")
    assert (await sync_rows(north, rows)).state == "applied"
    rows.row("users", "s4")["roles"] = [{"roleType": "primary", "role": "student", **org}]
    report = await sync_rows(north, rows)
    assert (report.state, report.exit_code, report.total("changes")) == ("applied", 3, 0)
    assert {(one.file, one.code) for one in report.refusals} == {
        ("users", "value.missing"),
        ("users.roles", "value.missing"),
    }


PATIENT = RetryPolicy(tries=8, first=0.001, longest=0.002, total=60.0, answer=0.3, whole=5.0)
"""Tries as often as a real source, and waits much less."""


def _slow(_: SisRequest) -> Reply:
    time.sleep(0.6)
    return Reply(200)


ASKED: dict[str, tuple[Any, int]] = {
    "500": (lambda _: Reply(500), 3),
    "503": (lambda _: Reply(503), 3),
    "no answer in time": (_slow, 3),
    "a web page": (lambda _: Reply(body="<html>Log in</html>"), 1),
    "a web page after blank lines": (lambda _: Reply(body="\n\n<!DOCTYPE html>"), 1),
    "another shape": (lambda _: Reply(body={"data": []}), 1),
    "a redirect": (lambda _: Reply(302), 1),
    "418": (lambda _: Reply(418), 1),
    "JSON that breaks off": (lambda _: Reply(body='{"demographics": ['), 3),
}


@pytest.mark.parametrize("name", ASKED)
async def test_an_optional_collection_that_fails_is_requested_only_a_few_times(north: Town, name: str) -> None:
    """A collection that a run can do without costs three requests at most, and one where a repetition cannot help."""
    failure, most = ASKED[name]
    rows = RowsServer()
    assert (await sync_rows(north, rows)).exit_code == 0
    rows.requests.clear()
    rows.answer = lambda request: failure(request) if request.name == "demographics" else None
    report = await sync_rows(north, rows, patience=PATIENT)
    assert (report.state, report.exit_code) == ("applied", 3), report.sentence
    assert len([request for request in rows.requests if request.name == "demographics"]) == most


@pytest.mark.parametrize("name", ASKED)
async def test_a_delta_goes_on_without_an_optional_collection_that_fails_at_all(north: Town, name: str) -> None:
    """If an optional collection fails with and without the filter, the delta stays a delta, after a few requests.

    Otherwise one broken collection would make every delta a full run.
    """
    failure, _ = ASKED[name]
    rows = RowsServer()
    assert (await sync_rows(north, rows)).exit_code == 0
    rows.requests.clear()
    rows.answer = lambda request: failure(request) if request.name == "demographics" else None
    rows.row("users", "s3")["givenName"] = "Renamed"
    report = await sync_rows(north, rows, since=SINCE, patience=PATIENT)
    assert (report.state, report.mode, report.kinds["person"].updated) == ("applied", "delta", 1), report.warnings
    assert report.exit_code == 3
    assert len([request for request in rows.requests if request.name == "demographics"]) <= 6


async def test_a_required_collection_is_waited_for(north: Town) -> None:
    """A collection that the roster needs is requested until the source has recovered, as often as the policy allows."""
    rows, left = RowsServer(), [6]

    def recovers(request: SisRequest) -> Reply | None:
        if request.name == "users" and left[0]:
            left[0] -= 1
            return Reply(503)
        return None

    rows.answer = recovers
    report = await sync_rows(north, rows, patience=PATIENT)
    assert (report.state, report.exit_code) == ("applied", 0), report.sentence


async def test_an_optional_collection_that_is_busy_is_waited_for(north: Town) -> None:
    """After 429 an optional collection is requested as often as any other: the source only asks for time."""
    rows, left = RowsServer(), [6]

    def recovers(request: SisRequest) -> Reply | None:
        if request.name == "demographics" and left[0]:
            left[0] -= 1
            return Reply(429)
        return None

    rows.answer = recovers
    report = await sync_rows(north, rows, patience=PATIENT)
    assert (report.state, report.exit_code) == ("applied", 0), report.sentence


async def test_a_later_page_of_an_optional_collection_is_waited_for(north: Town) -> None:
    """A later page of an optional collection is requested as often as any other, because the collection can be read."""
    rows, left = RowsServer(), [6]

    def recovers(request: SisRequest) -> Reply | None:
        if request.name == "demographics" and request.query["offset"] != "0" and left[0]:
            left[0] -= 1
            return Reply(503)
        return None

    rows.answer, rows.cap = recovers, 10
    report = await sync_rows(north, rows, patience=PATIENT)
    assert (report.state, report.exit_code) == ("applied", 0), report.sentence
