"""Tests the list of planned changes of a dry run, and of a run that waits for approval (a held run).

Also tests who may read which value of the list.
"""

import csv
import io
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from app.access.permission import Can
from app.access.principal import Principal, client_principal
from app.access.work import unit
from app.core.ids import new_id
from app.sis.engine.report import Report
from app.sis.runs.plans.changes import ChangeFilter, PlannedChange, csv_of_changes, planned_changes
from tests.sis.roster_zip import Export, ask, row_id, sync
from tests.town import Town

Listed = list[tuple[str, str, str | None]]


async def _read(town: Town, run_id: UUID, principal: Principal | None = None, **chosen: Any) -> list[PlannedChange]:
    caller = principal or _caller(town, Can.READ_SYNC)
    async with unit(town.worker_engine, caller, town.settings.keyring, "test") as work:
        return await planned_changes(work, run_id, ChangeFilter(**chosen))


def _caller(town: Town, *scopes: Can, schools: tuple[UUID, ...] = ()) -> Principal:
    return client_principal(town.district_id, new_id(), "test", frozenset(map(str, scopes)), schools)


def _brief(changes: list[PlannedChange]) -> Listed:
    return [(change.kind, change.action, change.sourced_id) for change in changes]


def _fields(changes: list[PlannedChange], sourced_id: str) -> dict[str, tuple[str | None, str | None, bool]]:
    (one,) = [change for change in changes if change.sourced_id == sourced_id]
    return {field.field: (field.before, field.after, field.digest) for field in one.fields}


def _altered() -> Export:
    """Returns a delivery with a new name, a new grade, a student who moves, one who leaves and a new one."""
    export = Export()
    export.row("users", "s1")["givenName"] = "=Ada"
    export.row("users", "s3")["grades"] = "4"
    export.row("users", "s5")["orgSourcedIds"] = "north"
    export.row("demographics", "s1")["birthDate"] = "2017-01-02"
    for name, sourced_id in (("users", "s7"), ("demographics", "s7"), ("enrollments", "e7")):
        export.without(name, sourced_id)
    export.rows["users"].append({**export.row("users", "s9"), "sourcedId": "s99", "identifier": "99", "email": ""})
    return export


async def _dry(town: Town, folder: Path) -> Report:
    await sync(town, Export(), folder)
    report = await sync(town, _altered(), folder, dry=True)
    assert report.state == "dry"
    return report


async def test_a_dry_run_lists_who_and_what(north: Town, tmp_path: Path) -> None:
    """The list of a dry run has each row with its kind, action, sourcedId and changed fields.

    It can be read after the run, and is exactly as long as the counts of the run say.
    """
    report = await _dry(north, tmp_path)
    changes = await _read(north, report.run_id, _caller(north, Can.READ_SYNC, Can.READ_ROSTER))
    assert sorted(_brief(changes)) == [
        ("demographics", "absent", "s7"),
        ("demographics", "update", "s1"),
        ("enrollment", "absent", "e7"),
        ("person", "absent", "s7"),
        ("person", "create", "s99"),
        ("person", "update", "s1"),
        ("person", "update", "s3"),
        ("person", "update", "s5"),
    ]
    assert report.listed == len(changes) == report.total("changes")
    people = [change for change in changes if change.kind == "person"]
    assert _fields(people, "s1") == {"givenName": ("Given s1", "=Ada", False)}
    assert _fields(people, "s3") == {"grades": ("03", "04", False)}
    assert _fields(people, "s5") == {"orgSourcedIds": ("south", "north", False)}
    assert _fields(people, "s7")["username"] == ("s7", None, False)
    assert _fields(people, "s99")["orgSourcedIds"] == (None, "south", False)


async def test_a_held_plan_is_listed_before_anybody_approves(north: Town, tmp_path: Path) -> None:
    """The planned changes of a run that waits for approval can be listed by kind, action and school.

    A row of two schools is listed for both.
    """
    await sync(north, Export(), tmp_path)
    export = _altered()
    export.without("enrollments", *(f"e{n}" for n in range(0, 24, 2)))
    report = await sync(north, export, tmp_path)
    assert report.state == "held"
    gone = await _read(north, report.run_id, kind="enrollment", action="absent")
    assert len(gone) == 13
    school = await row_id(north, "org", "north")
    of_north = _brief(await _read(north, report.run_id, school_id=school))
    assert ("person", "update", "s5") in of_north
    assert ("person", "update", "s1") not in of_north
    assert len([kind for kind, _, _ in of_north if kind == "enrollment"]) == 12


async def test_personal_values_are_digests_without_the_scope_of_the_record(north: Town, tmp_path: Path) -> None:
    """The list shows personal values only to a caller with the scope of the record, and shows digests to others.

    The scope is `roster:read` for people, and `demographics:read` for demographics. Within a run, equal values have
    equal digests.
    """
    report = await _dry(north, tmp_path)
    blind = await _read(north, report.run_id)
    before, after, is_digest = _fields([one for one in blind if one.kind == "person"], "s1")["givenName"]
    assert is_digest
    assert before != after
    assert "Ada" not in f"{before}{after}"
    assert _fields([one for one in blind if one.kind == "person"], "s3") == {"grades": ("03", "04", False)}
    roster = await _read(north, report.run_id, _caller(north, Can.READ_SYNC, Can.READ_ROSTER))
    demographics = [one for one in roster if one.kind == "demographics"]
    assert _fields(demographics, "s1")["birthDate"][2]
    secured = await _read(north, report.run_id, _caller(north, Can.READ_SYNC, Can.READ_DEMOGRAPHICS))
    demographics = [one for one in secured if one.kind == "demographics"]
    assert _fields(demographics, "s1")["birthDate"] == ("2018-03-04", "2017-01-02", False)
    assert _fields([one for one in secured if one.kind == "person"], "s1")["givenName"][2]


async def test_two_runs_have_no_digest_in_common(north: Town, tmp_path: Path) -> None:
    """Two runs have no digest in common: a digest means nothing outside its run, and cannot be found by trying
    names.
    """
    first = await _read(north, (await _dry(north, tmp_path)).run_id)
    second = await _read(north, (await sync(north, _altered(), tmp_path, dry=True)).run_id)
    digests = [
        {
            value
            for change in changes
            for field in change.fields
            if field.digest
            for value in (field.before, field.after)
        }
        for changes in (first, second)
    ]
    assert digests[0] & digests[1] <= {None}


async def test_a_client_of_one_school_sees_its_students_only(north: Town, tmp_path: Path) -> None:
    """A client of one school sees only planned changes about its students, as in the roster."""
    report = await _dry(north, tmp_path)
    school = await row_id(north, "org", "north")
    mine = _caller(north, Can.READ_SYNC, Can.READ_ROSTER, schools=(school,))
    assert {change.sourced_id for change in await _read(north, report.run_id, mine)} == {"s5"}


async def test_who_was_shown_is_in_the_disclosure_log(north: Town, tmp_path: Path) -> None:
    """The disclosure log gets one row with the students on the page, including those whom the run would create."""
    report = await _dry(north, tmp_path)
    await _read(north, report.run_id, kind="person")
    (row,) = await ask(
        north, "SELECT student_ids, kinds FROM disclosure WHERE district_id = :district AND operation = 'test'"
    )
    assert (len(row[0]), list(row[1])) == (5, ["sync"])
    assert await row_id(north, "person", "s1") in row[0]


async def test_a_spreadsheet_runs_nothing_of_the_list(north: Town, tmp_path: Path) -> None:
    """In the CSV file of planned changes, a value that begins like a formula is written as text."""
    report = await _dry(north, tmp_path)
    caller = _caller(north, Can.READ_SYNC, Can.READ_ROSTER)
    parts = csv_of_changes(
        north.worker_engine, caller, north.settings.keyring, "test", report.run_id, ChangeFilter(kind="person")
    )
    rows = list(csv.reader(io.StringIO("".join([part async for part in parts]))))
    assert rows[0] == ["kind", "action", "sourcedId", "schools", "field", "before", "after", "digest"]
    assert ["person", "update", "s1", "School south", "givenName", "Given s1", "'=Ada", "false"] in rows


async def test_a_likely_rekey_is_listed_beside_its_two_rows(north: Town, tmp_path: Path) -> None:
    """A student who seems to have a new sourcedId is listed as absent, as new, and with the action `rekey`.

    The list can be filtered by this action.
    """
    await sync(north, Export(), tmp_path)
    export = Export()
    for name in ("users", "demographics"):
        export.row(name, "s3")["sourcedId"] = "S-3"
    export.row("enrollments", "e3")["userSourcedId"] = "S-3"
    report = await sync(north, export, tmp_path, dry=True)
    (change,) = await _read(north, report.run_id, action="rekey")
    assert [(field.field, field.before, field.after) for field in change.fields] == [("sourcedId", "s3", "S-3")]
    brief = _brief(await _read(north, report.run_id, kind="person"))
    assert {("person", "absent", "s3"), ("person", "create", "S-3"), ("person", "rekey", "s3")} == set(brief)


@pytest.mark.parametrize("dry", [True, False])
async def test_a_run_that_applies_leaves_no_list(north: Town, tmp_path: Path, dry: bool) -> None:
    """A run that is applied directly has no list of planned changes; a dry run lists each of them."""
    report = await sync(north, Export(), tmp_path, dry=dry)
    assert (report.listed > 0) == dry
    assert len(await _read(north, report.run_id)) == report.listed
