"""Tests supports without a measure: they have a review date in place of a goal, and never a verdict."""

from datetime import date, timedelta
from typing import Any

import pytest
from sqlalchemy import select

from app.access.permission import Can
from app.access.work import Work, needs
from app.core import ids
from app.core.clock import today_in
from app.core.errors import Conflict, Invalid
from app.decision.overdue import send_overdue_reminders
from app.decision.service import NewDecision, decide
from app.evidence.service import NewScore
from app.playbook.service import publish_rules
from app.response.chart import picture_of
from app.response.judging.finalize import schedule_rules
from app.response.models import VerdictRow
from app.response.queries import verdicts_now
from app.response.service import change_support, judge_many, plan_support, record_scores, record_sessions, start_support
from app.support.models import Support
from app.support.queries import dosage_between, phases_of
from app.support.queries import support as read_support
from app.support.service import NewSupport, SupportChange
from app.support.session import NewSession
from tests.rooms.test_loop import stu
from tests.rooms.test_support_starts import types_of
from tests.town import YEAR_BEGINS, Town

TODAY = today_in("America/Chicago")
BEGINS = YEAR_BEGINS + timedelta(weeks=2)


def mentoring(town: Town, name: str = "amy", **more: Any) -> NewSupport:
    """Returns the input for a support without a measure (mentoring), which is reviewed in six weeks."""
    plan: dict[str, Any] = {
        "student": stu(town, name),
        "intervention": "Check in, check out",
        "level": 2,
        "area": "ela.fluency",
        "starts_on": BEGINS,
        "review_on": TODAY + timedelta(weeks=6),
        "minutes_per_session": 10,
        "sessions_per_week": 5,
    }
    return NewSupport(**(plan | more))


async def mentored(town: Town, **more: Any) -> Support:
    async with town.unit() as work:
        return await plan_support(work, mentoring(town, **more))


async def reminded(town: Town) -> int:
    async with town.house() as work:
        return await send_overdue_reminders(work)


async def test_a_support_without_a_measure_has_a_review_and_no_verdict(north: Town) -> None:
    """A support without a measure never has a verdict, whatever is recorded or judged. Its sessions still count as
    dosage.
    """
    support = await mentored(north)
    assert [getattr(support, name) for name in ("state", "measure_id")] == ["active", None]
    scores = [NewScore(stu(north, "amy"), "orf", BEGINS + timedelta(days=day), 40.0) for day in range(9)]
    async with north.unit() as work:
        await record_scores(work, scores)
        await record_sessions(work, support.id, [NewSession(BEGINS, attended=True)])
        (phase,) = (await phases_of(work, [support.id]))[support.id]
        assert [getattr(phase, name) for name in ("goal", "goal_on", "baseline")] == [None] * 3
        assert phase.review_on == support.review_on
        assert (await dosage_between(work, support.id, BEGINS, BEGINS)).delivered_sessions == 1
    async with north.house() as work:
        await publish_rules(work, {"*": {"rule": "four-point", "parameters": {}}})
        assert await schedule_rules(work, quiet=False) == 0
        await judge_many(work)

    @needs(Can.READ_VERDICTS)
    async def verdicts(work: Work) -> list[VerdictRow]:
        return list(await work.db.scalars(select(VerdictRow).where(VerdictRow.district_id == work.district_id)))

    async with north.unit() as work:
        assert await verdicts(work) == []
        assert support.id not in await verdicts_now(work, [support.id])
    with pytest.raises(Conflict) as refused:
        async with north.unit() as work:
            await picture_of(work, support.id)
    assert refused.value.code == "support.no_measure"


@pytest.mark.parametrize(
    ("more", "code"),
    [
        ({"review_on": None}, "support.review_missing"),
        ({"area": None}, "support.area_missing"),
        ({"goal": 70.0}, "support.goal_without_measure"),
        ({"goal_on": TODAY}, "support.goal_without_measure"),
        ({"baseline": 40.0}, "support.goal_without_measure"),
        ({"review_on": BEGINS}, "support.review_on"),
        ({"review_on": date(2090, 1, 1)}, "support.review_on"),
        ({"measure": "orf"}, "support.goal_missing"),
        ({"measure": "orf", "goal": 70.0, "goal_on": TODAY + timedelta(weeks=9)}, "support.review_with_measure"),
    ],
)
async def test_a_goal_or_a_review_and_never_both(north: Town, more: dict[str, Any], code: str) -> None:
    """A support with a measure has a goal and a goal date; a support without one has a review date and an area."""
    with pytest.raises(Invalid) as refused:
        await mentored(north, **more)
    assert code in {violation.code for violation in refused.value.violations}


async def test_a_review_is_reported_once_on_its_day(north: Town) -> None:
    """The reminder `support.review_due` is sent once for each review date.

    A support without a measure never has an overdue score.
    """
    support = await mentored(north, review_on=TODAY)
    await mentored(north, name="ben", review_on=TODAY + timedelta(days=1))
    assert (await reminded(north), await reminded(north)) == (1, 0)
    assert (await types_of(north)).count("support.review_due") == 1
    assert "score.overdue" not in await types_of(north)
    async with north.unit() as work:
        named = ids.format_id("support", support.id)
        await decide(work, NewDecision("continue", named, review_on=TODAY + timedelta(weeks=4)))
        row, (phase,) = await read_support(work, support.id), (await phases_of(work, [support.id]))[support.id]
    assert row.review_on == phase.review_on == TODAY + timedelta(weeks=4)
    assert await reminded(north) == 0


async def test_a_change_keeps_or_moves_the_review(north: Town) -> None:
    """A new phase of a support without a measure has a review date of its own; goals are refused."""
    support = await mentored(north)
    named = ids.format_id("support", support.id)
    for change in (SupportChange("So.", goal=70.0), SupportChange("So.", baseline=40.0)):
        with pytest.raises(Invalid):
            async with north.unit() as work:
                await change_support(work, support.id, change)
    with pytest.raises(Invalid) as refused:
        async with north.unit() as work:
            await decide(work, NewDecision("raise_goal", named, change=SupportChange("So.")))
    assert refused.value.violations[0].code == "decision.no_goal"
    on = BEGINS + timedelta(weeks=5)
    review_on = TODAY + timedelta(weeks=9)
    async with north.unit() as work:
        change = SupportChange("Every day.", begins_on=on, minutes_per_session=20, review_on=review_on)
        await decide(work, NewDecision("intensify", named, decided_on=on, change=change))
        phases = (await phases_of(work, [support.id]))[support.id]
        assert (await read_support(work, support.id)).review_on == review_on
    assert [phase.review_on for phase in phases] == [support.review_on, review_on]
    assert phases[-1].changes == ["longer_sessions"]


async def test_a_review_date_is_refused_where_it_has_no_place(north: Town) -> None:
    """A decision with a review date is refused if it changes the support, or if the review date has passed."""
    support = await mentored(north)
    named = ids.format_id("support", support.id)
    for new in (
        NewDecision("restore_fidelity", named, review_on=TODAY + timedelta(weeks=1)),
        NewDecision("continue", named, review_on=TODAY - timedelta(days=1)),
    ):
        with pytest.raises(Invalid):
            async with north.unit() as work:
                await decide(work, new)


async def test_a_later_start_comes_before_the_review(north: Town) -> None:
    """A support cannot be started after its review date, because its review would then be in the past."""
    support = await mentored(north, starts="manually", review_on=BEGINS + timedelta(weeks=2))
    with pytest.raises(Invalid):
        async with north.unit() as work:
            await start_support(work, support.id, BEGINS + timedelta(weeks=3))
