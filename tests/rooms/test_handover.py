"""Tests that a new phase lists what was changed, and that supports are handed over singly or all at once."""

from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import select

from app.access.permission import Can
from app.access.work import Work, needs
from app.core import ids
from app.core.clock import today_in
from app.core.errors import Conflict, Invalid
from app.decision.service import NewDecision, decide
from app.group.handover import hand_over_supports
from app.response.queries import verdicts_now
from app.response.service import change_support, end_support, plan_support, record_scores
from app.response.upkeep.handover import NewHandover, NewHandovers, hand_over_support
from app.support.models import Handover, Support
from app.support.queries import phases_of
from app.support.queries import support as read_support
from app.support.service import SupportChange
from app.team.caseload import acting_person
from tests.rooms.test_loop import BEGINS, RISES, support_for, weekly
from tests.rooms.test_support_starts import types_of
from tests.town import Town

ON = BEGINS + timedelta(weeks=6)


def per(town: Town, name: str) -> str:
    return ids.format_id("person", town.staff[name])


async def planned(town: Town, name: str = "amy", **more: Any) -> Support:
    async with town.unit() as work:
        return await plan_support(work, support_for(town, name, **more))


async def caseload_of(town: Town, name: str) -> set[UUID]:
    async with town.unit() as work:
        return set((await acting_person(work, per(town, name))).students)


@pytest.mark.parametrize(
    ("change", "codes", "level"),
    [
        ({"sessions_per_week": 5}, ["more_sessions"], 2),
        ({"minutes_per_session": 45}, ["longer_sessions"], 2),
        ({"group_size": 2}, ["smaller_group"], 2),
        ({"intervention": "Phonics, one to one"}, ["stronger_programme"], 2),
        ({"goal": 75.0}, ["higher_level", "other_goal"], 3),
    ],
)
async def test_intensify_says_what_it_means(north: Town, change: dict[str, Any], codes: list[str], level: int) -> None:
    """If a support is intensified by dose, group, programme or level, the phase states which of these changed."""
    support = await planned(north, group_size=4)
    of_decision = SupportChange("Too slow.", begins_on=ON, confirm_rate=True, **({"goal": 70.0} | change))
    async with north.unit() as work:
        await decide(
            work, NewDecision("intensify", ids.format_id("support", support.id), decided_on=ON, change=of_decision)
        )
        phase = (await phases_of(work, [support.id]))[support.id][-1]
        row = await read_support(work, support.id)
    assert (phase.verb, phase.changes, phase.level_id) == ("intensify", codes, north.levels[level])
    assert row.intervention == phase.intervention == change.get("intervention", support.intervention)


@pytest.mark.parametrize("change", [{"sessions_per_week": 2}, {"level": 1}, {"level": 2}, {"group_size": 6}])
async def test_less_is_not_called_intensified(north: Town, change: dict[str, Any]) -> None:
    """A decision to intensify is refused if its change makes the support weaker or leaves its strength as it is."""
    support = await planned(north, group_size=4)
    new = NewDecision(
        "intensify",
        ids.format_id("support", support.id),
        decided_on=ON,
        change=SupportChange("Too slow.", begins_on=ON, **change),
    )
    with pytest.raises(Invalid) as refused:
        async with north.unit() as work:
            await decide(work, new)
    assert refused.value.violations[0].code == "decision.level"


async def test_a_change_may_change_the_intervention(north: Town) -> None:
    """Each phase has its own intervention, and the support shows that of the current phase."""
    support = await planned(north)
    async with north.unit() as work:
        change = SupportChange("Another programme.", begins_on=ON, intervention="Phonics", goal=70.0, confirm_rate=True)
        await change_support(work, support.id, change)
        first, second = (await phases_of(work, [support.id]))[support.id]
        assert (first.intervention, second.intervention) == (support_for(north, "amy").intervention, "Phonics")
        assert (second.verb, second.changes) == ("change", ["other_intervention"])
        assert (await read_support(work, support.id)).intervention == "Phonics"


async def test_a_handover_draws_no_phase_line_and_gives_no_verdict(north: Town) -> None:
    """After a handover, the student is on the caseload of the new lead and no longer on that of the former lead.

    The series of scores continues without a new phase or verdict.
    """
    support = await planned(north, "ben", lead=per(north, "teacher"))
    async with north.unit() as work:
        await record_scores(work, weekly(north, "ben", RISES))
        before = (await verdicts_now(work, [support.id]))[support.id]
    assert north.students["ben"] in await caseload_of(north, "teacher")
    async with north.unit() as work:
        await hand_over_support(work, support.id, NewHandover("On leave.", lead=per(north, "aide"), on=ON))
    assert north.students["ben"] not in await caseload_of(north, "teacher")
    assert north.students["ben"] in await caseload_of(north, "aide")
    async with north.unit() as work:
        assert len((await phases_of(work, [support.id]))[support.id]) == 1
        assert (await verdicts_now(work, [support.id]))[support.id].id == before.id

        @needs(Can.READ_SUPPORTS)
        async def handovers(work: Work) -> list[Handover]:
            return list(await work.db.scalars(select(Handover).where(Handover.district_id == work.district_id)))

        (row,) = await handovers(work)
    assert (row.lead_before, row.lead_id) == (north.staff["teacher"], north.staff["aide"])
    assert (row.handed_over_on, row.because) == (ON, "On leave.")
    assert (await types_of(north))[-1] == "support.handed_over"


async def test_everything_of_a_person_is_handed_over_in_one_call(north: Town) -> None:
    """All supports that a person leads or provides are handed over to another person, except those that have ended."""
    teacher = per(north, "teacher")
    led, provided = await planned(north, lead=teacher), await planned(north, "ben", provider=teacher)
    ended = await planned(north, "ben", lead=teacher)
    other = await planned(north, "cy", lead=per(north, "other_teacher"))
    async with north.unit() as work:
        await end_support(work, ended.id, "Enough.")
    async with north.unit() as work:
        handed_over = await hand_over_supports(work, NewHandovers(teacher, per(north, "aide"), "Left the school."))
        rows = {row.id: await read_support(work, row.id) for row in (led, provided, ended, other)}
    aide = north.staff["aide"]
    assert (handed_over.supports, handed_over.groups) == (2, 0)
    assert (rows[led.id].lead_id, rows[led.id].provider_id) == (aide, None)
    assert (rows[provided.id].lead_id, rows[provided.id].provider_id) == (None, aide)
    assert rows[ended.id].lead_id == north.staff["teacher"]
    assert rows[other.id].lead_id == north.staff["other_teacher"]
    assert {north.students["amy"], north.students["ben"]} <= await caseload_of(north, "aide")
    assert (await types_of(north)).count("support.handed_over") == 2


async def test_a_handover_is_refused_where_it_makes_no_sense(north: Town) -> None:
    """A handover is refused if it names no new person, names the present one, or has a future day.

    It is also refused after the end of the support.
    """
    support, teacher = await planned(north, lead=per(north, "teacher")), per(north, "teacher")
    tomorrow = today_in("America/Chicago") + timedelta(days=1)
    for new in (NewHandover("So."), NewHandover("So.", lead=teacher, on=tomorrow)):
        with pytest.raises(Invalid):
            async with north.unit() as work:
                await hand_over_support(work, support.id, new)
    with pytest.raises(Invalid):
        async with north.unit() as work:
            await hand_over_supports(work, NewHandovers(teacher, teacher, "So."))
    async with north.unit() as work:
        await end_support(work, support.id, "Enough.")
    with pytest.raises(Conflict):
        async with north.unit() as work:
            await hand_over_support(work, support.id, NewHandover("So.", lead=per(north, "aide")))
