"""Lists the decision rules with their descriptions. Another module determines which rule a district uses."""

from __future__ import annotations

from collections.abc import Mapping

from app.response.rules.field import counts, kpoint, median, slopes, trend
from app.response.rules.monitor import rule as monitor
from app.response.rules.monitor.rates import MONITOR
from app.response.rules.rule import DecisionRule, Parameter, UnusableRule
from app.response.rules.series import LEVEL_SCORES, Series
from app.response.rules.verdict import Verdict

RULES: dict[str, DecisionRule] = {
    rule.name: rule
    for rule in (
        DecisionRule(
            "four-point",
            4,
            "Flags a series if its last four scores all lie below the aimline.",
            Parameter("k", 4, LEVEL_SCORES, 12),
            kpoint.judge_by_k_point,
            far=0.296,
            window="k",
            excess=kpoint.excess,
            thresholds=(1.659, 1.348, 0.964, 0.631, 0.42, 0.255, 0.115, -0.008, -0.233, -0.448),
        ),
        DecisionRule(
            "three-point",
            4,
            "Flags a series if its last three scores all lie below the aimline.",
            Parameter("k", 3, LEVEL_SCORES, 12),
            kpoint.judge_by_k_point,
            far=0.448,
            window="k",
            excess=kpoint.excess,
            thresholds=(2.05, 1.755, 1.325, 0.987, 0.762, 0.596, 0.45, 0.319, 0.095, -0.116),
        ),
        DecisionRule(
            "trend",
            4,
            "Flags a series if the slope of the line of best fit is below the required growth.",
            Parameter("minimum", 8, LEVEL_SCORES, 52),
            trend.judge_by_trend,
            least_weeks=2,
            far=0.607,
            excess=trend.excess,
            thresholds=(1.857, 1.519, 1.143, 0.86, 0.681, 0.555, 0.454, 0.37, 0.227, 0.112),
        ),
        DecisionRule(
            "median",
            4,
            "Flags a series if the median of the last three scores lies below the aimline.",
            Parameter("minimum", LEVEL_SCORES, LEVEL_SCORES, 52),
            median.judge_by_median,
            far=0.756,
            window=LEVEL_SCORES,
            excess=median.excess,
            thresholds=(2.976, 2.593, 2.095, 1.725, 1.489, 1.307, 1.153, 1.02, 0.789, 0.569),
        ),
        DecisionRule(
            "theil-sen",
            4,
            "Flags a series if the median of the slopes between its scores is below the required growth.",
            Parameter("minimum", 8, LEVEL_SCORES, 52),
            slopes.judge_by_theil_sen,
            least_weeks=2,
            far=0.619,
            excess=trend.excess,
            thresholds=(1.893, 1.58, 1.195, 0.898, 0.719, 0.587, 0.481, 0.395, 0.247, 0.128),
        ),
        DecisionRule(
            "dual-discrepancy",
            4,
            "Flags a series if its level and its slope both lie far below the aimline's.",
            Parameter("minimum", 8, LEVEL_SCORES, 52),
            slopes.judge_by_dual_discrepancy,
            least_weeks=2,
            more=(Parameter("percentile", 25, 1, 50),),
            far=0.214,
            excess=slopes.excess_of_discrepancy,
            thresholds=(1.77, 1.42, 0.934, 0.519, 0.249, 0.031, -0.136, -0.298, -0.585, -0.859),
        ),
        DecisionRule(
            "slope-interval",
            4,
            "Flags a series if the confidence interval of its slope lies below the required growth.",
            Parameter("minimum", 4, LEVEL_SCORES, 52),
            slopes.judge_by_slope_interval,
            least_weeks=2,
            more=(Parameter("from_week", 6, 1, 52), Parameter("confidence", 75, 50, 99)),
            far=0.428,
            excess=slopes.excess_of_interval,
            thresholds=(9.079, 6.873, 4.446, 2.815, 1.927, 1.361, 0.958, 0.622, 0.109, -0.325),
        ),
        DecisionRule(
            "eb-slope",
            4,
            "Flags a series if its slope, shrunken to those of the benchmark, is below the required growth.",
            Parameter("minimum", 8, LEVEL_SCORES, 52),
            slopes.judge_by_shrunken_slope,
            least_weeks=2,
            far=0.756,
            excess=trend.excess,
            thresholds=(0.634, 0.554, 0.449, 0.37, 0.319, 0.279, 0.248, 0.219, 0.168, 0.123),
        ),
        DecisionRule(
            "criterion",
            3,
            "Flags a series if none of the last scores meets the criterion, or after a collapse.",
            Parameter("minimum", 5, LEVEL_SCORES, 20),
            counts.criterion,
            more=(Parameter("met", 4, 1, 20),),
            fits=frozenset({"count", "percentage", "criterion"}),
            far=0.075,
        ),
        DecisionRule(
            "level-change",
            3,
            "Flags a series if its level has covered less than a quarter of the way from the baseline to the goal.",
            Parameter("minimum", 2 * LEVEL_SCORES, 2 * LEVEL_SCORES, 20),
            counts.level_change,
            fits=frozenset({"count", "percentage"}),
            far=0.146,
            window=LEVEL_SCORES,
        ),
        DecisionRule(
            "monitor",
            8,
            "Flags a series if the probability that its growth has slowed, given all scores, passes a limit.",
            Parameter("minimum", LEVEL_SCORES, LEVEL_SCORES, 52),
            monitor.judge_by_defaults,
            more=(Parameter("far_percent", 10, 1, 50),),
            thresholds=MONITOR,
            holds_badly=(
                "without calibration: errors correlated from week to week, noise above or under the SEM, growth more "
                "or less alike than in the benchmark"
            ),
        ),
    )
}


KINDS = ("growth", "count", "percentage", "criterion")
FITTING: dict[str, frozenset[str]] = {
    kind: frozenset(rule.name for rule in RULES.values() if kind in rule.fits) for kind in KINDS
}
"""The names of the rules that may judge a measure, keyed by the measure's kind."""


def judge(rule: str, series: Series, parameters: Mapping[str, int] | None = None) -> Verdict:
    """Returns the verdict of the rule with this name on a series. Parameters that are not given have their defaults.

    Raises UnusableRule (`unknown_rule`, `unknown_parameter`, `parameter_out_of_range`) and UnjudgeableSeries.
    """
    return rule_named(rule).judge(series, parameters)


def rule_named(rule: str, kind: str | None = None) -> DecisionRule:
    """Returns the rule with this name. With `kind`, also checks that the rule can judge measures of this kind.

    The kinds are `growth`, `count`, `percentage`, `criterion`. Raises UnusableRule: `unknown_rule`,
    `rule_misfits_measure`.
    """
    chosen = RULES.get(rule)
    if chosen is None:
        raise UnusableRule("unknown_rule", f"Choose one of the rules {', '.join(RULES)}.")
    misfit = None if kind is None else explain_misfit(rule, kind)
    if misfit is not None:
        raise UnusableRule("rule_misfits_measure", misfit)
    return chosen


def explain_misfit(rule: str, kind: str) -> str | None:
    """Returns a sentence that says why a rule may not judge measures of a kind, or None if it may judge them."""
    if rule in FITTING[kind]:
        return None
    fit = " or ".join(sorted(FITTING[kind]))
    if kind == "growth":
        return f"A measure that grows along a line is judged by that line; choose one of the rules {fit}."
    many = {"count": "Counts", "percentage": "Percentages", "criterion": "Yes/no criteria"}[kind]
    return f"{many} do not grow along a line, and a slope would be forced on them; choose the rule {fit}."
