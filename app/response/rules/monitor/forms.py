"""Owns form adjustment: how hard each form was for a cohort, from its scores up to a week. Never a rate."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from app.response.rules.monitor.model import Array, Prior

LEAST = 5
"""A form's difficulty is estimated from at least four classmates beside the student."""

COMMON_LEVEL, COMMON_RATE = 2.0, 0.15
"""What a cohort may have in common that is no form: SD of its level in SEM and of its rate in g."""

TURNS = ((0.0, 0.9), (0.3, 0.1))
"""SD of the weekly turn of the cohort's common rate, in g, with its prior probability: few groups turn as one."""


def path_moments(times: NDArray[np.int64], prior: Prior) -> tuple[Array, Array]:
    """Mean (in g) and covariance (in g^2) over `times` of a student's gain since week 0, over all change weeks."""
    t, last = times.astype(float), max(int(times[-1]), 1)
    change = np.arange(1, last + 1)
    p = prior.hazard * (1 - prior.hazard) ** (change - 1.0)
    p[-1] = (1 - prior.hazard) ** (last - 1.0)
    early, late = np.minimum.outer(change, t), np.maximum(t - change[:, None], 0)
    lines = prior.before[0] * early + prior.after[0] * late
    root = np.sqrt(p)[:, None]
    mean = p @ lines
    second = (root * lines).T @ (root * lines)
    for spread, part in ((prior.before[1], early), (prior.after[1], late)):
        second += spread**2 * (root * part).T @ (root * part)
    return mean, second - np.outer(mean, mean)


def _common(times: NDArray[np.int64], g: Array, prior: Prior, turn: float) -> Array:
    """The prior covariance of a form's effect and of what the cohort has in common, (cohorts, slots, slots)."""
    t = times.astype(float)
    late = np.maximum(t - np.arange(max(int(times[-1]), 1))[:, None], 0)
    moving = COMMON_RATE**2 * np.outer(t, t) + turn**2 * late.T @ late
    return np.asarray(COMMON_LEVEL**2 + (g * g)[:, None, None] * moving + prior.share * np.eye(len(t)))


def _solved(a: Array, b: Array, common: Array, share: float) -> tuple[Array, Array, Array]:
    """A cohort's form effects and their variances under one prior, and the log evidence for it."""
    p = np.linalg.inv(common)
    posterior = np.linalg.inv(a + p)
    x = (posterior @ b[:, :, None])[:, :, 0]
    found = share * (p @ x[:, :, None])[:, :, 0]
    left = share - share**2 * np.einsum("cii->ci", p - p @ posterior @ p)
    size = np.linalg.slogdet(posterior)[1] - np.linalg.slogdet(common)[1]
    return found, np.clip(left, 0, share), 0.5 * (size + (b * x).sum(axis=1))


def form_effects(
    times: NDArray[np.int64],
    values: Array,
    g: Array,
    start: tuple[Array, Array],
    cohort: NDArray[np.int64],
    prior: Prior,
) -> tuple[Array, Array]:
    """Each slot's difficulty for each student's cohort and its variance, (slots, students), in SEM and SEM^2.

    A slot is a form in a week; other arguments as for `filter_bank`; `cohort` is (students,), the same number side
    by side. Each student's path is Gaussian with the monitor's own mean and covariance, so the weight of a score is
    known exactly; the sum over the cohort is the best linear estimate of the form's effect, shrunk by its variance.
    What the whole cohort has in common from week to week (its level, its growth, a turn of its growth) stays in the
    scores: a group that stalls is not explained away. Cohorts under five students, and slots under five scores, are
    left as they are, with the whole variance of the form. Source: Poncy, Skinner and Axtell (2005) for the share.
    """
    students, kind = values.shape[1], values.dtype
    effect, variance = np.zeros_like(values), np.full_like(values, prior.share)
    if not students or prior.share <= 0:
        return effect, variance
    seen = ~np.isnan(values.T)
    firsts = np.flatnonzero(np.r_[True, cohort[1:] != cohort[:-1]])
    mean, spread = path_moments(times, prior)
    wobble = prior.wobble**2 * np.minimum.outer(times, times)
    cov = (g * g)[:, None, None] * spread.astype(kind) + (start[1][:, None, None] + wobble.astype(kind))
    both = seen[:, :, None] & seen[:, None, :]
    cov = np.where(both, cov, 0)
    diagonal = np.arange(len(times))
    cov[:, diagonal, diagonal] += 1 - prior.share
    weight = np.where(both, np.linalg.inv(cov), 0)
    surprise = np.where(seen, values.T - start[0][:, None] - g[:, None] * mean.astype(kind), 0)
    a = np.add.reduceat(weight, firsts, axis=0).astype(float)
    b = np.add.reduceat((weight @ surprise[:, :, None])[:, :, 0], firsts, axis=0).astype(float)
    known = np.add.reduceat(seen.astype(np.int64), firsts, axis=0)
    middle = np.add.reduceat(g, firsts) / np.diff(np.r_[firsts, students])
    solved = [_solved(a, b, _common(times, middle.astype(float), prior, turn), prior.share) for turn, _ in TURNS]
    evidence = np.stack([each[2] + np.log(part) for each, (_, part) in zip(solved, TURNS, strict=True)])
    odds = np.exp(evidence - evidence.max(axis=0))[:, :, None]
    odds /= odds.sum(axis=0)
    found = np.sum([o * each[0] for o, each in zip(odds, solved, strict=True)], axis=0)
    left = np.sum([o * (each[1] + (each[0] - found) ** 2) for o, each in zip(odds, solved, strict=True)], axis=0)
    enough = (known >= LEAST) & (np.diff(np.r_[firsts, students]) >= LEAST)[:, None]
    index = np.cumsum(np.r_[0, (cohort[1:] != cohort[:-1]).astype(np.int64)])
    effect = np.where(enough, found, 0)[index].T.astype(kind)
    variance = np.where(enough, left, prior.share)[index].T.astype(kind)
    return effect, variance
