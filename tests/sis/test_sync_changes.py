"""Tests later deliveries: removed and returning rows, transfers, pinned values, held runs, and one sync at a time."""

import asyncio
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from app.access.permission import Can
from app.access.work import Work, needs
from app.core.clock import today_in
from app.core.ids import new_id
from app.sis.port import AlreadyRunning
from tests.sis.roster_zip import LENIENT, STUDENTS, Export, ask, fingerprint, row_id, sync
from tests.town import Town


async def _person(town: Town, sourced_id: str) -> dict[str, Any]:
    (row,) = await ask(
        town,
        "SELECT to_jsonb(p) - 'updated_at' FROM person p WHERE p.district_id = :district AND p.id = :id",
        id=await row_id(town, "person", sourced_id),
    )
    return dict(row[0])


async def test_who_is_removed_and_comes_back_is_the_same_person(north: Town, tmp_path: Path) -> None:
    """A student who is removed and comes back has the same id, and the change log has both changes."""
    export = Export()
    await sync(north, export, tmp_path)
    first = await _person(north, "s3")
    gone = {name: export.without(name, *ids) for name, ids in (("users", ["s3"]), ("enrollments", ["e3"]))}
    gone["demographics"] = export.without("demographics", "s3")
    report = await sync(north, export, tmp_path)
    assert (report.kinds["person"].absent, report.kinds["enrollment"].absent) == (1, 1)
    removed = await _person(north, "s3")
    assert removed["removed_at"] is not None
    ends = await ask(
        north,
        "SELECT ends_on FROM school_membership WHERE district_id = :district AND person_id = :id",
        id=first["id"],
    )
    assert ends == [(today_in("America/Chicago"),)]
    for name, rows in gone.items():
        export.rows[name] += rows
    back = await sync(north, export, tmp_path)
    assert (back.kinds["person"].updated, back.kinds["person"].restored) == (1, 1)
    assert await _person(north, "s3") == first
    log = await ask(
        north,
        "SELECT action, before ->> 'given_name' FROM sis_change WHERE district_id = :district AND row_id = :id "
        "AND kind = 'person' ORDER BY id",
        id=first["id"],
    )
    assert log == [("absent", "Given s3"), ("restore", "Given s3")]
    open_now = await ask(
        north,
        "SELECT count(*) FROM school_membership WHERE district_id = :district AND person_id = :id AND ends_on IS NULL",
        id=first["id"],
    )
    assert open_now == [(1,)]


@pytest.mark.parametrize("status", ["tobedeleted", "inactive", "ToBeDeleted"])
async def test_a_row_marked_as_deleted_is_removed(north: Town, tmp_path: Path, status: str) -> None:
    """A row that is marked as deleted is removed, and does not count as absent from the file.

    A second sync of the same file removes nothing.
    """
    export = Export()
    await sync(north, export, tmp_path)
    export.row("enrollments", "e3")["status"] = status
    report = await sync(north, export, tmp_path)
    assert (report.kinds["enrollment"].removed, report.kinds["enrollment"].absent) == (1, 0)
    repeated = await sync(north, export, tmp_path)
    assert (repeated.kinds["enrollment"].removed, repeated.total("changes")) == (0, 0)


async def test_an_update_keeps_the_row_as_it_was_in_the_log(north: Town, tmp_path: Path) -> None:
    """The change log has the values of an updated row before the update."""
    export = Export()
    await sync(north, export, tmp_path)
    export.row("users", "s3")["givenName"] = "New"
    report = await sync(north, export, tmp_path)
    assert (report.total("updated"), report.total("changes"), report.exit_code) == (1, 1, 0)
    assert (await _person(north, "s3"))["given_name"] == "New"
    log = await ask(
        north,
        "SELECT kind, action, before ->> 'given_name' FROM sis_change WHERE district_id = :district AND run_id = :run",
        run=report.run_id,
    )
    assert log == [("person", "update", "Given s3")]


async def test_a_field_that_people_pinned_is_left_alone(north: Town, tmp_path: Path) -> None:
    """A pinned field keeps its value, and the other fields follow the source."""
    export = Export()
    await sync(north, export, tmp_path)
    await ask(
        north,
        "UPDATE person SET given_name = 'Pinned', pinned = '{given_name}' WHERE district_id = :district AND id = :id",
        id=await row_id(north, "person", "s3"),
    )
    assert (await sync(north, export, tmp_path)).total("changes") == 0
    export.row("users", "s3").update(givenName="From the SIS", email="new@example.org")
    assert (await sync(north, export, tmp_path)).total("updated") == 1
    person = await _person(north, "s3")
    assert (person["given_name"], person["email"]) == ("Pinned", "new@example.org")


@needs(Can.SYNC_ROSTER)
async def _raise_concern(work: Work, town: Town, student: Any, school: Any) -> None:
    await work.db.execute(
        text(
            """INSERT INTO concern (district_id, id, student_id, school_ids, area_id, state, description, raised_on,
                                    created_at, version)
               VALUES (:district, :id, :student, ARRAY[CAST(:school AS uuid)], :area, 'raised', '', :day,
                       now(), 1)"""
        ),
        {
            "district": work.district_id,
            "id": new_id(),
            "student": student,
            "school": school,
            "area": next(iter(town.areas.values())),
            "day": date(2026, 10, 1),
        },
    )


async def test_a_transfer_takes_the_students_records_along(north: Town, tmp_path: Path) -> None:
    """If a student changes school, the concern and the demographics follow to the new school.

    The old school membership ends, and the new one begins today.
    """
    export = Export()
    await sync(north, export, tmp_path)
    student, old, new = [
        await row_id(north, kind, key) for kind, key in (("person", "s3"), ("org", "south"), ("org", "north"))
    ]
    async with north.house() as work:
        await _raise_concern(work, north, student, old)
    export.row("users", "s3")["orgSourcedIds"] = "north"
    export.row("enrollments", "e3").update(schoolSourcedId="north", classSourcedId="class-north")
    report = await sync(north, export, tmp_path)
    assert (report.state, report.total("updated")) == ("applied", 2)
    for table, key in (("concern", "student_id"), ("demographics", "person_id")):
        rows = await ask(
            north, f"SELECT school_ids FROM {table} WHERE district_id = :district AND {key} = :id", id=student
        )
        assert rows == [([new],)]
    memberships = await ask(
        north,
        "SELECT school_id, begins_on, ends_on FROM school_membership "
        "WHERE district_id = :district AND person_id = :id ORDER BY begins_on",
        id=student,
    )
    today = today_in("America/Chicago")
    assert memberships == [(old, date(2026, 8, 17), today), (new, today, None)]


async def test_a_removal_of_over_a_tenth_is_held(north: Town, tmp_path: Path) -> None:
    """A run that would remove more than a tenth of the people is held, and the roster stays unchanged.

    The run has exit code 4, its sentence states the numbers, and it emits the event `sync.held`.
    """
    export = Export()
    export.rows["users"] += [
        {**export.row("users", "s1"), "sourcedId": f"x{n}", "identifier": f"x{n}", "email": "", "username": ""}
        for n in range(60)
    ]
    await sync(north, export, tmp_path)
    before = await fingerprint(north)
    export.without("users", *(f"x{n}" for n in range(30)))
    report = await sync(north, export, tmp_path)
    assert (report.state, report.exit_code) == ("held", 4)
    assert "30 of 102 people (29%) would be removed; the limit is 10%." in report.sentence
    assert await fingerprint(north) == before
    events = await ask(
        north, "SELECT type FROM event WHERE district_id = :district AND subject_kind = 'run' ORDER BY seq"
    )
    assert events == [("sync.applied",), ("sync.held",)]


async def test_a_kind_that_no_longer_comes_is_held(north: Town, tmp_path: Path) -> None:
    """If a file that the source always had is missing from the zip, the run is held: its rows do not count as
    removed.
    """
    export = Export()
    await sync(north, export, tmp_path)
    del export.rows["enrollments"]
    report = await sync(north, export, tmp_path, limits=LENIENT)
    assert (report.state, report.exit_code) == ("held", 4)
    assert f"No enrollments came, and {STUDENTS + 2} are known." in report.sentence


async def test_a_class_that_loses_most_of_its_students_is_held(north: Town, tmp_path: Path) -> None:
    """If eleven of the twenty students of a class leave it, and the class is not removed, the run is held."""
    export = Export()
    await sync(north, export, tmp_path)
    export.without("enrollments", *(f"e{n}" for n in range(0, 22, 2)))
    report = await sync(north, export, tmp_path)
    assert (report.state, report.held_because) == (
        "held",
        ["A class would lose over 50% of the students, the worst 11 of 20."],
    )


async def test_another_district_and_another_source_are_left_alone(north: Town, south: Town, tmp_path: Path) -> None:
    """A row counts as absent only within its own source and district, so other sources and districts stay unchanged."""
    elsewhere, founded = await fingerprint(south), await row_id(north, "person", "amy-1")
    await sync(south, Export(), tmp_path)
    elsewhere = await fingerprint(south)
    await sync(north, Export(), tmp_path)
    kept = await ask(
        north,
        "SELECT count(*) FROM person WHERE district_id = :district AND arrived_in IS NULL AND removed_at IS NULL",
    )
    assert founded is None
    assert kept == [(len(north.students) + len(north.staff),)]
    assert await fingerprint(south) == elsewhere


async def test_one_sync_a_district_at_a_time(north: Town, south: Town, tmp_path: Path) -> None:
    """While a sync of a district runs, a second sync of this district is refused at once.

    A sync of another district is not refused.
    """
    begun = asyncio.Event()
    first = asyncio.create_task(sync(north, Export(), tmp_path, progress=lambda *_: begun.set()))
    await begun.wait()
    path = Export().write(tmp_path / "second.zip")
    with pytest.raises(AlreadyRunning):
        await sync(north, path, tmp_path)
    assert (await sync(south, path, tmp_path)).state == "applied"
    assert (await first).state == "applied"
    assert (await sync(north, path, tmp_path)).state == "applied", "the lock is let go"


async def test_an_interrupted_sync_changes_nothing_and_is_ended(north: Town, tmp_path: Path) -> None:
    """A sync that is cancelled while it writes leaves the roster unchanged and does not block the next one."""
    before = await fingerprint(north, ("external_id", "org", "person", "enrollment"))
    running: list[asyncio.Task[Any]] = []

    def progress(doing: str, _done: int, _of: int) -> None:
        if doing.startswith("writing enrollments"):
            running[0].cancel()

    running.append(asyncio.create_task(sync(north, Export(), tmp_path, progress=progress)))
    with pytest.raises(asyncio.CancelledError):
        await running[0]
    assert await fingerprint(north, before) == before
    runs = await ask(north, "SELECT state, sentence FROM sis_run WHERE district_id = :district")
    assert runs == [("failed", "The sync was interrupted. Nothing was changed.")]
    assert (await sync(north, Export(), tmp_path)).state == "applied"


async def test_a_run_that_a_crash_left_open_is_ended_by_the_next(north: Town, tmp_path: Path) -> None:
    """A run that a crash left in state `running` is ended by the next run."""
    await sync(north, Export(), tmp_path)
    await ask(
        north,
        "UPDATE sis_run SET state = 'running', ended_at = NULL WHERE district_id = :district",
    )
    await sync(north, Export(), tmp_path)
    states = await ask(north, "SELECT state FROM sis_run WHERE district_id = :district ORDER BY id")
    assert states == [("failed",), ("applied",)]
