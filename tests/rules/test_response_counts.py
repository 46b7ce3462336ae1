"""Tests counts, percentages and criteria, which are judged by level or frequency and never by a slope."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from app.response.rules.choose import RULES, UnusableRule, judge, rule_named
from app.response.rules.field.counts import FITTING
from app.response.rules.series import Observation, Series
from app.response.rules.verdict import NonresponseKind, State


def series(values: Iterable[float], *, baseline: float = 10.0, goal: float = 4.0) -> Series:
    seen = tuple(Observation(n + 1, float(v)) for n, v in enumerate(values))
    return Series(seen, baseline, goal, 18, "down" if goal < baseline else "up")


@pytest.mark.parametrize(
    ("values", "state", "kind", "week"),
    [
        ([10, 9, 11, 10, 12, 10], State.NOT_RESPONDING, NonresponseKind.NEVER, None),
        ([10, 5, 5, 6, 10, 11, 10, 10, 12], State.NOT_RESPONDING, NonresponseKind.STOPPED, 5),
        ([10, 8, 6, 5, 6, 6], State.RESPONDING, None, None),
        ([10, 9, 8, 8, 8, 8], State.BELOW_PACE, None, None),
        ([10, 8, 6, 4, 3, 4], State.GOAL_MET, None, None),
        ([10, 9], State.INSUFFICIENT_DATA, None, None),
    ],
)
def test_the_level_against_the_baseline(
    values: list[float], state: State, kind: NonresponseKind | None, week: int | None
) -> None:
    """Incidents from ten a week, of which the goal is four: what each course of them is called."""
    verdict = judge("level-change", series(values))
    assert (verdict.state, verdict.kind, verdict.change_week) == (state, kind, week)


@pytest.mark.parametrize(
    ("values", "state", "kind"),
    [
        ([0] * 10, State.NOT_RESPONDING, NonresponseKind.NEVER),
        ([1, 1, 1, 1, 1, 0, 0, 0, 0, 0], State.NOT_RESPONDING, NonresponseKind.STOPPED),
        ([0, 0, 0, 1, 1, 0, 1, 0, 1, 0], State.UNCERTAIN, None),
        ([0] * 5, State.UNCERTAIN, None),
        ([0, 0, 1, 1, 1, 0, 1, 1, 0, 1], State.GOAL_MET, None),
        ([0, 1, 1, 1, 1, 0], State.GOAL_MET, None),
        ([1, 0, 0, 0], State.INSUFFICIENT_DATA, None),
    ],
)
def test_a_criterion_met_so_often_of_so_many(values: list[float], state: State, kind: NonresponseKind | None) -> None:
    verdict = judge("criterion", series(values, baseline=0, goal=1))
    assert (verdict.state, verdict.kind) == (state, kind)


def test_a_measure_that_is_no_growth_line_refuses_a_slope_with_the_reason() -> None:
    """Each kind has a rule that fits, and names it where another is asked for."""
    for kind, fitting in FITTING.items():
        for rule in RULES:
            if rule in fitting:
                assert rule_named(rule, kind).name == rule
            else:
                with pytest.raises(UnusableRule) as refused:
                    rule_named(rule, kind)
                assert refused.value.code == "rule_misfits_measure"
                assert any(name in refused.value.sentence for name in fitting)
