"""Owns the stated false-alarm rates: which threshold gives which rate in the benchmark. Never a district's own rate."""

from __future__ import annotations

from itertools import pairwise

GRID = (0.01, 0.02, 0.05, 0.10, 0.15, 0.20, 0.25, 0.30, 0.40, 0.50)

THRESHOLDS: dict[str, tuple[float, ...]] = {
    "four-point": (1.547, 1.3, 0.941, 0.619, 0.41, 0.247, 0.109, -0.015, -0.238, -0.452),
    "three-point": (1.965, 1.704, 1.303, 0.973, 0.754, 0.586, 0.443, 0.313, 0.089, -0.121),
    "median": (2.863, 2.516, 2.072, 1.71, 1.479, 1.3, 1.146, 1.014, 0.783, 0.564),
    "trend": (1.756, 1.478, 1.124, 0.849, 0.675, 0.549, 0.448, 0.367, 0.224, 0.109),
    "theil-sen": (1.784, 1.527, 1.176, 0.886, 0.711, 0.582, 0.477, 0.391, 0.244, 0.125),
    "dual-discrepancy": (1.661, 1.365, 0.903, 0.503, 0.237, 0.021, -0.143, -0.305, -0.592, -0.865),
    "slope-interval": (8.358, 6.558, 4.333, 2.757, 1.89, 1.339, 0.942, 0.607, 0.099, -0.336),
    "eb-slope": (0.608, 0.54, 0.444, 0.367, 0.317, 0.277, 0.246, 0.218, 0.167, 0.121),
    "monitor": (2.842, 2.311, 1.544, 0.99, 0.663, 0.406, 0.213, 0.055, -0.213, -0.428),
}
"""By rule, at each rate of GRID. For the monitor: log odds; for the others: the margin beyond the rule as used."""


def threshold_at(rule: str, far: float) -> float:
    """The threshold at which this share of responders is ever flagged in the 26 weeks of the benchmark.

    Linear between the rates of GRID, and the end's value beyond it. Raises KeyError for a rule without a table.
    """
    table = THRESHOLDS[rule]
    if far <= GRID[0]:
        return table[0]
    for (low, at_low), (high, at_high) in pairwise(zip(GRID, table, strict=True)):
        if far <= high:
            return round(at_low + (at_high - at_low) * (far - low) / (high - low), 4)
    return table[-1]
