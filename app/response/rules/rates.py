"""Defines the stated false-alarm rates, and for each of them the thresholds that give this rate in the benchmark.

The stated rates are measured in the benchmark. They are never a district's own rates.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

AS_USED = {
    "four-point": 0.296,
    "three-point": 0.448,
    "median": 0.756,
    "trend": 0.607,
    "theil-sen": 0.619,
    "dual-discrepancy": 0.214,
    "slope-interval": 0.428,
    "eb-slope": 0.756,
    "level-change": 0.146,
    "criterion": 0.075,
}
"""The false-alarm rate of each rule with default parameters, keyed by rule.

It is the share of the benchmark's responders whom the rule flags at some time. The last two values are for simulated
counts (`bench/response/counts.py`), for which these rules have more false alarms than for percentages.
"""

GRID = (0.01, 0.02, 0.05, 0.10, 0.15, 0.20, 0.25, 0.30, 0.40, 0.50)

THRESHOLDS: dict[str, tuple[float, ...]] = {
    "monitor": (3.014, 2.355, 1.541, 0.93, 0.614, 0.383, 0.196, 0.036, -0.216, -0.432),
    "monitor, adaptive": (3.004, 2.345, 1.531, 0.92, 0.604, 0.373, 0.186, 0.026, -0.226, -0.442),
    "four-point": (1.659, 1.348, 0.964, 0.631, 0.42, 0.255, 0.115, -0.008, -0.233, -0.448),
    "three-point": (2.05, 1.755, 1.325, 0.987, 0.762, 0.596, 0.45, 0.319, 0.095, -0.116),
    "median": (2.976, 2.593, 2.095, 1.725, 1.489, 1.307, 1.153, 1.02, 0.789, 0.569),
    "trend": (1.857, 1.519, 1.143, 0.86, 0.681, 0.555, 0.454, 0.37, 0.227, 0.112),
    "theil-sen": (1.893, 1.58, 1.195, 0.898, 0.719, 0.587, 0.481, 0.395, 0.247, 0.128),
    "dual-discrepancy": (1.77, 1.42, 0.934, 0.519, 0.249, 0.031, -0.136, -0.298, -0.585, -0.859),
    "slope-interval": (9.079, 6.873, 4.446, 2.815, 1.927, 1.361, 0.958, 0.622, 0.109, -0.325),
    "eb-slope": (0.634, 0.554, 0.449, 0.37, 0.319, 0.279, 0.248, 0.219, 0.168, 0.123),
}
"""The thresholds of each rule at the rates of GRID, keyed by rule.

The thresholds of the monitor are log odds. Those of the other rules are margins beyond the rule's own limit.
"""

ELSEWHERE = "measured in one simulated year only; in others it was not"

HOLDS_BADLY: dict[str, str] = dict.fromkeys(AS_USED, ELSEWHERE) | {
    "monitor": "without calibration: errors correlated from week to week, noise above or under the SEM, growth more or "
    "less alike than in the benchmark",
}
"""The cases in which the stated rate of a rule does not hold, or is not known to hold, keyed by rule.

docs/response.md has the tables.
"""


def stated_far(rule: str, parameters: Mapping[str, int], defaults: Mapping[str, int]) -> float | None:
    """Returns the stated false-alarm rate of a rule with these parameters, or None if it was not measured."""
    if "far_percent" in parameters:
        return parameters["far_percent"] / 100
    return AS_USED.get(rule) if dict(parameters) == dict(defaults) else None


def threshold_at(rule: str, far: float) -> float:
    """Returns the threshold for the false-alarm rate `far`.

    The share `far` of the benchmark's responders exceeds it at some time within 26 weeks. Raises KeyError for a rule
    without a table of thresholds.
    """
    return between(GRID, THRESHOLDS[rule], far)


def between(rates: Sequence[float], thresholds: Sequence[float], far: float) -> float:
    """Returns the threshold for the rate `far`, interpolated linearly between the rates of a table.

    For a rate outside of the table, returns the threshold of the nearest rate.
    """
    if far <= rates[0]:
        return thresholds[0]
    for (low, at_low), (high, at_high) in pairwise(zip(rates, thresholds, strict=True)):
        if far <= high:
            return round(at_low + (at_high - at_low) * (far - low) / (high - low), 4)
    return thresholds[-1]
