"""Tests that members of staff keep their own duties if a source gives their sourcedIds to other people.

The same is tested for a member of staff who gets a new sourcedId.
"""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from app.core import ids
from app.sis.engine.report import Report
from app.sis.runs.approval import approve, execute_answer
from app.sis.runs.rekey import LIKELY, plan_rekey
from tests.sis.roster_zip import LENIENT, Export, ask, row_id, sync
from tests.sis.test_supports_follow import events_of, read, supported
from tests.sis.test_teams_follow import team
from tests.town import Town

NAMES = {
    "t-north": {"givenName": "Ada", "familyName": "Abel", "identifier": "9001", "email": "ada@example.org"},
    "t-south": {"givenName": "Bruno", "familyName": "Berg", "identifier": "9002", "email": "bruno@example.org"},
}
STRANGER = {"givenName": "Zelda", "familyName": "Quill", "identifier": "9999", "email": "zelda@example.org"}
Duty = Callable[[Town], Awaitable[Any]]


def _staff() -> Export:
    export = Export()
    for name, values in NAMES.items():
        export.row("users", name).update(values)
    return export


def _exchange(export: Export) -> None:
    for name, other in (("t-north", "t-south"), ("t-south", "t-north")):
        export.row("users", name).update(NAMES[other])


async def _name(town: Town, person: Any) -> str:
    rows = await ask(town, "SELECT given_name FROM person WHERE district_id = :district AND id = :id", id=person)
    return str(rows[0][0])


def _pairs(report: Report) -> list[tuple[str, str | None, bool]]:
    return [(each["old"], each["new"], each["set_aside"]) for each in report.rekeys]


async def _map_likely(town: Town, report: Report) -> Report:
    engine, keyring = town.worker_engine, town.settings.keyring
    plan = await plan_rekey(engine, keyring, town.district_id, report.run_id, LIKELY)
    async with town.unit() as work:
        await approve(work, plan.run_id, str(plan.plan and plan.plan["digest"]), False)
    return await execute_answer(engine, keyring, town.district_id, plan.run_id, lambda _doing, _done, _of: None)


async def _lead(town: Town) -> None:
    await supported(town, lead="t-north")


async def _provide(town: Town) -> None:
    await supported(town, lead=None, provider=ids.format_id("person", await row_id(town, "person", "t-north")))


async def _join_a_team(town: Town) -> None:
    await team(town, "t-north", student="sis:csv:s0")


DUTIES: dict[str, Duty] = {"lead": _lead, "provider": _provide, "member of a team": _join_a_team}


@pytest.mark.parametrize("duty", DUTIES)
async def test_exchanged_ids_of_staff_do_not_exchange_what_they_do(north: Town, tmp_path: Path, duty: str) -> None:
    """Teachers whose sourcedIds were exchanged keep their names, supports and teams, until somebody decides."""
    export = _staff()
    await sync(north, export, tmp_path)
    await DUTIES[duty](north)
    person = await row_id(north, "person", "t-north")
    _exchange(export)
    report = await sync(north, export, tmp_path)
    assert (report.state, report.exit_code) == ("applied", 3), report.sentence
    assert _pairs(report) == [("t-north", "t-south", True), ("t-south", "t-north", True)]
    assert await _name(north, person) == "Ada"
    assert {(each.sourced_id, each.code) for each in report.refusals} >= {("t-north", "sourcedId.reused")}
    done = await _map_likely(north, report)
    assert (done.state, await row_id(north, "person", "t-south")) == ("applied", person), done.sentence
    following = await sync(north, export, tmp_path)
    assert (following.exit_code, following.rekeys, await _name(north, person)) == (0, [], "Ada")


async def test_staff_without_duties_follow_the_source(north: Town, tmp_path: Path) -> None:
    """An exchange of the sourcedIds of two teachers without duties is applied and reported."""
    export = _staff()
    await sync(north, export, tmp_path)
    _exchange(export)
    report = await sync(north, export, tmp_path)
    assert (report.exit_code, _pairs(report)) == (0, [("t-north", "t-south", False), ("t-south", "t-north", False)])
    assert await _name(north, await row_id(north, "person", "t-north")) == "Bruno"


async def test_the_id_of_a_teacher_that_is_issued_again_gives_nobody_the_supports(north: Town, tmp_path: Path) -> None:
    """If a source gives a teacher's sourcedId to another person, the supports stay with the teacher.

    The first sync changes nothing about the teacher, and reports the sourcedId. After an operator has approved the
    suggestion of the report, the next sync adds the other person without any supports.
    """
    export = _staff()
    await sync(north, export, tmp_path)
    support = await supported(north, lead="t-north")
    person = support.lead_id
    export.row("users", "t-north").update(STRANGER)
    report = await sync(north, export, tmp_path)
    assert (report.exit_code, _pairs(report)) == (3, [("t-north", None, True)])
    assert (await _name(north, person), (await read(north, support)).lead_id) == ("Ada", person)
    await _map_likely(north, report)
    following = await sync(north, export, tmp_path, limits=LENIENT)
    assert (following.state, following.rekeys) == ("applied", []), following.sentence
    stranger = await row_id(north, "person", "t-north")
    assert (await _name(north, stranger), await _name(north, person)) == ("Zelda", "Ada")
    assert (await read(north, support)).lead_id != stranger


@pytest.mark.parametrize("duty", DUTIES)
async def test_a_new_id_of_a_teacher_ends_no_duty(north: Town, tmp_path: Path, duty: str) -> None:
    """If a teacher with duties gets a new sourcedId, the sync leaves the teacher unchanged and reports the sourcedId.

    In an earlier version, the next sync ended all duties of such a teacher.
    """
    export = _staff()
    await sync(north, export, tmp_path)
    await DUTIES[duty](north)
    person = await row_id(north, "person", "t-north")
    export.row("users", "t-north")["sourcedId"] = "T-77"
    export.row("enrollments", "et-north")["userSourcedId"] = "T-77"
    report = await sync(north, export, tmp_path)
    assert (report.exit_code, _pairs(report)) == (3, [("t-north", "T-77", True)]), report.sentence
    assert report.kinds["person"].absent == 0
    done = await _map_likely(north, report)
    following = await sync(north, export, tmp_path)
    assert (done.state, following.exit_code, await row_id(north, "person", "T-77")) == ("applied", 0, person)
    assert await events_of(north) == []
    members = await ask(
        north,
        "SELECT count(*) FROM team_member WHERE district_id = :district AND person_id = :id AND until_on IS NULL",
        id=person,
    )
    assert members[0][0] == (1 if duty == "member of a team" else 0)
