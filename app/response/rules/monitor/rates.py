"""Defines the false-alarm rates that the product states, and the monitor's thresholds for these rates.

The rates were measured in the benchmark, which simulates students. They are never a district's own rates. The other
decision rules declare their own rates and thresholds.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

GRID = (0.01, 0.02, 0.05, 0.10, 0.15, 0.20, 0.25, 0.30, 0.40, 0.50)

MONITOR = (2.874, 2.3, 1.528, 0.988, 0.681, 0.435, 0.253, 0.086, -0.181, -0.397)
ADAPTIVE = (2.744, 2.17, 1.398, 0.858, 0.551, 0.305, 0.123, -0.044, -0.311, -0.527)
"""The monitor's thresholds for the false-alarm rates in GRID, as log odds.

ADAPTIVE has the thresholds for districts that collect extra scores on request. MONITOR has the thresholds for all other
districts.
"""


def between(rates: Sequence[float], thresholds: Sequence[float], far: float) -> float:
    """Returns the threshold for the rate `far` from a table of rates in ascending order and their thresholds.

    Between two rates of the table, the threshold is interpolated linearly. Below the lowest rate, it is extrapolated
    from the lowest two rates, by the logarithm of the rate. Above the highest rate, it is the threshold of that rate.
    """
    if far <= rates[0]:
        step = (thresholds[0] - thresholds[1]) / math.log(rates[1] / rates[0])
        return round(thresholds[0] + step * math.log(rates[0] / far), 4)
    for (low, at_low), (high, at_high) in pairwise(zip(rates, thresholds, strict=True)):
        if far <= high:
            return round(at_low + (at_high - at_low) * (far - low) / (high - low), 4)
    return thresholds[-1]
