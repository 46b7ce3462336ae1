"""Tests the classic decision rules: each state by example, and the sentence that a teacher reads."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any, Literal

import pytest

from app.response.aimline import Aimline, UnjudgeableSeries
from app.response.rules.choose import FITTING, RULES, judge
from app.response.rules.rule import UnusableRule
from app.response.rules.series import DeliveredMinutes, Observation, Series
from app.response.rules.verdict import ALARMS, Finding, NonresponseKind, State
from tests.rules.verdict_bytes import canonical_bytes


def series(
    values: Iterable[float],
    *,
    baseline: float = 10.0,
    goal: float = 40.0,
    goal_week: int = 20,
    direction: Literal["up", "down"] = "up",
    first_week: int = 1,
) -> Series:
    """Returns a series with one score a week from `first_week` on; by default the aimline is 10 + 1.5 t."""
    observations = tuple(Observation(first_week + n, v, f"sco_{n}") for n, v in enumerate(values))
    return Series(observations, baseline, goal, goal_week, direction)


def series_around_line(leads: Iterable[float], **kwargs: Any) -> Series:
    """Returns a series with scores at the given distances from the default aimline."""
    return series([10 + 1.5 * (n + 1) + lead for n, lead in enumerate(leads)], **kwargs)


def find(rule: str, series: Series) -> Finding:
    """Returns what a rule with its default parameters finds in a series, before a verdict is made from the finding."""
    return RULES[rule].finding(series, RULES[rule].defaults)


@pytest.mark.parametrize(("rule", "k"), [("four-point", 4), ("three-point", 3)])
def test_k_scores_below_flag_and_one_fewer_does_not(rule: str, k: int) -> None:
    assert judge(rule, series_around_line([1] + [-1] * k)).state is State.OFF_TRACK
    assert judge(rule, series_around_line([1] * 2 + [-1] * (k - 1))).state is State.RESPONDING


def test_never_on_pace_is_told_apart_from_stopped() -> None:
    never = find("four-point", series_around_line([-1, -2, -3, -4, -5]))
    assert (never.state, never.kind, never.change_week) == (State.NOT_RESPONDING, NonresponseKind.NEVER, None)
    assert never.sentence == (
        "All five scores of this phase (weeks 1 to 5) lie below the aimline, so none of them has kept pace with it."
    )
    stopped = find("four-point", series_around_line([1, 2, -1, 0, 1, 2, -1, 3, -1, -2, -3, -4]))
    assert (stopped.kind, stopped.change_week, stopped.statistic, stopped.threshold) == (
        NonresponseKind.STOPPED,
        9,
        4,
        4,
    )
    assert stopped.sentence == (
        "The last four scores (weeks 9 to 12) all lie below the aimline; "
        "up to week 8, six of eight scores kept pace with it, so the scores fell behind about week 9."
    )


def test_two_good_scores_are_too_few_to_say_that_growth_stopped() -> None:
    few = find("four-point", series_around_line([5, 5, -1, -1, -1, -1]))
    assert few.kind is NonresponseKind.NEVER
    assert few.sentence.endswith("before them two of two scores kept pace, too few to say that growth once did.")
    assert find("four-point", series_around_line([5, 5, 5, -1, -1, -1, -1])).kind is NonresponseKind.STOPPED


def test_half_of_the_earlier_scores_on_pace_is_enough_and_less_is_not() -> None:
    assert find("four-point", series_around_line([-1, 1, -1, 0, -1, -1, -1, -1])).kind is NonresponseKind.STOPPED
    assert find("four-point", series_around_line([-1, -1, 1, -1, 0, -1, -1, -1, -1])).kind is NonresponseKind.NEVER


def test_all_above_suggests_a_higher_goal() -> None:
    verdict = find("four-point", series_around_line([-1, 2, 2, 2, 2]))
    assert verdict.state is State.RESPONDING
    assert "suggest_higher_goal" in [reason.code for reason in verdict.because]
    assert "all lie above the aimline" in verdict.sentence


def test_scores_on_both_sides_are_told_as_they_lie() -> None:
    assert find("four-point", series_around_line([0, 1, -1, 0, -1])).sentence == (
        "The last four scores (weeks 2 to 5) lie one above the aimline and one on it and two below it, "
        "so this rule gives no reason to change the support."
    )


def test_whole_numbers_and_decimals_are_the_same_numbers() -> None:
    """40 and 40.0 give the same bytes, so that a verdict does not depend on how JSON wrote a score."""
    whole = series([11, 12, 50, 50, 50], baseline=10, goal=40)
    parts = series([11.0, 12.0, 50.0, 50.0, 50.0])
    for rule in RULES:
        assert canonical_bytes(judge(rule, whole)) == canonical_bytes(judge(rule, parts))


def test_a_score_on_the_line_is_neither_below_nor_above() -> None:
    """A score on the line counts as neither below nor above, even if floats cannot represent the line."""
    on = Series(tuple(Observation(t, 0.3 + 0.1 * t) for t in range(1, 10)), 0.3, 0.3 + 0.1 * 30, 30)
    for rule in RULES:
        # One shrinks to a prior below the line, and one needs a SEM.
        if rule in FITTING["growth"] - {"eb-slope", "monitor"}:
            assert judge(rule, on).state is State.RESPONDING
    verdict = find("four-point", on)
    assert verdict.because[0].values == {"better": 0, "first_week": 6, "last_week": 9, "on": 4, "worse": 0}
    assert find("four-point", series_around_line([-1, -1, 0, -1])).state is State.RESPONDING


def test_several_scores_in_one_week_each_count_in_the_given_order() -> None:
    observations = tuple(Observation(2, value) for value in (30, 11, 11, 11))
    assert judge("three-point", Series(observations, 10, 40, 20)).state is State.OFF_TRACK
    assert judge("three-point", Series(observations[::-1], 10, 40, 20)).state is State.RESPONDING


def test_trend_below_the_required_rate_flags_and_tells_where_growth_stopped() -> None:
    slow = judge("trend", series([10.0 + 0.5 * t for t in range(1, 11)]))
    assert (slow.state, slow.kind, slow.rate, slow.required_rate) == (State.OFF_TRACK, None, 0.5, 1.5)
    fast = judge("trend", series([10 + 1.7 * t for t in range(1, 10)]))
    assert fast.state is State.RESPONDING
    stopped = find("trend", series([10 + 2.0 * min(t, 6) for t in range(1, 13)]))
    assert (stopped.state, stopped.kind, stopped.change_week) == (State.NOT_RESPONDING, NonresponseKind.STOPPED, 6)
    assert "up to about week 6 it was 2 a week and since then 0" in stopped.sentence


def test_goal_met_holds_against_every_rule() -> None:
    """If the median of the last three scores meets the final goal, no rule concludes "not responding"."""
    long_past = tuple(Observation(t, 41 - 0.01 * t) for t in range(21, 32))
    sentence = "The median of the last three scores (weeks 29 to 31) is 40.7, which meets the goal of 40."
    for rule in RULES:
        verdict = judge(rule, Series(long_past, 10, 40, 20))
        assert (verdict.state, verdict.kind) == (State.GOAL_MET, None)
        assert verdict.because[0].code == "goal_met"
        assert verdict.sentence == sentence


@pytest.mark.parametrize(("rule", "least"), [("four-point", 4), ("three-point", 3), ("trend", 8)])
def test_too_few_scores_are_said_with_how_many_are_missing(rule: str, least: int) -> None:
    for n in range(least):
        verdict = judge(rule, series_around_line([-9] * n))
        assert verdict.state is State.INSUFFICIENT_DATA
        assert verdict.because[0].values == {"missing": least - n, "needed": least, "scores": n}
        assert (verdict.statistic, verdict.threshold) == (None, None)
        assert (verdict.rate is None) == (n < 3)
    assert judge(rule, series_around_line([-9] * least)).state is not State.INSUFFICIENT_DATA


def test_a_trend_is_never_forced_on_one_week() -> None:
    verdict = judge("trend", Series(tuple(Observation(3, 5) for _ in range(9)), 10, 40, 20))
    assert (verdict.state, verdict.rate) == (State.INSUFFICIENT_DATA, None)
    assert verdict.because[0].code == "too_few_weeks"


def test_down_is_better_reads_the_chart_the_right_way_up() -> None:
    verdict = judge("four-point", series([9, 9, 9, 9], baseline=8, goal=2, goal_week=12, direction="down"))
    assert verdict.state is State.OFF_TRACK
    assert verdict.sentence == (
        "All four scores of this phase (weeks 1 to 4) lie above the aimline, so none of them has kept pace with it."
    )
    assert verdict.required_rate == -0.5


@pytest.mark.parametrize(
    ("code", "changes"),
    [
        ("goal_not_better", {"goal": 10.0}),
        ("goal_not_better", {"goal": 11.0, "direction": "down"}),
        ("goal_week_not_positive", {"goal_week": 0}),
        ("not_a_number", {"baseline": float("nan")}),
        ("not_a_number", {"goal": float("inf")}),
        ("week_before_phase", {"first_week": -1}),
        ("score_not_a_number", {"values": [10, 11, float("nan"), 12]}),
        ("score_not_a_number", {"values": [10, 11, 1e300, 12]}),
    ],
)
def test_what_cannot_be_judged_is_refused_in_a_sentence_without_values(code: str, changes: dict[str, Any]) -> None:
    values = {"values": [17.25] * 9} | changes
    for rule in RULES:
        with pytest.raises(UnjudgeableSeries) as refused:
            judge(rule, series(**values))
        assert refused.value.code == code
        assert refused.value.sentence.endswith(".")
        assert not any(character.isdigit() for character in refused.value.sentence)


@pytest.mark.parametrize(
    ("rule", "parameters", "code"),
    [
        ("five-point", None, "unknown_rule"),
        ("four-point", {"K": 4}, "unknown_parameter"),
        ("trend", {"k": 4}, "unknown_parameter"),
        ("four-point", {"k": 2}, "parameter_out_of_range"),
        ("four-point", {"k": True}, "parameter_out_of_range"),
        ("trend", {"minimum": 8.0}, "parameter_out_of_range"),
    ],
)
def test_a_rule_or_parameter_that_is_not_ours_is_refused(rule: str, parameters: dict[str, Any], code: str) -> None:
    with pytest.raises(UnusableRule) as refused:
        judge(rule, series_around_line([1] * 9), parameters)
    assert refused.value.code == code


def test_a_verdict_shows_its_rule_with_all_parameters_and_the_scores_it_used() -> None:
    shown = judge("four-point", series_around_line([1, 1, 1, 1, 1]), {"k": 5}).as_json()
    assert list(shown) == [
        *("state", "kind", "because", "sentence", "statistic", "threshold", "rate", "required_rate"),
        *("change_week", "rule", "rule_version", "parameters", "scores"),
    ]
    assert (shown["rule"], shown["rule_version"], shown["parameters"]) == ("four-point", 4, {"k": 5})
    assert shown["scores"] == ["sco_0", "sco_1", "sco_2", "sco_3", "sco_4"]
    assert judge("trend", series_around_line([1])).parameters == {"minimum": 8}


def test_the_aimline_runs_from_baseline_to_goal() -> None:
    line = Aimline(10, 40, 20)
    assert (line.rate, line.at(0), line.at(20)) == (1.5, 10, 40)


def test_a_verdict_says_the_false_alarm_rate_of_its_rule_where_it_was_measured() -> None:
    """A verdict states the false-alarm rate of its rule if the rate was measured, and otherwise none."""
    scores = series([10.0 + 0.5 * t for t in range(1, 11)])
    assert judge("four-point", scores).stated_far == 0.296
    assert judge("four-point", scores, {"k": 5}).stated_far is None
    assert "stated_far" not in judge("four-point", scores, {"k": 5}).as_json()
    assert judge("monitor", replace(scores, sem=4.0), {"far_percent": 5}).stated_far == 0.05
    assert all(rule.holds_badly for rule in RULES.values())


@pytest.mark.parametrize("rule", ["four-point", "median", "trend", "theil-sen", "slope-interval"])
def test_every_rule_for_growth_allows_for_what_was_not_delivered(rule: str) -> None:
    """With every rule for growth, a student who grows in proportion to the delivered share raises no alarm."""
    for share, expected in ((0.5, State.UNDER_DELIVERED), (0.85, State.UNDER_DELIVERED)):
        observations = tuple(Observation(week, 30 + 1.55 * share * week) for week in range(1, 16))
        dosage = DeliveredMinutes((90.0,) * 15, (90.0 * share,) * 15)
        series = Series(observations, 30.0, 120.0, 60, sem=1.0, dosage=dosage)
        assert judge(rule, replace(series, dosage=None)).state in ALARMS
        assert judge(rule, series).state is expected
        flat = tuple(Observation(week, 30.0) for week in range(1, 16))
        assert judge(rule, replace(series, observations=flat)).state in ALARMS


def test_delivery_that_is_unknown_explains_no_alarm() -> None:
    """If nobody recorded the minutes of a phase, no rule blames an alarm on too little delivery.

    The support may have been delivered in full, so the unknown share must not count as zero.
    """
    flat = tuple(Observation(week, 30.0) for week in range(1, 16))
    unknown = DeliveredMinutes((900.0,), (float("nan"),), by_week=False)
    series = Series(flat, 30.0, 75.0, 30, sem=4.0, dosage=unknown)
    for rule in FITTING["growth"]:
        verdict = judge(rule, series)
        assert verdict == judge(rule, replace(series, dosage=None)), rule
        assert verdict.state in ALARMS, rule
    missed = replace(series, dosage=replace(unknown, delivered=(0.0,)))
    assert judge("monitor", missed).state is State.UNDER_DELIVERED


@pytest.mark.parametrize("rule", ["four-point", "trend"])
def test_the_stated_share_is_that_of_the_recorded_minutes(rule: str) -> None:
    """Each rule states the same delivered share as the monitor: the share of the recorded minutes.

    Weeks without a record do not count as delivered.
    """
    weeks, nan = range(1, 16), float("nan")
    dosage = DeliveredMinutes((90.0,) * 15, (0.0,) * 10 + (nan,) * 5)
    growing = tuple(Observation(week, 30 + 1.55 * max(week - 10, 0)) for week in weeks)
    verdict = judge(rule, Series(growing, 30.0, 120.0, 60, sem=1.0, dosage=dosage))
    assert verdict.state is State.UNDER_DELIVERED
    assert [reason.values for reason in verdict.because if reason.code == "dosage"] == [{"share": 0.0}]
