"""Tests series that the worker judges again.

Some students are at two schools or at none, and some alerts get their event only after the rules have changed.
"""

from datetime import timedelta
from uuid import UUID

from sqlalchemy import update

from app.access.permission import Can
from app.access.work import Work, needs
from app.evidence.amend import Amendment
from app.response.administration.playbook import NewRule, publish_rules
from app.response.judging.finalize import schedule_rules
from app.response.service import amend_score, change_support, judge_many
from app.roster.models import Person
from app.support.service import SupportChange, end_support
from tests.rooms.test_verdicts import send, settle_all
from tests.rooms.verdict_town import BEGINS, classmates, reader, response_events, scores, state, supported, verdicts
from tests.town import Town

HARD = {3: 9.0, 5: -8.0, 7: 10.0, 9: -9.0, 10: 12.0}
"""How much harder a week's passage was than others."""


async def move(town: Town, name: str, schools: list[UUID]) -> None:
    """Makes these schools the schools of the student. The first one is the student's first school."""

    @needs(Can.SYNC_ROSTER)
    async def change(work: Work) -> None:
        person = (Person.district_id == town.district_id) & (Person.id == town.students[name])
        await work.db.execute(update(Person).where(person).values(school_ids=schools))

    async with town.house() as work:
        await change(work)


async def test_who_is_at_two_schools_is_judged_with_the_class_of_the_first_alone(north: Town) -> None:
    """A student at two schools is judged with the cohort of the first school.

    The rules of the second school change nothing.
    """
    names = await classmates(north, 8)
    await move(north, names[0], north.schools)
    support, *_ = [await supported(north, name) for name in names]
    await send(
        north,
        [
            score
            for seed, name in enumerate(names)
            for score in scores(north, name, reader(seed, 10, 1.5 if seed else 0.6, HARD), form=True)
        ],
    )
    await settle_all(north)
    before = await verdicts(north, support)
    assert "allowing for how hard each passage was" in before[-1].sentence
    async with north.house() as work:
        await schedule_rules(work, quiet=True)
    assert await settle_all(north) == 1
    assert len(await verdicts(north, support)) == len(before)


async def test_a_passage_stays_as_hard_as_it_was_when_classmates_begin_anew(north: Town) -> None:
    """A support's verdicts stay the same after the phases of the classmates' supports have ended.

    The classmates' earlier scores still count in the estimate of how difficult each passage was.
    """
    names = await classmates(north, 8)
    support, *others = [await supported(north, name) for name in names]
    series = [
        scores(north, name, reader(seed, 10, 1.5 if seed else 0.6, HARD), form=True) for seed, name in enumerate(names)
    ]
    await send(north, [score for some in series for score in some])
    await settle_all(north)
    before = await verdicts(north, support)
    assert "allowing for how hard each passage was" in before[-1].sentence
    for place, other in enumerate(others):
        async with north.unit() as work:
            if place % 2:
                await end_support(work, other.id, "Moved away.", BEGINS + timedelta(weeks=11))
            else:
                begins = BEGINS + timedelta(weeks=11)
                change = SupportChange("Twice a week.", begins, baseline=55.0, confirm_rate=True)
                await change_support(work, other.id, change)
    async with north.house() as work:
        await judge_many(work)
        await judge_many(work, [(support.student_id, support.measure_id)])
    assert [row.id for row in await verdicts(north, support)] == [row.id for row in before]


async def test_new_rules_judge_also_who_is_at_no_school(north: Town) -> None:
    """New rules also judge a support whose student has left every school."""
    await move(north, "amy", [])
    support = await supported(north, "amy")
    await send(north, scores(north, "amy", [40.0] * 10))
    async with north.unit() as work:
        await publish_rules(work, [NewRule("four-point")])
    assert await settle_all(north) == 1
    assert (await verdicts(north, support))[-1].rule == "four-point"


async def test_an_alert_that_was_laid_quietly_and_told_later_can_be_taken_back(north: Town) -> None:
    """An alert that was raised without an event, and whose event was sent later, can be retracted."""
    support = await supported(north, "amy")
    await send(north, scores(north, "amy", [42.0, 44.0, 45.0, 47.0, 46.0, 47.0, 48.0, 49.0]))
    for alert in (False, True):
        async with north.unit() as work:
            await publish_rules(work, [NewRule("four-point")], alert=alert)
        await settle_all(north)
    assert await response_events(north) == ["response.off_track"]
    alerted = (await verdicts(north, support))[-1]
    assert (await state(north, support)).alert_id == alerted.id
    async with north.unit() as work:
        await amend_score(work, alerted.score_ids[-1], Amendment("It was typed wrong.", value=80.0))
    assert await response_events(north) == ["response.off_track", "response.retracted"]
    assert (await verdicts(north, support))[-1].retracts == alerted.id
