"""Tests that all scores of a day become one point, and that a verdict notes a baseline that was improving already."""

from __future__ import annotations

from datetime import date
from random import Random
from uuid import UUID

import pytest

from app.response.judging.points import combine_by_day
from app.response.rules.choose import judge
from app.response.rules.completion import is_improving
from app.response.rules.series import Observation, Series

DAYS = tuple(date(2026, 1, day) for day in (5, 5, 5, 12, 13, 13))
IDS = tuple(UUID(int=n) for n in range(6))


def series(before: tuple[float, ...], *, values: tuple[float, ...] = (44, 46, 48, 50), goal: float = 70.0) -> Series:
    seen = tuple(Observation(n + 1, float(v)) for n, v in enumerate(values))
    return Series(seen, 40.0, goal, 20, "up" if goal > 40 else "down", before=before)


def test_the_scores_of_a_day_are_one_point_their_median() -> None:
    """All scores of a day are one point, their median, so that a day with several forms does not outweigh other
    days.
    """
    points = combine_by_day((IDS, DAYS, (50.0, 30.0, 42.0, 44.0, 45.0, 48.0), ("C", "A", "B", "A", "B", "B")))
    assert points.days == (DAYS[0], DAYS[3], DAYS[4])
    assert points.values == (42.0, 44.0, 46.5)
    assert points.forms == ("A\x1fB\x1fC", "A", "B")
    assert points.ids == (IDS[0], IDS[3], IDS[4])
    assert points.same_day == {IDS[0]: IDS[1:3], IDS[4]: IDS[5:]}


def test_a_series_of_single_scores_is_left_as_it_is() -> None:
    """A series with one score a day is not changed."""
    columns = (IDS[2:5], DAYS[2:5], (1.0, 2.0, 3.0), ("", "", ""))
    assert combine_by_day(columns)[:4] == columns


@pytest.mark.parametrize(
    ("before", "better", "improving"),
    [
        ((30.0, 32.0, 35.0, 36.0, 40.0), 1, True),
        ((30.0, 32.0, 35.0, 36.0), 1, False),
        ((40.0, 36.0, 35.0, 32.0, 30.0), 1, False),
        ((40.0, 36.0, 35.0, 32.0, 30.0), -1, True),
        ((30.0, 38.0, 31.0, 36.0, 33.0), 1, False),
        ((30.0,) * 9, 1, False),
        ((), 1, False),
    ],
)
def test_a_baseline_that_improves_is_told_from_one_that_scatters(
    before: tuple[float, ...], better: float, improving: bool
) -> None:
    """Five rising baseline points in order count as improving; four are too few, and scattered points do not count."""
    assert is_improving(before, better) is improving


def test_a_steady_baseline_is_seldom_called_improving() -> None:
    """Of baselines without a trend, at most one in twenty is called improving, as the rule states."""
    rng = Random(3)
    for number in (5, 6, 8, 12):
        wrong = sum(is_improving(tuple(rng.gauss(0, 1) for _ in range(number)), 1) for _ in range(4000))
        assert wrong / 4000 < 0.06, number


def test_the_verdict_notes_a_baseline_that_improved_already() -> None:
    """A verdict mentions that the baseline was improving already, and its state stays the same."""
    rising, plain = (judge("four-point", series(before)) for before in ((30.0, 32.0, 35.0, 36.0, 40.0), ()))
    assert rising.state is plain.state
    assert [reason.as_json() for reason in rising.because][-1] == {
        "code": "baseline_improving",
        "values": {"scores": 5},
    }
    assert "were improving already" in rising.sentence
    assert "improving" not in plain.sentence
    too_few = judge("four-point", series((30.0, 32.0, 35.0, 36.0, 40.0), values=(44.0,)))
    assert [reason.code for reason in too_few.because] == ["too_few_scores"]


def test_every_score_of_a_day_stays_among_the_evidence() -> None:
    """If several scores of a day have become one point, a verdict that depends on the point still names all of them.

    So an amendment of any of these scores can be traced.
    """
    seen = (Observation(1, 44.0, "a", ("b", "c")), Observation(2, 46.0, "d"), Observation(3, 48.0, "e"))
    assert judge("median", Series(seen, 40.0, 70.0, 20)).scores == ("a", "b", "c", "d", "e")
