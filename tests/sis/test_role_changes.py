"""Tests that a role of OneRoster 1.2 gives the same result in CSV and in every form of REST, also after a change."""

from pathlib import Path
from typing import Any

import pytest

from tests.sis.gradebook_zip import Delivered
from tests.sis.roster_zip import LENIENT, ask, fingerprint, row_id, sync
from tests.sis.rows_server import RowsServer, sync_rows
from tests.town import Town

SOUTH = {"sourcedId": "south"}
ROLE: dict[str, Any] = {"roleType": "primary", "role": "student", "org": SOUTH}
AS_BEFORE = {
    "in another case": [ROLE | {"role": "STUDENT", "roleType": "Primary"}],
    "as an extension": [ROLE | {"role": "ext:student"}],
    "without a list": ROLE,
    "without a type": [{"role": "student", "org": SOUTH}],
    "with a plain org": [ROLE | {"org": "south"}],
    "with a list of orgs": [ROLE | {"org": [SOUTH]}],
    "with an href": [ROLE | {"org": {"href": "https://sis.example/orgs/south", "type": "org"}}],
    "twice": [ROLE, dict(ROLE)],
    "among rubbish": [None, 1, "student", ROLE],
    "with a time": [ROLE | {"beginDate": "2026-08-01T00:00:00Z"}],
    "keys in capitals": [{"ROLE": "student", "ROLETYPE": "primary", "ORG": {"SOURCEDID": "south"}}],
    "after one that has ended": [{"role": "teacher", "org": SOUTH, "endDate": "2026-01-01"}, ROLE],
}
WAITS = {
    "none": [],
    "null": None,
    "a word": "student",
    "words": ["student"],
    "unknown": [ROLE | {"role": "learner"}],
    "without a word": [ROLE | {"role": None}],
}


async def _state(town: Town) -> tuple[str, list[str]]:
    """Returns the role of the student s3 and the sourcedIds of the student's schools."""
    rows = await ask(
        town,
        """SELECT p.role, ARRAY (SELECT e.sourced_id FROM unnest(p.school_ids) AS u (id)
                JOIN external_id e ON e.district_id = :district AND e.row_id = u.id AND e.kind = 'org' ORDER BY 1)
           FROM person p WHERE p.district_id = :district AND p.id = :id AND p.removed_at IS NULL""",
        id=await row_id(town, "person", "s3"),
    )
    return rows[0][0], list(rows[0][1])


@pytest.mark.parametrize("form", AS_BEFORE)
async def test_a_role_in_any_form_is_the_role(north: Town, form: str) -> None:
    """A student's role and school stay the same, whichever form of OneRoster 1.2 the source uses to send the role.

    The forms differ, for example, in the case of names, the reference to the school, and the dates.
    """
    rows = RowsServer("1.2")
    await sync_rows(north, rows)
    rows.row("users", "s3")["roles"] = AS_BEFORE[form]
    report = await sync_rows(north, rows)
    assert (report.state, report.exit_code, report.kinds["person"].changes) == ("applied", 0, 0), report.refusals
    assert await _state(north) == ("student", ["south"])


@pytest.mark.parametrize("form", WAITS)
async def test_a_user_without_a_readable_role_waits(north: Town, form: str) -> None:
    """A user whose roles cannot be read keeps the stored role and schools. The row is quarantined, with exit code 3."""
    rows = RowsServer("1.2")
    await sync_rows(north, rows)
    rows.row("users", "s3")["roles"] = WAITS[form]
    report = await sync_rows(north, rows)
    assert (report.state, report.exit_code, report.kinds["person"].changes) == ("applied", 3, 0), report.sentence
    assert ("s3", "role") in {(one.sourced_id, one.field) for one in report.refusals}
    assert await _state(north) == ("student", ["south"])


async def test_a_current_role_without_an_org_waits(north: Town) -> None:
    """If a student's current role names no org, the student stays in the known school and the role is quarantined."""
    rows = RowsServer("1.2")
    await sync_rows(north, rows)
    rows.row("users", "s3")["roles"] = [ROLE | {"org": None}]
    report = await sync_rows(north, rows)
    assert ("s3", "orgSourcedIds", "value.missing") in {
        (one.sourced_id, one.field, one.code) for one in report.refusals
    }
    assert (report.exit_code, await _state(north)) == (3, ("student", ["south"]))


CHANGES: dict[str, tuple[list[dict[str, str]], tuple[str, list[str]]]] = {
    "a second school": ([{}, {"org": "north", "type": "secondary"}], ("student", ["north", "south"])),
    "another school": ([{"org": "north"}], ("student", ["north"])),
    "another role": ([{"role": "aide"}], ("aide", ["south"])),
    "a school that was left": ([{"end": "2026-01-01"}, {"org": "north", "type": "secondary"}], ("student", ["north"])),
    "a student who became an aide": ([{"end": "2026-01-01"}, {"role": "aide"}], ("aide", ["south"])),
    "all roles ended": ([{"end": "2026-01-01"}], ("student", [])),
    "a role to come": ([{}, {"org": "north", "begin": "2999-01-01"}], ("student", ["south"])),
    "a primary role at the end": ([{"type": "secondary"}, {"org": "north"}], ("student", ["north", "south"])),
    "a role besides": ([{}, {"role": "aide", "org": "north", "type": "secondary"}], ("student", ["north", "south"])),
}


@pytest.mark.parametrize("change", CHANGES)
async def test_changed_roles_have_the_same_outcome_over_csv_and_rest(north: Town, tmp_path: Path, change: str) -> None:
    """A change of a person's roles, such as an additional role, has the same result over CSV and over REST."""
    roles, expected = CHANGES[change]
    export = Delivered(version="1.2")
    for file in ("categories", "lineItems", "results"):
        del export.rows[file]
    await sync(north, export, tmp_path)
    export.without("roles", "ro-s3")
    for number, role in enumerate(roles):
        export.rows["roles"].append(
            Delivered.role(
                f"ro-s3-{number}",
                "s3",
                role.get("role", "student"),
                role.get("org", "south"),
                role.get("type", "primary"),
                beginDate=role.get("begin", ""),
                endDate=role.get("end", ""),
            )
        )
    assert (await sync(north, export, tmp_path, limits=LENIENT)).exit_code == 0
    assert await _state(north) == expected
    rows = RowsServer("1.2")
    rows.row("users", "s3")["roles"] = [
        {
            "role": role.get("role", "student"),
            "roleType": role.get("type", "primary"),
            "org": {"sourcedId": role.get("org", "south")},
            "beginDate": role.get("begin"),
            "endDate": role.get("end"),
        }
        for role in roles
    ]
    before = await fingerprint(north, ["person", "school_membership"])
    report = await sync_rows(north, rows, limits=LENIENT)
    assert (report.exit_code, report.kinds["person"].changes) == (0, 0), report.refusals
    assert await fingerprint(north, ["person", "school_membership"]) == before
