"""Tests the sandbox SIS's changes: a delta is the difference between two exports, and lists who has left."""

import csv
import io
import zipfile
from typing import Any

import httpx
import pytest

from app.sandbox.district import District
from app.sandbox.sis_history import Row as Kept
from app.sandbox.sis_history import fold
from app.sandbox.sis_quirks import Quirks
from app.sandbox.sis_rows import Rows
from tests.sis.sandbox_sis import BOOK, V11, Row, client_of, everything
from tests.sis.test_sandbox_district import DATE

pytestmark = pytest.mark.long

KINDS = ("orgs", "academicSessions", "courses", "classes", "users", "enrollments", "demographics")
REFERENCES = {"class": "classSourcedId", "school": "schoolSourcedId", "user": "userSourcedId", "orgs": "orgSourcedIds"}
SINCE = {day: f"dateLastModified>'2026-11-{21 + day}T12:00:00.000Z'" for day in range(6)}


def exported(client: httpx.Client, day: int) -> dict[str, dict[str, dict[str, str]]]:
    """Returns the rows of the CSV zip of a day, keyed by file and then by sourcedId."""
    answer = client.get("csv/oneroster.zip", params={"day": day})
    assert answer.status_code == 200
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        files = {kind: archive.read(f"{kind}.csv").decode() for kind in KINDS}
    return {
        kind: {row["sourcedId"]: row for row in csv.DictReader(io.StringIO(text, newline=""))}
        for kind, text in files.items()
    }


def flat(row: Row) -> dict[str, str]:
    """Converts a row of the API to cells of the CSV format.

    The result has the references to other rows, and the fields that have the same name in the API and in the CSV
    format.
    """
    cells = {}
    for name, value in row.items():
        if name in ("status", "dateLastModified", "metadata", "userIds"):
            continue
        if name in REFERENCES:
            ids = [one["sourcedId"] for one in (value if isinstance(value, list) else [value])]
            cells[REFERENCES[name]] = ",".join(ids)
        elif isinstance(value, bool):
            cells[name] = str(value).lower()
        elif isinstance(value, str):
            cells[name] = value
        elif isinstance(value, list) and value and isinstance(value[0], str):
            cells[name] = ",".join(value)
    return cells


@pytest.mark.parametrize(("before", "after"), [(0, 1), (2, 5)])
def test_a_delta_is_the_difference_of_two_exports(before: int, after: int) -> None:
    """A delta between two exports has the rows that are new or changed in the later export.

    Rows that the later export lacks are marked as `tobedeleted`.
    """
    changes = 0
    with client_of("--students", "1500", "--day", str(after)) as client:
        earlier, later = exported(client, before), exported(client, after)
        for kind in KINDS:
            delta = everything(client, f"{V11}/{kind}", 300, filter=SINCE[before])
            active = {row["sourcedId"]: row for row in delta if row["status"] == "active"}
            gone = {row["sourcedId"] for row in delta if row["status"] == "tobedeleted"}
            changed = {one for one, row in later[kind].items() if earlier[kind].get(one) != row}
            assert active.keys() == changed
            # Who came and went between the two exports is told too, and was in neither.
            assert earlier[kind].keys() - later[kind].keys() == gone & earlier[kind].keys()
            assert not gone & later[kind].keys()
            for one, row in active.items():
                cells = flat(row)
                assert cells.items() <= later[kind][one].items(), one
            changes += len(delta)
    assert changes > 40


def test_the_whole_is_the_export() -> None:
    """The active rows of the API equal the rows of the CSV export, except grading periods, which only the API has."""
    with client_of("--students", "400", "--day", "4") as client:
        bulk = exported(client, 4)
        for kind in KINDS:
            listed = [row for row in everything(client, f"{V11}/{kind}") if row["status"] == "active"]
            listed = [row for row in listed if row.get("type") != "gradingPeriod"]
            assert [row["sourcedId"] for row in listed] == list(bulk[kind]) or kind == "enrollments"
            assert {row["sourcedId"] for row in listed} == bulk[kind].keys()
            for row in listed:
                assert flat(row).items() <= bulk[kind][row["sourcedId"]].items()


def test_a_night_passes() -> None:
    """A test can move the sandbox SIS to the next day, and the server then serves the rows of that day."""
    with client_of("--students", "200") as client:
        first = everything(client, f"{V11}/results")
        assert client.post("sandbox/day/5").json()["day"] == 5
        later = everything(client, f"{V11}/results")
        items = {row["lineItem"]["sourcedId"] for row in later} - {row["lineItem"]["sourcedId"] for row in first}
        assert items
        new = {row["sourcedId"] for row in everything(client, f"{BOOK}/lineItems", filter=SINCE[4])}
        assert items <= new
        delta = {row["sourcedId"] for row in everything(client, f"{BOOK}/results", filter=SINCE[0])}
        before, after = ({row["sourcedId"]: _content(row) for row in day} for day in (first, later))
        assert delta == {one for one, row in after.items() if before.get(one) != row}


def _content(row: Row) -> tuple[Any, ...]:
    return row["status"], row.get("score")


def test_counts_are_those_of_the_rows() -> None:
    """The computed counts equal the numbers of generated rows."""
    for day in (0, 7):
        rows = Rows(District(5, 1600, DATE, day), Quirks())
        for kind in ("users", "enrollments", "demographics", "results", "assessmentResults", "classes", "lineItems"):
            for block in rows.blocks(kind)[::5]:
                made = list(rows.of(kind, block))
                assert rows.count(kind, block) == len(made)
                for row in made[:: len(made) // 3 + 1]:
                    assert rows.find(kind, row.record.sourced_id) == row


def test_what_is_made_again_as_it_was_keeps_its_day() -> None:
    """A record that is generated again without a change keeps the date of its last change."""

    class Record:
        def __init__(self, sourced_id: str) -> None:
            self.sourced_id = sourced_id

    stays, goes, comes = Record("stays"), Record("goes"), Record("comes")
    seat = next(District(1, 100, DATE).seats())
    made = {0: [stays, goes], 3: [stays, comes]}
    assert fold([(0, seat), (3, seat)], lambda _, day: made[day]) == [
        Kept(stays, True, 0),
        Kept(goes, False, 3),
        Kept(comes, True, 3),
    ]
    assert [row.active for row in fold([(0, seat), (2, None)], lambda *_: [stays])] == [False]


def test_the_csv_is_of_either_version_with_or_without_its_grades() -> None:
    """The CSV download has the files of the requested OneRoster version, and has grades only if they are requested."""
    rows_by_kind = {}
    with client_of("--students", "40") as client:
        for version, grades in (("1.1", "false"), ("1.1", "true"), ("1.2", "true")):
            answer = client.get("csv/oneroster.zip", params={"oneroster": version, "gradebook": grades})
            with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
                assert f"oneroster.version,{version}" in archive.read("manifest.csv").decode()
                rows_by_kind[version, grades] = set(archive.namelist())
        assert client.get("csv/oneroster.zip", params={"oneroster": "1.0"}).status_code == 400
    assert rows_by_kind["1.1", "true"] - rows_by_kind["1.1", "false"] == {
        "categories.csv",
        "lineItems.csv",
        "results.csv",
    }
    assert rows_by_kind["1.2", "true"] - rows_by_kind["1.1", "true"] >= {"roles.csv", "scoreScales.csv"}
