"""Tests that a plan can be approved for some schools or kinds of rows only, and that the roster stays consistent."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from app.core.errors import Conflict, Invalid
from app.core.ids import format_id
from app.sis.engine.report import Report
from app.sis.kinds import KINDS
from app.sis.runs.approval import approve, execute_answer
from app.sis.runs.rekey import plan_rekey
from tests.sis.roster_zip import Export, ask, row_id, sync
from tests.town import Town


def _changed() -> Export:
    """Returns a delivery with many changes: half of the enrollments are gone, and student s25 moves to the north
    school.

    In both schools somebody is new, somebody leaves and somebody has a new name.
    """
    export = Export()
    export.without("enrollments", *(f"e{n}" for n in range(24)))
    for old, new in (("s8", "s98"), ("s9", "s99")):
        export.rows["users"].append({**export.row("users", old), "sourcedId": new, "identifier": new, "email": ""})
        export.rows["demographics"].append({**export.row("demographics", old), "sourcedId": new})
        export.rows["enrollments"].append(
            {**export.row("enrollments", f"e{30 + int(new[1:]) % 2}"), "sourcedId": f"e{new}", "userSourcedId": new}
        )
    for sourced_id in ("s1", "s2"):
        export.row("users", sourced_id)["givenName"] = "New"
    for sourced_id in ("s3", "s4"):
        export.without("users", sourced_id)
        export.without("demographics", sourced_id)
    export.row("users", "s25")["orgSourcedIds"] = "north"
    export.row("enrollments", "e25").update(classSourcedId="class-north", schoolSourcedId="north")
    export.row("academicSessions", "fall")["title"] = "Autumn"
    return export


async def _held(town: Town, folder: Path) -> Report:
    await sync(town, Export(), folder)
    report = await sync(town, _changed(), folder)
    assert report.state == "held"
    return report


async def _approve(town: Town, report: Report, **part: Sequence[str] | None) -> Report:
    assert report.plan is not None
    async with town.unit() as work:
        await approve(work, report.run_id, report.plan["digest"], **part)  # type: ignore[arg-type]  # two lists
    return await execute_answer(
        town.worker_engine, town.settings.keyring, town.district_id, report.run_id, lambda _doing, _done, _of: None
    )


async def _school(town: Town, name: str) -> str:
    return format_id("org", await row_id(town, "org", name))


async def _living(town: Town, table: str, key: str = "id") -> set[str]:
    rows = await ask(
        town,
        f"""SELECT coalesce(to_jsonb(t) ->> 'sourced_id', e.sourced_id) FROM {table} AS t
            LEFT JOIN external_id AS e ON e.district_id = :district AND e.row_id = t.{key} AND e.kind = 'person'
            WHERE t.district_id = :district AND t.removed_at IS NULL AND t.arrived_in IS NOT NULL""",
    )
    return {row[0] for row in rows}


async def dangling(town: Town) -> list[str]:
    """Returns the kinds of broken references, each with the number of rows that have it.

    A reference is broken if the row that it leads to is missing or removed.
    """
    broken = []
    for kind in KINDS:
        for ref in kind.refs:
            target = next(other for other in KINDS if other.name == ref.kind)
            if target.name == "person" and kind.name != "enrollment":
                continue
            item = f"unnest(t.{ref.column})" if ref.many else f"t.{ref.column}"
            rows = await ask(
                town,
                f"""SELECT count(*) FROM (SELECT {item} AS target FROM {kind.table} AS t
                        WHERE t.district_id = :district AND t.removed_at IS NULL AND t.arrived_in IS NOT NULL) AS t
                    LEFT JOIN {target.table} AS r ON r.district_id = :district AND r.id = t.target
                     AND r.removed_at IS NULL
                    WHERE t.target IS NOT NULL AND r.id IS NULL""",
            )
            broken += [f"{kind.name}.{ref.column}: {rows[0][0]}"] if rows[0][0] else []
    return broken


async def test_a_plan_is_approved_for_one_school(north: Town, tmp_path: Path) -> None:
    """If a plan is approved for one school, only this school's people are created, changed and removed.

    The other school does not change. A student who would move between the two schools stays where the student was.
    """
    report = await _held(north, tmp_path)
    done = await _approve(north, report, schools=[await _school(north, "north")])
    assert (done.state, done.total("left_out") > 0) == ("applied", True)
    people, enrollments = await _living(north, "person"), await _living(north, "enrollment")
    assert ("s98" in people, "s4" in people) == (True, False)
    assert ("s99" in people, "s3" in people) == (False, True)
    assert ("es98" in enrollments, "es99" in enrollments) == (True, False)
    assert ("e2" in enrollments, "e1" in enrollments) == (False, True)
    moved = await ask(
        north,
        "SELECT school_ids FROM person WHERE district_id = :district AND id = :id",
        id=await row_id(north, "person", "s25"),
    )
    assert moved[0][0] == [await row_id(north, "org", "south")]
    terms = "SELECT count(*) FROM academic_session WHERE district_id = :district AND title = 'Autumn'"
    assert await ask(north, terms) == [(1,)]
    assert await dangling(north) == []
    assert any("not all of their schools were approved" in note for note in done.warnings)


async def test_what_is_left_out_comes_again_with_the_next_run(north: Town, tmp_path: Path) -> None:
    """The part of a plan that was not approved is planned again by the next run of the same file.

    Once that is approved too, the roster is as if the whole plan had been approved at once.
    """
    report = await _held(north, tmp_path)
    done = await _approve(north, report, schools=[await _school(north, "north")])
    repeated = await sync(north, _changed(), tmp_path)
    assert repeated.state == "held"
    assert repeated.total("changes") == done.total("left_out")
    assert (await _approve(north, repeated)).state == "applied"
    last = await sync(north, _changed(), tmp_path)
    assert (last.state, last.total("changes")) == ("applied", 0)
    assert await dangling(north) == []


async def test_the_counts_of_a_part_add_up(north: Town, tmp_path: Path) -> None:
    """After a partial approval, the changed rows and the left-out rows together are as many as the planned rows."""
    report = await _held(north, tmp_path)
    planned = {name: counts.changes for name, counts in report.kinds.items()}
    done = await _approve(north, report, kinds=["person", "demographics"])
    for name, counts in done.kinds.items():
        assert counts.changes + counts.left_out == planned[name], name
    assert done.kinds["enrollment"].changes == 0


async def test_an_enrollment_of_a_student_who_was_not_approved_stays_out(north: Town, tmp_path: Path) -> None:
    """An enrollment of a new student, or one after a move, is left out if the student or the move was not approved.

    The report has the reason.
    """
    report = await _held(north, tmp_path)
    done = await _approve(north, report, kinds=["enrollment"])
    enrollments = await _living(north, "enrollment")
    assert {"es98", "es99"}.isdisjoint(enrollments)
    assert {f"e{n}" for n in range(24)}.isdisjoint(enrollments)
    (enrolled,) = await ask(
        north,
        "SELECT school_id FROM enrollment WHERE district_id = :district AND sourced_id = 'e25'",
    )
    assert enrolled[0] == await row_id(north, "org", "south")
    assert any("to which they refer" in note for note in done.warnings)
    assert await dangling(north) == []


async def test_nobody_is_removed_from_under_an_enrollment_that_stays(north: Town, tmp_path: Path) -> None:
    """A student who has left is kept as long as the end of the enrollment is not approved."""
    report = await _held(north, tmp_path)
    done = await _approve(north, report, kinds=["person"])
    people = await _living(north, "person")
    assert {"s3", "s4", "s98", "s99"} <= people
    assert done.kinds["person"].absent == 0
    assert await dangling(north) == []


async def test_a_new_school_and_all_that_is_in_it_stay_out_together(north: Town, tmp_path: Path) -> None:
    """Classes, people and enrollments of a new school that is not approved are left out together with the school."""
    await sync(north, Export(), tmp_path)
    export = _changed()
    export.rows["orgs"].append({**export.row("orgs", "north"), "sourcedId": "west", "name": "School west"})
    export.rows["classes"].append(
        {**export.row("classes", "class-north"), "sourcedId": "class-west", "schoolSourcedId": "west"}
    )
    export.row("users", "s98")["orgSourcedIds"] = "north,west"
    export.row("enrollments", "es98").update(classSourcedId="class-west", schoolSourcedId="west")
    report = await sync(north, export, tmp_path)
    await _approve(north, report, schools=[await _school(north, "north")])
    assert await row_id(north, "org", "west") is None
    assert "s98" not in await _living(north, "person")
    assert await dangling(north) == []


@pytest.mark.parametrize(
    ("part", "where"),
    [
        ({"schools": ["org_01jq4n6d9zf3vbs0x5k2m7e8tc"]}, "/schools/0"),
        ({"kinds": ["person", "users"]}, "/kinds/1"),
        ({"kinds": []}, "/kinds"),
        ({"schools": []}, "/schools"),
    ],
)
async def test_a_part_that_is_none_is_refused(north: Town, tmp_path: Path, part: dict[str, Any], where: str) -> None:
    """If a plan is approved in part, an invalid selection of the part is refused before anything is stored.

    The error points to the invalid value.
    """
    report = await _held(north, tmp_path)
    with pytest.raises(Invalid) as refused:
        await _approve(north, report, **part)
    assert [violation.pointer for violation in refused.value.violations] == [where]


async def test_a_part_is_bound_to_the_plan_that_was_read(north: Town, tmp_path: Path) -> None:
    """A partial approval is valid only for the plan that was read.

    A newer run replaces the plan if the source has changed; the plan is discarded if the roster has changed.
    """
    report = await _held(north, tmp_path)
    school = await _school(north, "north")
    newer = await sync(north, _changed(), tmp_path)
    with pytest.raises(Conflict):
        await _approve(north, report, schools=[school])
    await ask(
        north,
        "UPDATE person SET pinned = '{given_name}' WHERE district_id = :district AND id = :id",
        id=await row_id(north, "person", "s1"),
    )
    done = await _approve(north, newer, schools=[school])
    assert (done.state, done.exit_code) == ("discarded", 6)


async def test_a_map_is_approved_as_a_whole(north: Town, tmp_path: Path) -> None:
    """A map of sourcedIds can be approved only as a whole. An approval of only one kind of rows is refused."""
    await sync(north, Export(), tmp_path)
    export = Export()
    for row in export.rows["users"] + export.rows["demographics"]:
        row["sourcedId"] = f"new-{row['sourcedId']}"
    for row in export.rows["enrollments"]:
        row["userSourcedId"] = f"new-{row['userSourcedId']}"
    held: UUID = (await sync(north, export, tmp_path)).run_id
    planned = await plan_rekey(north.worker_engine, north.settings.keyring, north.district_id, held, "identifier")
    with pytest.raises(Invalid):
        await _approve(north, planned, kinds=["person"])
