"""Tests that a cohort's series are placed on one calendar, whenever each phase began. No database."""

from dataclasses import replace
from datetime import date, timedelta
from random import Random
from uuid import UUID

import pytest

from app.playbook.models import Measure
from app.playbook.queries import ChosenRule
from app.response.judging.cohort import judge_series, on_one_calendar
from app.response.judging.series import MonitoredSeries, Scores, ScoreSeries
from app.roster.calendar import counted, weeks_between
from app.support.models import Phase, Support
from tests.rules.verdict_bytes import canonical_bytes

SCHOOL, MEASURE = UUID(int=1), UUID(int=2)
BEGINS = date(2025, 9, 1)
CALENDAR = [(BEGINS + timedelta(weeks=n), n not in (4, 5)) for n in range(30)]
"""A calendar with two weeks of break after the fourth week."""
BREAK, AFTER = BEGINS + timedelta(weeks=5), BEGINS + timedelta(weeks=6)


def line(number: int, begins: date, rate: float) -> ScoreSeries:
    """Returns a series with one score in each week of instruction after the break.

    The test passage of each week has its own difficulty.
    """
    rng, passages = Random(number), Random(0)
    mondays = [monday for monday, instructional in CALENDAR if instructional and monday > AFTER][:12]
    hard = [passages.gauss(0, 9) for _ in mondays]
    weeks = counted([week for week in CALENDAR if week[0] >= begins])
    scores = Scores(
        ids=tuple(UUID(int=1000 * number + n) for n in range(len(mondays))),
        days=tuple(mondays),
        weeks=tuple(weeks_between(weeks, begins, monday) for monday in mondays),
        values=tuple(round(40 + rate * n + rng.gauss(0, 3) - hard[n - 1]) for n in range(1, len(mondays) + 1)),
        forms=("",) * len(mondays),
    )
    measure = Measure(id=MEASURE, code="orf", kind="growth", direction="up", sem=8.0)
    return ScoreSeries(UUID(int=number), 1, begins, 40.0, 70.0, 20, measure, (MEASURE, SCHOOL, "03"), scores, weeks)


def verdict(mine: ScoreSeries, others: list[ScoreSeries]) -> bytes:
    """Returns the monitor's verdict on a series, judged together with other series, as bytes."""
    chosen = ChosenRule("monitor", {"far_percent": 10}, UUID(int=3))
    one = MonitoredSeries(mine, Support(id=mine.series_id), Phase(), chosen)
    return canonical_bytes(judge_series([one], others)[mine.series_id].verdict)


def test_a_break_over_the_whole_series_is_no_verdict() -> None:
    """Scores during a break give no verdict, because no instructional week has passed."""
    begins = BREAK - timedelta(weeks=2)
    weeks = counted([week for week in CALENDAR if week[0] >= begins])
    days = [BREAK + timedelta(days=n) for n in range(-7, 5)]
    at = tuple(weeks_between(weeks, begins, day) for day in days)
    scores = Scores(
        tuple(UUID(int=n) for n in range(len(days))), tuple(days), at, (40.0,) * len(days), ("",) * len(days)
    )
    mine = replace(line(1, begins, 1.5), weeks=weeks, scores=scores)
    assert set(at) == {0}
    verdict_of_mine = verdict(mine, [line(number, BEGINS, 1.5) for number in range(2, 10)])
    assert b'"insufficient_data"' in verdict_of_mine
    assert b"no_instructional_week" in verdict_of_mine


@pytest.mark.parametrize("begins", [BEGINS, BEGINS + timedelta(weeks=3), BREAK - timedelta(weeks=1), BREAK, AFTER])
def test_a_week_is_the_same_week_for_the_whole_class(begins: date) -> None:
    """On the common calendar of a cohort, a week has the same number for each student.

    This also holds if a student's phase begins in a break.
    """
    first, other = on_one_calendar([line(1, BEGINS, 1.5), line(2, begins, 1.5)])
    for monday, instructional in CALENDAR:
        if instructional and monday >= begins:
            assert other.began + other.score_series.week_of(monday) == first.score_series.week_of(monday)


def test_a_phase_that_begins_in_a_break_has_its_passages_difficulty_taken_out() -> None:
    """A phase that begins in a break has the same verdict as one that begins in the week after the break."""
    mates = [line(number, BEGINS, 1.5) for number in range(2, 10)]
    mine, late = line(1, AFTER, 0.2), line(1, BREAK, 0.2)
    assert late.scores == mine.scores
    assert verdict(late, mates) == verdict(mine, mates) != verdict(late, [])
