"""Owns the response monitor's arithmetic: what a series says of every week in which growth may have changed.

Pure arrays, batched; one student is a batch of one. Never a sentence, a threshold or a state.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from app.response.rules.monitor import alone
from app.response.rules.monitor.model import NODES, Array, Prior, Weeks


@dataclass(frozen=True, slots=True)
class Posterior:
    """The mixture at the last week. Axes: change week (0: no change), noise multiple, student.

    weight sums to 1 over the first two. mean, sd: of the rate now, in g. was_mean, was_sd: of the rate just before
    the change, as it was known then; without a change, of the rate now. week: of each change, from the second on.
    evidence: (students,), the log probability density of the scores.
    """

    weight: Array
    mean: Array
    sd: Array
    was_mean: Array
    was_sd: Array
    week: Weeks
    began: Weeks
    evidence: Array
    prior: Prior


def posterior(
    times: Weeks,
    values: Array,
    extra: Array,
    g: Array,
    start: tuple[Array, Array],
    own: Array,
    prior: Prior,
    began: Weeks,
    last: Weeks,
) -> Posterior:
    """The exact posterior over change weeks and rates, given scores at these times, as of week `last`.

    times: (slots,), whole weeks in order. values: (slots, students) in SEM, nan where there is no score, better
    is up. extra: (slots, students) or (slots, 1), variance of each score besides the student's own, SEM^2.
    g: (students,), the required rate in SEM a week. start: mean and variance of the level at the start,
    (students,). own: (slots,), variance of a score's own noise, SEM^2. began, last: (students,), the weeks in which
    each phase began and as of which it is judged; scores from before count as taken in week `began`.

    Under "change after week w" the rate is drawn anew from `after` at the end of week w; level and rate are Gaussian.
    A filter forwards (Kalman, 1960) says what the scores up to w say of the level then, one backwards, in information
    form (Fraser and Potter, 1969, "The optimum linear smoother as a combination of two optimum linear filters"), what
    the later scores say of level and rate at w; each week's hypothesis is the product of the two with the new rate.
    """
    weeks = np.arange(int(times[0]), int(times[-1]) + 1)
    grown = np.maximum(times[:, None] - began, 0)
    seen = ~np.isnan(values)
    y = np.where(seen, values - start[0] - prior.before[0] * g * grown, 0)
    error = (own[:, None] * np.exp(2 * prior.noise_spread * NODES))[:, :, None] + extra[:, None, :]
    inverse = seen[:, None, :] / error
    edges = np.searchsorted(times, np.arange(weeks[0], weeks[-1] + 2)).tolist()
    few = len(g) <= alone.FEW
    kept, back = (alone.both if few else _both)(weeks, edges, y, inverse, g, start[1], prior, began)
    ahead = _Ahead(kept[:, 0], kept[:, 2], kept[:, 1], kept[:, 4], -0.5 * (kept[:, 5] + np.log(kept[:, 6])))
    rate, spread, evidence = _joined(ahead, back, g, prior)
    # A change is possible at the end of each week of the phase but the last.
    phase = weeks[:, None] - began
    possible = (phase >= 1) & (weeks[:, None] < last)
    stay = np.log1p(-prior.hazard)
    chance = np.where(possible, (phase - 1) * stay + np.log(prior.hazard), -np.inf)
    logs = np.empty((len(weeks) + 1, *evidence.shape[1:]))
    logs[0] = ahead.log[-1] + np.maximum(last - began - 1, 0) * stay
    logs[1:] = evidence
    logs[1:] += chance[:, None, :]
    node = -0.5 * (NODES**2)[:, None] - 0.5 * (seen[:, None, :] * np.log(error)).sum(axis=0)
    logs += node
    top = logs.max(axis=(0, 1))
    logs -= top
    weight = np.exp(logs, out=logs)
    total = weight.sum(axis=0).sum(axis=0)
    weight /= total
    # Before a change, and with none, the rate is as the filter knows it.
    both = np.empty((4, *logs.shape))
    mean, sd, was_mean, was_sd = both
    was_mean[0], was_mean[1:], mean[0], mean[1:] = ahead.rate[-1], ahead.rate, ahead.rate[-1], rate
    was_sd[0], was_sd[1:], sd[0], sd[1:] = ahead.vrr[-1], ahead.vrr, ahead.vrr[-1], spread
    np.sqrt(both[1::2], out=both[1::2])
    both /= g
    both[::2] += prior.before[0]
    return Posterior(weight, mean, sd, was_mean, was_sd, weeks, began, top + np.log(total), prior)


@dataclass(frozen=True, slots=True)
class _Ahead:
    """What the scores up to the end of each week say: level, rate, variances, log likelihood; (weeks, noise, n)."""

    level: Array
    vll: Array
    rate: Array
    vrr: Array
    log: Array


def _both(
    weeks: Weeks, edges: list[int], y: Array, inverse: Array, g: Array, start: Array, prior: Prior, began: Weeks
) -> tuple[Array, Array]:
    """What the scores up to each week say, and what those after it do, (weeks, 7, noise, n).

    Errors come as inverse variances; edges: where each week's slots begin, and the end.
    """
    return _filtered(weeks, edges, y, inverse, g, start, prior, began), _informed(edges, y, inverse, prior)


def _filtered(
    weeks: Weeks, edges: list[int], y: Array, inverse: Array, g: Array, start: Array, prior: Prior, began: Weeks
) -> Array:
    """The Kalman filter under no change, in deviations from the expected path.

    Along the second axis: level, rate, their variances and covariance (second to fourth), and what the log likelihood
    is made of.
    """
    shape, q = inverse.shape[1:], prior.wobble**2
    kept, state = np.empty((len(weeks), 7, *shape)), np.zeros((7, *shape))
    level, rate, vll, vlr, vrr, lost, size = state
    vll += start
    vrr += (prior.before[1] * g) ** 2
    size += 1
    one, two, more, room = np.empty((4, *shape))
    together = bool((began == weeks[0]).all())
    for n, week in enumerate(weeks):
        if n:
            on = 1.0 if together else (week > began).astype(float)
            level += np.multiply(rate, on, out=room)
            np.add(vlr, vlr, out=one)
            one += vrr
            one += q
            vll += np.multiply(one, on, out=one)
            vlr += np.multiply(vrr, on, out=room)
        for slot in range(edges[n], edges[n + 1]):
            np.multiply(vll, inverse[slot], out=one)
            one += 1
            size *= one
            np.divide(inverse[slot], one, out=two)
            np.subtract(y[slot], level, out=more)
            lost += np.multiply(np.multiply(more, more, out=room), two, out=room)
            more *= two
            level += np.multiply(more, vll, out=room)
            rate += np.multiply(more, vlr, out=room)
            two *= vlr
            vrr -= np.multiply(two, vlr, out=room)
            state[2:4] /= one
        kept[n] = state
    return kept


def _informed(edges: list[int], y: Array, inverse: Array, prior: Prior) -> Array:
    """What the scores after the end of each week say of level and rate there, as information.

    The log likelihood is c + h'x - x'Lx / 2. Along the second axis: L of level and level, and of level and rate; h of
    level, and of rate; L of rate and rate; and the two that c is made of.
    """
    told = inverse * y[:, None]
    squares = told * y[:, None]
    shape, q, weeks = inverse.shape[1:], prior.wobble**2, len(edges) - 1
    kept, state = np.empty((weeks, 7, *shape)), np.zeros((7, *shape))
    ll, lr, hl, hr, rr, lost, size = state
    size += 1
    one, two, more, room = np.empty((4, *shape))
    for n in range(weeks - 1, -1, -1):
        kept[n] = state
        for slot in range(edges[n], edges[n + 1]):
            ll += inverse[slot]
            hl += told[slot]
            lost += squares[slot]
        np.multiply(ll, q, out=one)
        one += 1
        size *= one
        np.divide(q, one, out=two)
        np.multiply(lr, two, out=more)
        rr -= np.multiply(more, lr, out=room)
        hr -= np.multiply(more, hl, out=room)
        two *= hl
        lost -= np.multiply(two, hl, out=room)
        state[:3] /= one
        rr += lr
        rr += lr
        rr += ll
        lr += ll
        hr += hl
    return kept


def _joined(ahead: _Ahead, back: Array, g: Array, prior: Prior) -> tuple[Array, Array, Array]:
    """For a change at the end of each week: mean and variance of the rate since, and the log evidence of all scores."""
    ll, lr, hl, hr, rr, lost, size = back.swapaxes(0, 1)
    c = -0.5 * (lost + np.log(size))
    rho, sigma = (prior.after[0] - prior.before[0]) * g, (prior.after[1] * g) ** 2
    m, v = ahead.level, ahead.vll
    lr_rho, rr_rho = lr * rho, rr * rho
    ul, ur = hl - ll * m, hr - lr * m
    # h'mu - mu'L mu / 2 = ((h + u)'mu) / 2, with u = h - L mu and mu = (m, rho)
    ul -= lr_rho
    ur -= rr_rho
    evidence = ahead.log + c + 0.5 * ((hl + ul) * m + (hr + ur) * rho)
    left, right = 1 + v * ll, 1 + sigma * rr
    cross = v * sigma * lr
    det = left * right - cross * lr
    evidence += 0.5 * ((v * right * ul - 2 * cross * ur) * ul + sigma * left * ur * ur) / det
    evidence -= 0.5 * np.log(det)
    spread = sigma * left / det
    return rho + spread * ur - cross * ul / det, spread, evidence
