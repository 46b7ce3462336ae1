"""Computes the monitor's two filters with plain floats, which is faster than numpy for a few series.

The result is exactly the same as the result of `filters`, because the same operations are executed in the same order.
"""

from __future__ import annotations

import numpy as np

from app.response.rules.monitor.model import Array, Prior
from app.response.rules.monitor.steps import Steps

FEW = 2
"""The maximum number of series for which plain floats are faster than arrays."""


def run_filters(
    edges: list[int], y: Array, inverse: Array, g: Array, start: Array, prior: Prior, steps: Steps
) -> tuple[Array, Array]:
    """Runs the two filters of the monitor, one forward and one backward in time, and returns their states.

    The results are exactly those of the module `filters`. Both arrays have four axes: weeks, the 7 numbers of a state,
    noise multiples, and students.
    """
    shape = steps.grown.shape
    shares = np.broadcast_to(1.0 if steps.share is None else steps.share, shape)
    variances = np.broadcast_to(steps.variance, shape)
    forward: list[float] = []
    backward: list[float] = []
    for student in range(len(g)):
        scores = y[:, student].tolist()
        start_state = float(start[student]), float((prior.before[1] * g[student]) ** 2)
        steps_of_student = shares[:, student].tolist(), variances[:, student].tolist()
        for information in inverse[:, :, student].T.tolist():
            forward += _forward(edges, scores, information, start_state, steps_of_student)
            backward += _backward(edges, scores, information, steps_of_student)
    shape = len(g), inverse.shape[1], len(shares), 7
    forward_states, backward_states = (
        np.fromiter(kept, np.float64, len(kept)).reshape(shape).transpose(2, 3, 1, 0) for kept in (forward, backward)
    )
    return forward_states, backward_states[::-1]


def _forward(
    edges: list[int],
    y: list[float],
    inverse: list[float],
    start_state: tuple[float, float],
    steps: tuple[list[float], list[float]],
) -> list[float]:
    (vll, vrr), (shares, variances) = start_state, steps
    level = rate = vlr = lost = 0.0
    size = 1.0
    kept: list[float] = []
    slot = 0
    for week, end in enumerate(edges[1:]):
        if week:
            share = shares[week]
            level += rate * share
            change = vrr * share
            vll += (vlr + vlr + change) * share + variances[week]
            vlr += change
        while slot < end:
            information = inverse[slot]
            if information:
                scale = vll * information + 1
                size *= scale
                gain = information / scale
                residual = y[slot] - level
                lost += residual * residual * gain
                residual *= gain
                level += residual * vll
                rate += residual * vlr
                vrr -= gain * vlr * vlr
                vll /= scale
                vlr /= scale
            slot += 1
        kept += (level, rate, vll, vlr, vrr, lost, size)
    return kept


def _backward(
    edges: list[int], y: list[float], inverse: list[float], steps: tuple[list[float], list[float]]
) -> list[float]:
    shares, variances = steps
    ll = lr = hl = hr = rr = lost = 0.0
    size = 1.0
    kept: list[float] = []
    slot = edges[-1]
    for week in range(len(edges) - 2, -1, -1):
        begin, share, q = edges[week], shares[week], variances[week]
        kept += (ll, lr, hl, hr, rr, lost, size)
        end, slot = slot, begin
        for at in range(begin, end):
            information = inverse[at]
            if information:
                ll += information
                information *= y[at]
                hl += information
                lost += information * y[at]
        scale = ll * q + 1
        size *= scale
        gain = q / scale
        coupling = lr * gain
        rr -= coupling * lr
        hr -= coupling * hl
        lost -= gain * hl * hl
        ll /= scale
        lr /= scale
        hl /= scale
        change = ll * share
        rr += (lr + lr + change) * share
        lr += change
        hr += hl * share
    return kept
