"""Defines the stated false-alarm rates, and the thresholds that give the monitor these rates in the benchmark.

These rates are measured in the benchmark. They are never a district's own rates. Those of the other rules are declared
with the rules.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

GRID = (0.01, 0.02, 0.05, 0.10, 0.15, 0.20, 0.25, 0.30, 0.40, 0.50)

MONITOR = (3.014, 2.355, 1.541, 0.93, 0.614, 0.383, 0.196, 0.036, -0.216, -0.432)
ADAPTIVE = (3.004, 2.345, 1.531, 0.92, 0.604, 0.373, 0.186, 0.026, -0.226, -0.442)
"""The thresholds of the monitor at the rates of GRID, in log odds: as used, and with adaptive scoring."""


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
