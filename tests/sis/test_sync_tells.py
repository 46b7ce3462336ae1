"""Tests the events of a sync: counts, and one event for each student who entered, left or returned.

The first load of a source gives no events about students.
"""

from pathlib import Path
from typing import Any

from app.core.ids import format_id
from app.core.page import keyset
from app.events.feed import events_after
from app.events.render import body
from tests.house.watch import misshapen_in
from tests.sis.roster_zip import LENIENT, Export, row_id, sync
from tests.town import Town


async def _bodies(town: Town, prefix: str = "") -> list[dict[str, Any]]:
    """Returns the bodies of the district's events whose type begins with `prefix`, and checks each by its schema."""
    async with town.unit() as work:
        page = await events_after(work, keyset(town.district_id, "events", {}, None, 200))
    bodies = [body(event, "http://aimline.test") for event in page.rows]
    assert [fault for one in bodies for fault in misshapen_in(one)] == []
    assert [event.seq for event in page.rows] == list(range(1, len(bodies) + 1))
    return [one for one in bodies if one["type"].startswith(prefix)]


async def _of(town: Town, bodies: list[dict[str, Any]]) -> list[tuple[str, str, str]]:
    return sorted((one["type"], one["data"]["student"], one["data"]["school"]) for one in bodies)


async def test_a_first_load_tells_of_no_student(north: Town, tmp_path: Path) -> None:
    """A first load emits no student events, only the sync's own event with counts."""
    await sync(north, Export(), tmp_path)
    (only,) = await _bodies(north)
    assert only["type"] == "sync.applied"
    assert only["data"]["counts"]["person"]["created"] == 42
    assert only["data"]["counts"]["person"]["removed"] == 0
    assert north.canary not in str(only)


async def test_who_enters_moves_leaves_and_returns_is_told(north: Town, tmp_path: Path) -> None:
    """A student who moves causes two events: the student left the former school and entered the new one.

    A student who comes back to a former school causes an event that the student returned to this school.
    """
    export = Export()
    await sync(north, export, tmp_path)
    schools = {name: format_id("org", await row_id(north, "org", name)) for name in ("north", "south")}
    s2 = format_id("student", await row_id(north, "person", "s2"))
    s3 = format_id("student", await row_id(north, "person", "s3"))
    gone = {name: export.without(name, *ids) for name, ids in (("users", ["s3"]), ("enrollments", ["e3"]))}
    gone["demographics"] = export.without("demographics", "s3")
    mover = next(row for row in export.rows["users"] if row["sourcedId"] == "s2")
    mover["orgSourcedIds"] = "south"
    new = {**mover, "sourcedId": "s99", "username": "s99", "orgSourcedIds": "north", "identifier": "99"}
    export.rows["users"].append(new)
    await sync(north, export, tmp_path, limits=LENIENT)
    s99 = format_id("student", await row_id(north, "person", "s99"))
    first = await _bodies(north, "student.")
    assert await _of(north, first) == sorted(
        [
            ("student.entered", s99, schools["north"]),
            ("student.entered", s2, schools["south"]),
            ("student.left", s2, schools["north"]),
            ("student.left", s3, schools["south"]),
        ]
    )
    for name, rows in gone.items():
        export.rows[name] += rows
    mover["orgSourcedIds"] = "north"
    await sync(north, export, tmp_path, limits=LENIENT)
    repeated = (await _bodies(north, "student."))[len(first) :]
    assert await _of(north, repeated) == sorted(
        [
            ("student.left", s2, schools["south"]),
            ("student.returned", s2, schools["north"]),
            ("student.returned", s3, schools["south"]),
        ]
    )
    assert not any("Given" in str(one) for one in first + repeated)


async def test_an_unchanged_night_tells_nothing(north: Town, tmp_path: Path) -> None:
    """A sync without changes emits no event."""
    await sync(north, Export(), tmp_path)
    before = len(await _bodies(north))
    await sync(north, Export(), tmp_path)
    assert len(await _bodies(north)) == before


async def test_a_school_hears_of_its_own_students_only(north: Town, tmp_path: Path) -> None:
    """An event about a student has the student's school. A client of another school does not get the event."""
    export = Export()
    await sync(north, export, tmp_path)
    for name, ids in (("users", ["s3"]), ("enrollments", ["e3"]), ("demographics", ["s3"])):
        export.without(name, *ids)
    await sync(north, export, tmp_path)
    for school, sees in (("south", 1), ("north", 0)):
        reader = north.client(schools=(await row_id(north, "org", school),))
        async with north.unit(reader) as work:
            page = await events_after(work, keyset(north.district_id, "events", {}, None, 200))
        assert [event.type for event in page.rows].count("student.left") == sees


async def test_a_held_sync_tells_its_counts_and_no_student(north: Town, tmp_path: Path) -> None:
    """A sync that is held emits one event, with counts, and no events about students."""
    export = Export()
    await sync(north, export, tmp_path)
    export.rows["users"] = export.rows["users"][:5]
    kept = {row["sourcedId"] for row in export.rows["users"]}
    for name in ("enrollments", "demographics"):  # whom an enrollment still names is kept
        column = "userSourcedId" if name == "enrollments" else "sourcedId"
        export.rows[name] = [row for row in export.rows[name] if row[column] in kept]
    report = await sync(north, export, tmp_path)
    assert report.state == "held"
    (held,) = await _bodies(north, "sync.held")
    assert held["data"]["counts"]["person"]["absent"] > 30
    assert await _bodies(north, "student.") == []
