"""Computes how strongly the scores indicate, for each week, that the student's growth changed in that week.

This is the arithmetic of the response monitor. It works on arrays of many students; a single student is an array of
one. States, thresholds and sentences are left to other modules.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from app.response.rules.monitor import alone
from app.response.rules.monitor.model import NODE_WEIGHTS, NODES, Array, Prior, Weeks
from app.response.rules.monitor.steps import Steps


@dataclass(frozen=True, slots=True)
class Posterior:
    """The probability of each hypothesis at the last week, and the rates of growth under each hypothesis.

    A hypothesis is a week in which growth changed, together with a noise multiple: how noisy the student's scores are,
    as a multiple of the usual noise. The axes are: week of the change (index 0: no change), noise multiple, student.

    * `weight`: the probabilities. They sum to 1 over the first two axes.
    * `mean`, `sd`: the present rate, as a multiple of the required rate g.
    * `was_mean`, `was_sd`: the rate just before the change, from the scores up to the change, also as a multiple of g.
      Without a change, this is the present rate.
    * `week`: the week of each change, for index 1, 2, ... of the first axis.
    * `evidence` (students,): the log probability density of the scores.
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
    delivered: Array | None = None,
) -> Posterior:
    """Returns the exact posterior over the week of a change and the rates, from the scores up to the week `last`.

    A slot is one form (version of a test) in one week; each student has at most one score in it.

    * times (slots,): whole weeks in order.
    * values (slots, students): scores in standard errors of measurement (SEM), higher is better; nan where there is no
      score.
    * extra (slots, students) or (slots, 1): variance of each score in addition to its own noise, SEM^2.
    * g (students,): the required rate in SEM a week.
    * start: mean and variance of the level at the start, (students,) each.
    * own (slots,): variance of a score's own noise, SEM^2.
    * prior: the assumed rates before and after a change.
    * began (students,): the week in which each phase began. Earlier scores count as if they were given in this week.
    * last (students,): the week as of which each phase is judged.
    * delivered (weeks of the phase, students): the share of the planned dose that was delivered in each week of the
      phase, from its week 1 on. In each week, the expected growth is this share of the rate.

    There is one hypothesis for each week w: growth changed at the end of week w. If so, the new rate is drawn from the
    distribution `prior.after`, and level and rate are Gaussian. A forward filter (Kalman, 1960) gives the level from
    the scores up to w. A backward filter in information form (Fraser and Potter, 1969, "The optimum linear smoother as
    a combination of two optimum linear filters") gives level and rate at w from the later scores. The result for a
    hypothesis is the product of both filters at its week, combined with the distribution of the new rate.
    """
    weeks = np.arange(int(times[0]), int(times[-1]) + 1)
    steps = Steps.of(weeks, began, delivered, g, prior)
    grown = steps.grown[times - weeks[0]]
    has_score = ~np.isnan(values)
    y = np.where(has_score, values - start[0] - prior.before[0] * g * grown, 0)
    error = own[:, None] + extra
    inverse = (has_score / error)[:, None, :] * np.exp(-2 * prior.noise_spread * NODES)[:, None]
    edges = np.searchsorted(times, np.arange(weeks[0], weeks[-1] + 2)).tolist()
    few = len(g) <= alone.FEW
    forward, backward = (alone.run_filters if few else _run_filters)(edges, y, inverse, g, start[1], prior, steps)
    filtered = _Filtered(
        forward[:, 0], forward[:, 2], forward[:, 1], forward[:, 4], -0.5 * (forward[:, 5] + np.log(forward[:, 6]))
    )
    rate, spread, evidence = _join(filtered, backward, g, prior)
    # A change is possible at the end of every week of the phase except the last.
    phase = weeks[:, None] - began
    possible = (phase >= 1) & (weeks[:, None] < last)
    log_no_change = np.log1p(-prior.hazard)
    chance = np.where(possible, (phase - 1) * log_no_change + np.log(prior.hazard), -np.inf)
    logs = np.empty((len(weeks) + 1, *evidence.shape[1:]))
    logs[0] = filtered.log[-1] + np.maximum(last - began - 1, 0) * log_no_change
    logs[1:] = evidence
    logs[1:] += chance[:, None, :]
    number, size = has_score.sum(axis=0), (has_score * np.log(error)).sum(axis=0)
    node = NODE_WEIGHTS[:, None] - prior.noise_spread * NODES[:, None] * number - 0.5 * size
    logs += node
    top = logs.max(axis=(0, 1))
    logs -= top
    weight = np.exp(logs, out=logs)
    total = weight.sum(axis=0).sum(axis=0)
    weight /= total
    # Before a change, or without one, the rate is that of the forward filter.
    moments = np.empty((4, *logs.shape))
    mean, sd, was_mean, was_sd = moments
    was_mean[0], was_mean[1:], mean[0], mean[1:] = filtered.rate[-1], filtered.rate, filtered.rate[-1], rate
    was_sd[0], was_sd[1:], sd[0], sd[1:] = filtered.vrr[-1], filtered.vrr, filtered.vrr[-1], spread
    np.sqrt(moments[1::2], out=moments[1::2])
    moments /= g
    moments[::2] += prior.before[0]
    return Posterior(weight, mean, sd, was_mean, was_sd, weeks, began, top + np.log(total), prior)


@dataclass(frozen=True, slots=True)
class _Filtered:
    """The result of the forward filter at the end of each week: level (true score), rate, variances, log likelihood.

    Each array has the shape (weeks, noise multiples, students).
    """

    level: Array
    vll: Array
    rate: Array
    vrr: Array
    log: Array


def _run_filters(
    edges: list[int], y: Array, inverse: Array, g: Array, start: Array, prior: Prior, steps: Steps
) -> tuple[Array, Array]:
    """Returns the states of the forward filter and the states of the backward filter at each week.

    Each of the two arrays has the shape (weeks, 7, noise multiples, students). `y` has the scores, and `inverse` the
    inverse variances of their errors. Both have a row for each slot: one form (version of a test) in one week. `edges`
    has the index at which the slots of each week begin; its last entry is the number of slots.
    """
    return _run_forward(edges, y, inverse, g, start, prior, steps), _run_backward(edges, y, inverse, steps)


def _run_forward(
    edges: list[int], y: Array, inverse: Array, g: Array, start: Array, prior: Prior, steps: Steps
) -> Array:
    """Returns the states of the Kalman filter under the assumption that growth does not change.

    The result is an array of shape (weeks, 7, noise multiples, students). The seven entries of its second axis are:

    * 0 and 1: the level (true score) and the rate, as deviations from the expected path.
    * 2, 3 and 4: the variance of the level, the covariance, and the variance of the rate.
    * 5 and 6: the two terms of the log likelihood.
    """
    shape, weeks = inverse.shape[1:], len(edges) - 1
    states, state = np.empty((weeks, 7, *shape)), np.zeros((7, *shape))
    level, rate, vll, vlr, vrr, lost, size = state
    vll += start
    vrr += (prior.before[1] * g) ** 2
    size += 1
    scale, gain, residual, buffer = np.empty((4, *shape))
    share, variance = steps.share, steps.variance
    for n in range(weeks):
        if not n:
            pass
        elif share is None:
            level += rate
            np.add(vlr, vlr, out=scale)
            scale += vrr
            scale += variance[n]
            vll += scale
            vlr += vrr
        else:
            level += np.multiply(rate, share[n], out=buffer)
            np.multiply(vrr, share[n], out=buffer)
            np.add(vlr, vlr, out=scale)
            scale += buffer
            scale *= share[n]
            scale += variance[n]
            vll += scale
            vlr += buffer
        for slot in range(edges[n], edges[n + 1]):
            np.multiply(vll, inverse[slot], out=scale)
            scale += 1
            size *= scale
            np.divide(inverse[slot], scale, out=gain)
            np.subtract(y[slot], level, out=residual)
            lost += np.multiply(np.multiply(residual, residual, out=buffer), gain, out=buffer)
            residual *= gain
            level += np.multiply(residual, vll, out=buffer)
            rate += np.multiply(residual, vlr, out=buffer)
            gain *= vlr
            vrr -= np.multiply(gain, vlr, out=buffer)
            state[2:4] /= scale
        states[n] = state
    return states


def _run_backward(edges: list[int], y: Array, inverse: Array, steps: Steps) -> Array:
    """Returns, for the end of each week, what later scores say about the level (true score) and the rate at that time.

    Let x be the level and the rate at the end of a week. Given the later scores, its log likelihood is c + h'x - x'Lx /
    2.

    The result is an array of shape (weeks, 7, noise multiples, students). The seven entries of its second axis are:

    * 0, 1 and 4: the matrix L, for level and level, for level and rate, and for rate and rate.
    * 2 and 3: the vector h, for the level and for the rate.
    * 5 and 6: the two terms of c.
    """
    weighted = inverse * y[:, None]
    squares = weighted * y[:, None]
    shape, weeks = inverse.shape[1:], len(edges) - 1
    share, variance = steps.share, steps.variance
    states, state = np.empty((weeks, 7, *shape)), np.zeros((7, *shape))
    ll, lr, hl, hr, rr, lost, size = state
    size += 1
    scale, gain, coupling, buffer = np.empty((4, *shape))
    for n in range(weeks - 1, -1, -1):
        states[n] = state
        for slot in range(edges[n], edges[n + 1]):
            ll += inverse[slot]
            hl += weighted[slot]
            lost += squares[slot]
        np.multiply(ll, variance[n], out=scale)
        scale += 1
        size *= scale
        np.divide(variance[n], scale, out=gain)
        np.multiply(lr, gain, out=coupling)
        rr -= np.multiply(coupling, lr, out=buffer)
        hr -= np.multiply(coupling, hl, out=buffer)
        gain *= hl
        lost -= np.multiply(gain, hl, out=buffer)
        state[:3] /= scale
        if share is None:
            np.add(lr, lr, out=coupling)
            coupling += ll
            rr += coupling
            lr += ll
            hr += hl
        else:
            np.multiply(ll, share[n], out=gain)
            np.add(lr, lr, out=coupling)
            coupling += gain
            rr += np.multiply(coupling, share[n], out=coupling)
            lr += gain
            hr += np.multiply(hl, share[n], out=buffer)
    return states


def _join(filtered: _Filtered, backward: Array, g: Array, prior: Prior) -> tuple[Array, Array, Array]:
    """Returns the mean and the variance of the new rate, and the log probability density of all scores.

    Each of the three arrays has an entry for every week, under the hypothesis that growth changed at the end of that
    week. An entry combines what the forward filter knows from the earlier scores with what the backward filter knows
    from the later scores.
    """
    ll, lr, hl, hr, rr, lost, size = backward.swapaxes(0, 1)
    c = -0.5 * (lost + np.log(size))
    rho, sigma = (prior.after[0] - prior.before[0]) * g, (prior.after[1] * g) ** 2
    m, v = filtered.level, filtered.vll
    lr_rho, rr_rho = lr * rho, rr * rho
    ul, ur = hl - ll * m, hr - lr * m
    # h'mu - mu'L mu / 2 = ((h + u)'mu) / 2, with u = h - L mu and mu = (m, rho)
    ul -= lr_rho
    ur -= rr_rho
    evidence = filtered.log + c + 0.5 * ((hl + ul) * m + (hr + ur) * rho)
    left, right = 1 + v * ll, 1 + sigma * rr
    cross = v * sigma * lr
    det = left * right - cross * lr
    evidence += 0.5 * ((v * right * ul - 2 * cross * ur) * ul + sigma * left * ur * ur) / det
    evidence -= 0.5 * np.log(det)
    spread = sigma * left / det
    return rho + spread * ur - cross * ul / det, spread, evidence
