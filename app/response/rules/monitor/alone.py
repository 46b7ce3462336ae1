"""Owns the monitor's two filters over one series, in plain floats, where a call of numpy costs more than it works.

Never other numbers than `filters`: the same operations in the same order.
"""

from __future__ import annotations

import numpy as np

from app.response.rules.monitor.model import Array, Prior, Weeks

FEW = 2
"""Up to so many series plain floats are the faster."""

State = tuple[float, float, float, float, float, float, float]


def forwards(
    weeks: Weeks, edges: list[int], y: Array, inverse: Array, g: Array, start: Array, prior: Prior, began: Weeks
) -> Array:
    """As the loop of `filters._forwards`: (weeks, 7, noise, n)."""
    first, q = int(weeks[0]), prior.wobble**2
    found: list[list[list[State]]] = []
    for student in range(len(g)):
        one = y[:, student].tolist()
        before = float(start[student]), float((prior.before[1] * g[student]) ** 2), int(began[student]) - first
        every = inverse[:, :, student].T.tolist()
        found.append([_ahead(edges, one, information, before, q) for information in every])
    return np.array(found).transpose(2, 3, 1, 0)


def _ahead(
    edges: list[int], y: list[float], inverse: list[float], before: tuple[float, float, int], q: float
) -> list[State]:
    vll, vrr, began = before
    level = rate = vlr = lost = 0.0
    size, kept = 1.0, []
    for week in range(len(edges) - 1):
        if week > began:
            level += rate
            vll += vlr + vlr + vrr + q
            vlr += vrr
        for slot in range(edges[week], edges[week + 1]):
            told = inverse[slot]
            if not told:
                continue
            one = vll * told + 1
            size *= one
            two = told / one
            more = y[slot] - level
            lost += more * more * two
            more *= two
            level += more * vll
            rate += more * vlr
            vrr -= two * vlr * vlr
            vll /= one
            vlr /= one
        kept.append((level, rate, vll, vlr, vrr, lost, size))
    return kept


def backwards(edges: list[int], inverse: Array, told: Array, squares: Array, prior: Prior) -> Array:
    """As the loop of `filters._backwards`: (weeks, 7, noise, n), from the first week on."""
    q = prior.wobble**2
    found = [
        [
            _back(edges, inverse[:, node, student].tolist(), told[:, node, student].tolist(), each, q)
            for node, each in enumerate(squares[:, :, student].T.tolist())
        ]
        for student in range(inverse.shape[2])
    ]
    return np.array(found)[:, :, ::-1].transpose(2, 3, 1, 0)


def _back(edges: list[int], inverse: list[float], told: list[float], squares: list[float], q: float) -> list[State]:
    ll = lr = hl = hr = rr = lost = 0.0
    size, kept = 1.0, []
    for week in range(len(edges) - 2, -1, -1):
        kept.append((ll, lr, hl, hr, rr, lost, size))
        for slot in range(edges[week], edges[week + 1]):
            ll += inverse[slot]
            hl += told[slot]
            lost += squares[slot]
        one = ll * q + 1
        size *= one
        two = q / one
        more = lr * two
        rr -= more * lr
        hr -= more * hl
        lost -= two * hl * hl
        ll /= one
        lr /= one
        hl /= one
        rr += lr
        rr += lr
        rr += ll
        lr += ll
        hr += hl
    return kept
