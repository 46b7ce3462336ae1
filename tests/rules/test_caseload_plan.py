"""Tests the caseload of the playground (a local demo district).

The caseload must have every kind of case, and a later start must continue each series of scores.
"""

from datetime import date, timedelta

import pytest

from app.sandbox.caseload_plan import CASELOAD, OTHER_CONCERNS, SUBJECTS, Series

MONDAY = date(2026, 9, 7)
ALL = [Series(number, plan, MONDAY) for number, plan in enumerate(CASELOAD)]


def test_the_caseload_covers_two_years_and_every_subject() -> None:
    """The caseload has thirty supports over two years, in every subject, in every state and with several decisions.

    It also has concerns without a support.
    """
    assert len(CASELOAD) == 30
    assert {plan.subject for plan in CASELOAD} == SUBJECTS.keys()
    assert {plan.decision for plan in CASELOAD} >= {
        "intensify",
        "raise_goal",
        "fade",
        "change",
        "continue",
        "exit",
        None,
    }
    assert not all(plan.is_started for plan in CASELOAD)
    assert max(plan.weeks_ago for plan in CASELOAD) > 52
    assert any(plan.ends for plan in CASELOAD)
    assert {dismissal is None for *_, dismissal in OTHER_CONCERNS} == {True, False}


@pytest.mark.parametrize("days", [0, 1, 4, 7, 30])
@pytest.mark.parametrize("series", ALL, ids=lambda one: f"{one.number}-{one.plan.subject}")
def test_a_later_start_sends_what_is_missing_and_nothing_twice(series: Series, days: int) -> None:
    """If the playground is started twice, it sends the same scores and sessions as if it is started once.

    This holds for every day of the first start.
    """
    begin, middle, end = date(2020, 1, 1), MONDAY + timedelta(days=days), MONDAY + timedelta(days=45)
    at_once = list(series.scores(begin, end)), list(series.sessions(begin, end))
    twice = (
        [*series.scores(begin, middle), *series.scores(middle, end)],
        [*series.sessions(begin, middle), *series.sessions(middle, end)],
    )
    assert twice == at_once
    assert all(taken_on <= end for taken_on, _ in at_once[0])
    assert bool(at_once[0]) == series.plan.is_started


def test_an_ended_support_gets_no_more_scores() -> None:
    """Starting the playground later adds no scores and no sessions to a support that has ended."""
    later = MONDAY + timedelta(days=700)
    for series in ALL:
        if series.plan.ends:
            assert not list(series.scores(MONDAY, later))
            assert not list(series.sessions(MONDAY, later))
