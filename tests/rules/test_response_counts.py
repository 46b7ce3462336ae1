"""Tests counts, percentages and criteria, which are judged by level or frequency and never by a slope."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from app.response.rules.choose import FITTING, RULES, judge, rule_named
from app.response.rules.rule import UnusableRule
from app.response.rules.series import Observation, Series
from app.response.rules.verdict import NonresponseKind, State


def series(values: Iterable[float], *, baseline: float = 10.0, goal: float = 4.0) -> Series:
    seen = tuple(Observation(n + 1, float(v)) for n, v in enumerate(values))
    return Series(seen, baseline, goal, 18, "down" if goal < baseline else "up")


@pytest.mark.parametrize(
    ("values", "state", "kind", "week"),
    [
        ([10, 9, 11, 10, 12, 10], State.NOT_RESPONDING, NonresponseKind.NEVER, None),
        ([10, 5, 5, 6, 10, 11, 10, 10, 12], State.NOT_RESPONDING, NonresponseKind.STOPPED, 4),
        ([10, 8, 6, 5, 6, 6], State.RESPONDING, None, None),
        ([10, 9, 8, 8, 8, 8], State.BELOW_PACE, None, None),
        ([10, 8, 6, 4, 3, 4], State.GOAL_MET, None, None),
        ([10, 9], State.INSUFFICIENT_DATA, None, None),
    ],
)
def test_the_level_against_the_baseline(
    values: list[float], state: State, kind: NonresponseKind | None, week: int | None
) -> None:
    """Counts with a baseline of ten and a goal of four a week get the verdict that each case of the test lists."""
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


def test_a_level_that_is_worse_than_before_the_support_is_stated_as_such() -> None:
    """If there are more incidents than before the support, the verdict says that the student is further from the goal.

    In an earlier version, the verdict stated "0 % of the way", as if nothing had changed.
    """
    verdict = judge("level-change", series([11, 13, 12, 14, 12, 15], goal=2.0))
    assert verdict.sentence == (
        "The median of the last three scores (weeks 4 to 6) is 14, against 10 before the support: "
        "further from the goal of 2 than then; half of the way was never covered."
    )
    unmet = judge("criterion", series([0] * 6, baseline=0, goal=1))
    assert unmet.sentence.startswith("None of the last five scores (weeks 2 to 6) meet the criterion")


@pytest.mark.parametrize("rule", ["level-change", "criterion"])
@pytest.mark.parametrize("baseline", [0.0, 5.0, 20.0, 40.0])
@pytest.mark.parametrize("before", [[90.0] * 3, [35.0, 60.0, 90.0, 85.0, 90.0, 90.0], [90.0, 20.0, 90.0, 90.0, 85.0]])
def test_a_collapse_is_stopped_at_the_third_such_score(rule: str, baseline: float, before: list[float]) -> None:
    """After a sudden collapse, the third low score gives the verdict "not responding" of the kind `stopped`.

    Two low scores do not give this verdict.
    """
    fallen = [23.0, 28.0, 6.0]
    verdict = judge(rule, series([*before, *fallen], baseline=baseline, goal=80.0))
    assert (verdict.state, verdict.kind) == (State.NOT_RESPONDING, NonresponseKind.STOPPED)
    assert verdict.change_week == len(before)
    assert "collapse" in [reason.code for reason in verdict.because]
    two = judge(rule, series([*before, *before, *fallen[:2]], baseline=baseline, goal=80.0))
    assert two.state is not State.NOT_RESPONDING
    more = judge(rule, series([*before, *fallen, 10.0, 15.0], baseline=baseline, goal=80.0))
    assert (more.state, more.kind) == (State.NOT_RESPONDING, NonresponseKind.STOPPED)


@pytest.mark.parametrize("rule", ["level-change", "criterion"])
def test_incidents_that_come_back_are_a_collapse_too(rule: str) -> None:
    """Incidents that fall and then rise to the old number are "not responding", because lower numbers are better."""
    verdict = judge(rule, series([9, 4, 2, 2, 3, 2, 10, 9, 11], baseline=10.0, goal=4.0))
    assert (verdict.state, verdict.kind) == (State.NOT_RESPONDING, NonresponseKind.STOPPED)


@pytest.mark.parametrize("rule", ["level-change", "criterion"])
def test_a_dip_is_no_collapse(rule: str) -> None:
    """Three weaker scores do not give the verdict "not responding" if they are above half of the way to the goal."""
    verdict = judge(rule, series([85.0, 90.0, 85.0, 90.0, 85.0, 70.0, 65.0, 72.0], baseline=20.0, goal=80.0))
    assert verdict.state is not State.NOT_RESPONDING


@pytest.mark.parametrize("rule", ["level-change", "criterion"])
def test_no_rate_is_stated_for_a_count(rule: str) -> None:
    """A verdict on a count states no rate."""
    assert judge(rule, series([10, 9, 11, 10, 12, 10])).rate is None


def test_a_measure_that_is_no_growth_line_refuses_a_slope_with_the_reason() -> None:
    """A rule about slopes is refused for a measure of another kind. The error lists the rules that can judge it."""
    for kind, fitting in FITTING.items():
        for rule in RULES:
            if rule in fitting:
                assert rule_named(rule, kind).name == rule
            else:
                with pytest.raises(UnusableRule) as refused:
                    rule_named(rule, kind)
                assert refused.value.code == "rule_misfits_measure"
                assert any(name in refused.value.sentence for name in fitting)
