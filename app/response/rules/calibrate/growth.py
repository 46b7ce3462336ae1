"""Owns what the scores say of growth: its mean and its spread. Never noise, never a verdict."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from app.response.rules.monitor.model import DEFAULT, Array, Prior
from app.response.rules.monitor.panel import Panel, PreparedScores, parts_of, prepare

STEPS = ((0.12, 0.20), (0.04, 0.06))
"""Steps of the search: of the mean in g, of the logarithm of the SD."""

RARELY = 0.003
"""Probability of a change a week while growth is estimated: with a larger one, slow growth passes for stopped."""


def log_evidence(scores: Sequence[PreparedScores], prior: Prior) -> float:
    """The log probability of all scores under the monitor's model, with a mild belief in the published defaults."""
    said = sum(float(part.posterior(prior).evidence.sum()) for part in scores)
    far = (prior.before[0] - DEFAULT.before[0]) / 0.3, np.log(prior.before[1] / DEFAULT.before[1]) / 0.5
    return said - 0.5 * float(far[0] ** 2 + far[1] ** 2)


def estimate_growth(panel: Panel, prior: Prior) -> Prior:
    """The prior with the mean and SD of growth that make the scores most likely.

    One at a time, through a parabola of three points each. How often growth stops is not estimated: it cannot be
    told from slow growth, and a monitor that hardly believes in stops is slow to see them.
    """
    x = np.array([prior.before[0], np.log(prior.before[1])])

    def at(point: Array) -> Prior:
        return replace(prior, before=(float(point[0]), float(np.exp(point[1]))), hazard=RARELY)

    for steps in STEPS:
        # The forms' difficulty hardly moves with the beliefs about growth: once a round is enough.
        week = [int(panel.times[-1])]
        scores = [one for part in parts_of(panel) for one in prepare(panel.part(part), at(x), week)]
        here = log_evidence(scores, at(x))
        for n, step in enumerate(steps):
            move = np.eye(2)[n] * step
            low, high = log_evidence(scores, at(x - move)), log_evidence(scores, at(x + move))
            bend = low - 2 * here + high
            shift = 0.5 * (low - high) / bend if bend < 0 else float(np.sign(high - low))
            tried = x + move * np.clip(shift, -2, 2)
            tried[1] = np.clip(tried[1], np.log(0.05), np.log(1.5))
            there = log_evidence(scores, at(tried))
            if there > here:
                x, here = tried, there
    return replace(at(x), hazard=prior.hazard)
