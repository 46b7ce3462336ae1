"""Owns the monitor's two filters over one series, in plain floats, where a call of numpy costs more than it works.

Never other numbers than `filters`: the same operations in the same order.
"""

from __future__ import annotations

import numpy as np

from app.response.rules.monitor.model import Array, Prior, Weeks

FEW = 2
"""Up to so many series plain floats are the faster."""


def both(
    weeks: Weeks, edges: list[int], y: Array, inverse: Array, g: Array, start: Array, prior: Prior, began: Weeks
) -> tuple[Array, Array]:
    """As the loops of `filters`, forwards and backwards: (weeks, 7, noise, n) each."""
    first, q = int(weeks[0]), prior.wobble**2
    ahead: list[float] = []
    back: list[float] = []
    for student in range(len(g)):
        one = y[:, student].tolist()
        before = float(start[student]), float((prior.before[1] * g[student]) ** 2), int(began[student]) - first
        for told in inverse[:, :, student].T.tolist():
            ahead += _ahead(edges, one, told, before, q)
            back += _back(edges, one, told, q)
    shape = len(g), inverse.shape[1], len(weeks), 7
    there, back_then = (
        np.fromiter(kept, np.float64, len(kept)).reshape(shape).transpose(2, 3, 1, 0) for kept in (ahead, back)
    )
    return there, back_then[::-1]


def _ahead(
    edges: list[int], y: list[float], inverse: list[float], before: tuple[float, float, int], q: float
) -> list[float]:
    vll, vrr, began = before
    level = rate = vlr = lost = 0.0
    size = 1.0
    kept: list[float] = []
    slot = 0
    for week, end in enumerate(edges[1:]):
        if week > began:
            level += rate
            vll += vlr + vlr + vrr + q
            vlr += vrr
        while slot < end:
            told = inverse[slot]
            if told:
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
            slot += 1
        kept += (level, rate, vll, vlr, vrr, lost, size)
    return kept


def _back(edges: list[int], y: list[float], inverse: list[float], q: float) -> list[float]:
    ll = lr = hl = hr = rr = lost = 0.0
    size = 1.0
    kept: list[float] = []
    slot = edges[-1]
    for begin in edges[-2::-1]:
        kept += (ll, lr, hl, hr, rr, lost, size)
        end, slot = slot, begin
        for at in range(begin, end):
            told = inverse[at]
            if told:
                ll += told
                told *= y[at]
                hl += told
                lost += told * y[at]
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
