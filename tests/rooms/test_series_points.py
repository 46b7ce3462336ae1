"""Tests which recorded scores belong to the series that is judged and charted."""

from datetime import timedelta

from app.evidence.service import NewScore
from app.response.chart import picture_of
from app.response.queries import verdicts_now
from app.response.service import record_scores, start_support
from app.support.service import plan_support
from tests.rooms.test_loop import BEGINS, RISES, STALLS, served, stu, support_for, weekly
from tests.town import Town, by_four_points


async def test_screening_scores_are_no_points_of_progress(north: Town) -> None:
    """High screening scores are not part of a series. They do not hide that growth stopped, and no chart shows them."""
    support = await served(north, "amy")
    async with north.unit() as work:
        await record_scores(work, weekly(north, "amy", RISES + STALLS))
        before = (await verdicts_now(work, [support.id]))[support.id]
    friday = BEGINS + timedelta(weeks=10, days=4)
    screening = [NewScore(stu(north, "amy"), "orf", friday, 90.0, n, purpose="screening") for n in (1, 2, 3)]
    async with north.unit() as work:
        taken = await record_scores(work, screening)
        assert {one.outcome for one in taken} == {"recorded"}
        after = (await verdicts_now(work, [support.id]))[support.id]
        chart = await picture_of(work, support.id)
    assert (before.state, before.kind) == ("off_track", None)
    assert after.id == before.id
    assert [point.value for point in chart.points] == RISES + STALLS


async def test_several_scores_of_a_day_are_one_point(north: Town) -> None:
    """Several scores of one day count as one point of a series. Otherwise, one bad day could flag a student at once."""
    support = await served(north, "amy")
    friday = BEGINS + timedelta(weeks=5, days=4)
    bad_day = [NewScore(stu(north, "amy"), "orf", friday, 41.0 + n, n, form=f"F{n}") for n in (1, 2, 3, 4)]
    async with north.unit() as work:
        await record_scores(work, [*weekly(north, "amy", RISES), *bad_day])
        verdict = (await verdicts_now(work, [support.id]))[support.id]
        chart = await picture_of(work, support.id)
    assert verdict.state == "responding"
    assert len(verdict.score_ids) == len(RISES) + len(bad_day)
    assert [point.value for point in chart.points] == [*RISES, 43.5]
    assert len(chart.points[-1].score_ids) == len(bad_day)


async def test_a_baseline_that_improved_already_is_reported(north: Town) -> None:
    """If the last five weekly scores before a support rise, a verdict reports that the student was improving already.

    Screening scores are not used for this.
    """
    await by_four_points(north)
    days = [BEGINS - timedelta(weeks=n) for n in (6, 5, 4, 3, 2)]
    rising = [NewScore(stu(north, "amy"), "orf", day, 30.0 + n) for n, day in enumerate(days)]
    level = [NewScore(stu(north, "ben"), "orf", day, 40.0, purpose="screening") for day in days]
    async with north.unit() as work:
        await record_scores(work, [*rising, *level])
        supports = {}
        for name in ("amy", "ben"):
            planned = await plan_support(work, support_for(north, name, baseline=32.0))
            supports[name] = (await start_support(work, planned.id)).id
        await record_scores(work, [*weekly(north, "amy", RISES), *weekly(north, "ben", RISES)])
        verdicts = await verdicts_now(work, list(supports.values()))
    reasons = {name: [one["code"] for one in verdicts[support].because] for name, support in supports.items()}
    assert "baseline_improving" in reasons["amy"]
    assert "improving already" in verdicts[supports["amy"]].sentence
    assert "baseline_improving" not in reasons["ben"]
