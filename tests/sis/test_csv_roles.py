"""Tests the roles of OneRoster 1.2, which determine a person's role and orgs.

A delivery may contain all roles, or only changed roles without any users.
"""

from datetime import timedelta
from pathlib import Path

from app.core.clock import today_in
from app.sis.engine.report import Refusal
from tests.sis.gradebook_zip import Delivered
from tests.sis.roster_zip import LENIENT, STUDENTS, ask, fingerprint, row_id, sync
from tests.town import Town

role = Delivered.role
ZONE = "America/Chicago"


async def _person(town: Town, sourced_id: str) -> tuple[str, list[str]]:
    """Returns a person's role, and the sourcedIds of the schools in their order."""
    rows = await ask(
        town,
        """SELECT p.role, ARRAY (SELECT e.sourced_id FROM unnest(p.school_ids) WITH ORDINALITY u (id, n)
                JOIN external_id e ON e.district_id = :district AND e.row_id = u.id AND e.kind = 'org'
                JOIN source c ON c.district_id = :district AND c.id = e.source_id AND c.name = 'csv' ORDER BY u.n)
           FROM person p WHERE p.district_id = :district AND p.id = :id AND p.removed_at IS NULL""",
        id=await row_id(town, "person", sourced_id),
    )
    return rows[0][0], list(rows[0][1])


def _delivered() -> Delivered:
    return Delivered(version="1.2")


def _ago(days: int) -> str:
    return str(today_in(ZONE) - timedelta(days=days))


async def test_roles_make_what_a_person_is(north: Town, tmp_path: Path) -> None:
    """A person with several roles is a student if one of the roles is `student`. Otherwise, the primary role counts.

    A person belongs to the orgs of all roles that are current. A role that has ended or not begun is not current.
    """
    export = _delivered()
    export.rows["roles"] += [
        role("a", "s0", "aide", "south", "secondary"),
        role("b", "t-north", "districtAdministrator", "d", "secondary"),
        role("c", "s1", "student", "north", "secondary", endDate=_ago(0)),
        role("e", "s2", "Student", "south", "secondary", beginDate=_ago(-30)),
    ]
    export.row("roles", "ro-s3").update(endDate=_ago(40), beginDate=_ago(90))
    report = await sync(north, export, tmp_path)
    assert (report.exit_code, report.kinds["person"].created, report.warnings) == (0, STUDENTS + 2, [])
    assert report.kinds["role"].created == STUDENTS + 2 + 4
    assert await _person(north, "s0") == ("student", ["north", "south"])
    assert await _person(north, "t-north") == ("teacher", ["north", "d"])
    # An end is exclusive: today it holds no more.
    assert await _person(north, "s1") == ("student", ["south"])
    # What has not begun does not count while another role holds.
    assert await _person(north, "s2") == ("student", ["north"])
    # All have ended: still known for what they were, in no school.
    assert await _person(north, "s3") == ("student", [])


async def test_shuffled_roles_change_nothing(north: Town, tmp_path: Path) -> None:
    """If the roles of a delivery come in another order, nothing changes."""
    export = _delivered()
    export.rows["roles"] += [role("a", "s0", "student", "south", "secondary"), role("z", "t-south", "aide", "north")]
    await sync(north, export, tmp_path)
    before = await fingerprint(north)
    export.rows["roles"].reverse()
    report = await sync(north, export, tmp_path)
    assert (report.exit_code, report.total("changes")) == (0, 0)
    assert await fingerprint(north) == before


async def test_a_role_of_nobody_is_named_by_its_file_and_row(north: Town, tmp_path: Path) -> None:
    """A role without a user, and a user without a role, are quarantined with file and row; the others are imported."""
    export = _delivered()
    export.rows["roles"].append(role("a", "nobody", "student", "south"))
    export.without("roles", "ro-s5")
    report = await sync(north, export, tmp_path)
    assert report.exit_code == 3
    assert set(report.refusals) >= {
        Refusal("roles.csv", STUDENTS + 3, "userSourcedId", "reference.unknown"),
        Refusal("users.csv", 9, "role", "value.missing"),
    }
    assert report.kinds["person"].created == STUDENTS + 1


async def test_users_in_bulk_without_roles_are_refused(north: Town, tmp_path: Path) -> None:
    """A bulk delivery of users without a file of roles is refused."""
    export = _delivered()
    await sync(north, export, tmp_path)
    del export.rows["roles"]
    report = await sync(north, export, tmp_path)
    assert (report.state, report.exit_code) == ("failed", 5)
    assert "no roles.csv says what the people are" in report.sentence


async def test_a_delta_of_roles_alone_moves_a_student(north: Town, tmp_path: Path) -> None:
    """A delta with two rows of roles.csv moves a student to another school without a row of the user."""
    export = _delivered()
    await sync(north, export, tmp_path)
    delta = export.delta(
        roles=[
            {**role("ro-s0", "s0", "student", "north"), "status": "tobedeleted"},
            role("new", "s0", "student", "south"),
        ]
    )
    report = await sync(north, delta, tmp_path)
    assert (report.state, report.exit_code) == ("applied", 0), report.sentence
    assert (report.kinds["person"].updated, report.kinds["person"].absent, report.total("changes")) == (1, 0, 3)
    assert await _person(north, "s0") == ("student", ["south"])
    rows = await ask(
        north,
        "SELECT given_name, family_name, email, grades FROM person WHERE district_id = :district AND id = :id",
        id=await row_id(north, "person", "s0"),
    )
    assert [tuple(row) for row in rows] == [("Given s0", "Synthetic", "s0@example.org", ["03"])]


async def test_a_delta_of_users_keeps_their_roles(north: Town, tmp_path: Path) -> None:
    """A delta of users does not change roles that it does not contain."""
    export = _delivered()
    await sync(north, export, tmp_path)
    user = {**export.row("users", "s0"), "familyName": "Renamed"}
    report = await sync(north, export.delta(users=[user]), tmp_path)
    assert (report.exit_code, report.kinds["person"].updated, report.total("changes")) == (0, 1, 1)
    assert await _person(north, "s0") == ("student", ["north"])


async def test_roles_in_bulk_beside_users_in_delta(north: Town, tmp_path: Path) -> None:
    """A role that is missing in a bulk file of roles has ended, even for users who are not in the delta of users."""
    export = _delivered()
    export.rows["roles"].append(role("more", "s0", "student", "south", "secondary"))
    await sync(north, export, tmp_path)
    assert await _person(north, "s0") == ("student", ["north", "south"])
    export.without("roles", "more")
    mixed = export.delta(users=[{**export.row("users", "s1"), "familyName": "Renamed"}])
    mixed.rows["roles"], mixed.modes["roles"] = export.rows["roles"], "bulk"
    report = await sync(north, mixed, tmp_path, limits=LENIENT)
    assert (report.exit_code, report.kinds["person"].updated, report.kinds["role"].absent) == (0, 2, 1)
    assert await _person(north, "s0") == ("student", ["north"])
