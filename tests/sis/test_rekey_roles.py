"""Tests that roles move with their person to new sourcedIds. No role is removed or created when this happens."""

from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

import pytest

from app.sis.engine.report import Report
from app.sis.runs.approval import approve, execute_answer
from app.sis.runs.rekey import plan_rekey
from app.sis.runs.undo import undo
from tests.sis.gradebook_zip import Delivered
from tests.sis.rest_source import behave, connect, quiet
from tests.sis.roster_zip import STUDENTS, ask, fingerprint, sync
from tests.sis.sandbox_sis import running
from tests.sis.test_rest_sync import sync_rest
from tests.town import Town

DAY = 3
ROLES = """SELECT id, sourced_id FROM person_role
    WHERE district_id = :district AND removed_at IS NULL ORDER BY sourced_id"""


@pytest.fixture(scope="module")
def sis() -> Iterator[str]:
    """Yields the address of a sandbox SIS whose behaviour each test sets."""
    with running("--students", "60") as address:
        yield address


async def _planned(town: Town, held_id: UUID) -> Report:
    return await plan_rekey(town.worker_engine, town.settings.keyring, town.district_id, held_id, "identifier")


async def _approved(town: Town, planned: Report) -> Report:
    assert planned.plan is not None
    async with town.unit() as work:
        await approve(work, planned.run_id, planned.plan["digest"], False)
    return await execute_answer(town.worker_engine, town.settings.keyring, town.district_id, planned.run_id, quiet)


async def _roles(town: Town) -> dict[UUID, str]:
    """Returns the sourcedIds of the current roles, keyed by the ids of the roles' rows."""
    return dict([tuple(row) for row in await ask(town, ROLES)])


async def test_over_rest_the_run_after_a_rekey_is_quiet(north: Town, sis: str) -> None:
    """Over REST, the run after a change of sourcedIds changes nothing, and the change can be undone."""
    behave(sis, day=DAY)
    assert (await sync_rest(north, connect(sis, "1.2"))).state == "applied"
    before = await _roles(north)
    behave(sis, "rekeyed", day=DAY)
    held = await sync_rest(north, connect(sis, "1.2"))
    assert held.state == "held"
    planned = await _planned(north, held.run_id)
    assert planned.plan is not None
    assert planned.plan["rekey"]["roles"] == len(before)
    assert planned.kinds["role"].updated == len(before)
    assert await _roles(north) == before, "nothing is changed before it is approved"
    done = await _approved(north, planned)
    assert done.state == "applied", done.sentence
    after = await _roles(north)
    assert after.keys() == before.keys()
    assert all(new == f"u2-{before[key]}" for key, new in after.items())
    repeated = await sync_rest(north, connect(sis, "1.2"))
    assert (repeated.state, repeated.held_because) == ("applied", []), repeated.sentence
    assert [repeated.total(one) for one in ("created", "removed", "absent", "quarantined")] == [0] * 4
    assert repeated.kinds["role"].changes == 0
    undone = await undo(north.worker_engine, north.settings.keyring, north.district_id, done.run_id, quiet)
    assert (undone.state, undone.kinds["role"].updated) == ("applied", len(before))
    assert await _roles(north) == before
    behave(sis, day=DAY)
    last = await sync_rest(north, connect(sis, "1.2"))
    assert (last.state, last.held_because) == ("applied", []), last.sentence
    assert [last.total(one) for one in ("created", "removed", "absent", "quarantined")] == [0] * 4


def _rekeyed() -> Delivered:
    """Returns a delivery in which every person has a new id, and every role has an id that does not name a person."""
    export = Delivered(version="1.2")
    for row in export.rows["users"] + export.rows["demographics"]:
        row["sourcedId"] = f"new-{row['sourcedId']}"
    for number, row in enumerate(export.rows["roles"]):
        row |= {"sourcedId": f"opaque-{number}", "userSourcedId": f"new-{row['userSourcedId']}"}
    for row in export.rows["enrollments"]:
        row["userSourcedId"] = f"new-{row['userSourcedId']}"
    for row in export.rows.get("results", []):
        row["studentSourcedId"] = f"new-{row['studentSourcedId']}"
    return export


async def test_ids_of_roles_that_say_nothing_are_taken_as_they_came(north: Town, tmp_path: Path) -> None:
    """If a role's id does not show which person has the role, it is matched by person, role, org and first day."""
    first, second = Delivered(version="1.2"), _rekeyed()
    first.rows["roles"].append(Delivered.role("twice", "s1", "student", "south", "secondary"))
    first.rows["roles"].append(Delivered.role("aide", "s1", "aide", "north", "secondary"))
    second.rows["roles"].append(Delivered.role("opaque-t", "new-s1", "student", "south", "secondary"))
    second.rows["roles"].append(Delivered.role("opaque-a", "new-s1", "aide", "north", "secondary"))
    assert (await sync(north, first, tmp_path)).state == "applied"
    before = await _roles(north)
    assert len(before) == STUDENTS + 4
    held = await sync(north, second, tmp_path)
    assert held.state == "held"
    done = await _approved(north, await _planned(north, held.run_id))
    assert done.state == "applied", done.sentence
    after = await _roles(north)
    assert after.keys() == before.keys()
    named = {before[key]: new for key, new in after.items()}
    assert named["aide"] == "opaque-a"
    assert all(new.startswith("opaque-") for new in named.values())
    repeated = await sync(north, second, tmp_path)
    assert (repeated.state, repeated.total("removed"), repeated.total("absent"), repeated.total("created")) == (
        "applied",
        0,
        0,
        0,
    )


async def test_a_role_that_was_changed_since_gives_the_map_up(north: Town, tmp_path: Path) -> None:
    """If a role already has the new sourcedId, neither people nor roles are changed, and the plan is discarded (exit
    6).
    """
    assert (await sync(north, Delivered(version="1.2"), tmp_path)).state == "applied"
    held = await sync(north, _rekeyed(), tmp_path)
    planned = await _planned(north, held.run_id)
    await ask(
        north,
        "UPDATE person_role SET sourced_id = 'opaque-0' WHERE district_id = :district AND sourced_id = 'ro-s3'",
    )
    before = await fingerprint(north)
    done = await _approved(north, planned)
    assert (done.state, done.exit_code) == ("discarded", 6)
    assert await fingerprint(north) == before
    left = "SELECT count(*) FROM pg_class WHERE relname LIKE 'rekey%' || :run"
    assert await ask(north, left, run=planned.run_id.hex) == [(0,)]
