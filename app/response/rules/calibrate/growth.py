"""Estimates the mean and the spread of students' growth from scores. Does not estimate the noise of the scores."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from app.response.rules.monitor.model import DEFAULT, Array, Prior
from app.response.rules.monitor.panel import Panel, PreparedScores, parts_of, prepare

STEPS = ((0.12, 0.20), (0.04, 0.06))
"""The step sizes of each round of the search: for the mean rate, and for the logarithm of the standard deviation.

Rates are multiples of the required rate g.
"""

RARELY = 0.003
"""The assumed probability that growth changes in a week. It is used while growth is estimated.

With a larger probability, slow growth would be taken for growth that has stopped.
"""


def log_evidence(scores: Sequence[PreparedScores], prior: Prior) -> float:
    """Returns how well a prior fits the scores: the log probability of all scores under it, less a small penalty.

    The penalty grows with the distance of `prior` from the published defaults.
    """
    log_probability = sum(float(part.posterior(prior).evidence.sum()) for part in scores)
    distance = (prior.before[0] - DEFAULT.before[0]) / 0.3, np.log(prior.before[1] / DEFAULT.before[1]) / 0.5
    return log_probability - 0.5 * float(distance[0] ** 2 + distance[1] ** 2)


def estimate_growth(panel: Panel, prior: Prior) -> Prior:
    """Returns the prior with the mean and the standard deviation of growth under which the scores are most likely.

    Mean and standard deviation are improved in turns. Each step takes the maximum of a parabola through three points.

    How often growth stops is not estimated, because scores cannot distinguish stopped growth from slow growth. With an
    estimate near zero, the monitor would be late to notice that growth has stopped.
    """
    x = np.array([prior.before[0], np.log(prior.before[1])])

    def at(point: Array) -> Prior:
        return replace(prior, before=(float(point[0]), float(np.exp(point[1]))), hazard=RARELY)

    for steps in STEPS:
        # Form effects hardly depend on the growth prior, so they are estimated only once per round.
        week = [int(panel.times[-1])]
        scores = [prepared for part in parts_of(panel) for prepared in prepare(panel.part(part), at(x), week)]
        current = log_evidence(scores, at(x))
        for n, step in enumerate(steps):
            move = np.eye(2)[n] * step
            low, high = log_evidence(scores, at(x - move)), log_evidence(scores, at(x + move))
            curvature = low - 2 * current + high
            shift = 0.5 * (low - high) / curvature if curvature < 0 else float(np.sign(high - low))
            candidate = x + move * np.clip(shift, -2, 2)
            candidate[1] = np.clip(candidate[1], np.log(0.05), np.log(1.5))
            candidate_evidence = log_evidence(scores, at(candidate))
            if candidate_evidence > current:
                x, current = candidate, candidate_evidence
    return replace(at(x), hazard=prior.hazard)
