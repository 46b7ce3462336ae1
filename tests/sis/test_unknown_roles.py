"""Tests that students stay students if a delivery gives them a role that OneRoster does not have, over CSV and REST."""

from pathlib import Path

import pytest

from app.sis.engine.report import Refusal
from app.sis.guard import GuardLimits
from tests.sis.gradebook_zip import Delivered
from tests.sis.roster_zip import LENIENT, STUDENTS, Export, ask, fingerprint, sync
from tests.sis.rows_server import RowsServer, sync_rows
from tests.town import Town

NORTH = [f"s{n}" for n in range(0, STUDENTS, 2)]
WORDS = ("learner", "Pupil", "ext:learner", "students", "élève")
COUNT_STUDENTS = """SELECT count(*) FROM person p JOIN external_id e ON e.district_id = :district
     AND e.row_id = p.id AND e.kind = 'person' JOIN source s ON s.district_id = :district AND s.id = e.source_id
     AND s.name = 'csv'
    WHERE p.district_id = :district AND p.is_student AND p.removed_at IS NULL AND p.role = 'student'"""


@pytest.mark.parametrize("word", WORDS)
async def test_a_role_that_is_unknown_keeps_the_known_one(north: Town, tmp_path: Path, word: str) -> None:
    """A student whose delivered role is unknown stays a student; the row is quarantined with exit 3."""
    export = Export()
    await sync(north, export, tmp_path)
    before = await fingerprint(north)
    export.row("users", "s4")["role"] = word
    export.row("enrollments", "e5")["role"] = word
    report = await sync(north, export, tmp_path)
    assert (report.state, report.exit_code, report.total("changes")) == ("applied", 3, 0)
    rows = {refusal.file: (refusal.field, refusal.code) for refusal in report.refusals}
    assert rows == {"users.csv": ("role", "role.unknown"), "enrollments.csv": ("role", "role.unknown")}
    assert await fingerprint(north) == before


@pytest.mark.parametrize("word", ["STUDENT", " student ", "ext:student", "Ext:Student"])
async def test_a_role_in_another_spelling_is_the_role(north: Town, tmp_path: Path, word: str) -> None:
    """A role that is written in another case, with blanks or with the prefix `ext:` counts as the same role."""
    export = Export()
    await sync(north, export, tmp_path)
    export.row("users", "s4")["role"] = word
    report = await sync(north, export, tmp_path)
    assert (report.state, report.exit_code, report.total("changes")) == ("applied", 0, 0)


async def test_half_a_school_under_an_unknown_role_is_held_and_kept(north: Town, tmp_path: Path) -> None:
    """If half of a school's users have an unknown role, the run is held; even if it is approved, nobody is removed."""
    export = Export()
    await sync(north, export, tmp_path)
    before = await fingerprint(north)
    for name in NORTH[:12]:
        export.row("users", name)["role"] = "learner"
    report = await sync(north, export, tmp_path)
    assert (report.state, report.exit_code) == ("held", 4)
    assert "cannot be taken" in report.sentence
    report = await sync(north, export, tmp_path, limits=LENIENT)
    assert (report.state, report.total("changes")) == ("applied", 0)
    assert await fingerprint(north) == before


@pytest.mark.parametrize("file", ["users", "enrollments"])
async def test_students_who_become_something_else_count_as_lost(north: Town, tmp_path: Path, file: str) -> None:
    """If many students get another role, they count as lost to their school or class, and the run is held."""
    export = Export()
    await sync(north, export, tmp_path)
    for n in range(0, 24, 2):
        export.row(file, f"{'s' if file == 'users' else 'e'}{n}")["role"] = "guardian"
    report = await sync(north, export, tmp_path, limits=GuardLimits(changed=1))
    what = "school" if file == "users" else "class"
    assert report.state == "held"
    assert f"A {what} would lose over 50% of the students, the worst 12 of 20." in report.held_because


async def test_a_role_of_1_2_that_is_unknown_keeps_the_known_one(north: Town, tmp_path: Path) -> None:
    """An unknown role in roles.csv is quarantined, and the person keeps the stored role."""
    export = Delivered(version="1.2")
    export.rows["roles"].append(export.role("ro-also", "s4", "relative", "south", role_type="secondary"))
    await sync(north, export, tmp_path)
    before = await fingerprint(north)
    export.row("roles", "ro-s4")["role"] = "learner"
    export.row("roles", "ro-s6")["role"] = "learner"
    report = await sync(north, export, tmp_path)
    assert (report.state, report.exit_code, report.total("changes")) == ("applied", 3, 0)
    place = {name: export.rows["roles"].index(export.row("roles", name)) + 2 for name in ("ro-s4", "ro-s6")}
    assert report.refusals == [Refusal("roles.csv", row, "role", "role.unknown") for row in place.values()]
    assert await fingerprint(north) == before


@pytest.mark.parametrize("version", ["1.1", "1.2"])
async def test_a_role_over_rest_that_is_unknown_keeps_the_known_one(north: Town, version: str) -> None:
    """If a role over REST is unknown, the row is quarantined and the person keeps the stored role, as with CSV."""
    rows = RowsServer(version)
    assert (await sync_rows(north, rows)).state == "applied"
    (count,) = await ask(north, COUNT_STUDENTS)
    assert count[0] == STUDENTS
    rows.set_role("s4", "learner")
    report = await sync_rows(north, rows)
    assert (report.state, report.exit_code, report.kinds["person"].quarantined) == ("applied", 3, 1)
    assert ("role", "role.unknown") in {(one.field, one.code) for one in report.refusals}
    assert report.kinds["person"].changes == 0
    assert await ask(north, COUNT_STUDENTS) == [count]
