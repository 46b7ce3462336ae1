"""Estimates the difficulty of each form (version of a test) from the scores of a cohort. Estimates no rate of growth.

This file exceeds 250 lines so that the covariance of one series and the evidence of a cohort stay together.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from app.response.rules.monitor.model import Array, Prior, Weeks

MIN_COHORT = 5
"""The minimum number of students from whose scores the difficulty of a form is estimated.

Each student then has at least four classmates.
"""

COMMON_LEVEL = 2.0
"""The assumed standard deviation of the level that the students of a cohort have in common, in SEM."""

COMMON = np.array([(0.15, 0.0, 1.0), (0.15, 0.3, 1.0), (0.6, 0.0, 0.15)])
"""Three assumptions about what the students of a cohort have in common.

Each assumption has three numbers: the standard deviation of the students' common rate, the standard deviation of the
weekly change of this rate (both in g), and the variance of a form's effect as a multiple of `Prior.share`.

The second assumption allows the growth of the whole cohort to change, which is rare. In the third one, the forms are
nearly alike and the cohort may grow slowly, so that slow growth of all students is not mistaken for hard forms.
"""

CHANCE = np.array([0.8, 0.1, 0.1])[:, None, None]
"""The prior probabilities of the assumptions in COMMON."""


CLIP = 3.0
"""The limit, in standard errors, for the distance of a score from the value that the student's other scores predict.

A larger distance is reduced to this limit.
"""

WILD = 4
"""The maximum number of scores of a series that are clipped."""

Some = NDArray[np.int64] | slice
"""The indices of some students in an array."""


@lru_cache(maxsize=64)
def path_moments(weeks: int, prior: Prior) -> tuple[Array, Array]:
    """Returns the mean and the covariance of a student's growth from week 0 to each week, up to `weeks`.

    They hold for a student whose required rate is 1. For a required rate g, the mean is multiplied by g and the
    covariance by g^2.
    """
    t, last = np.arange(weeks + 1.0), max(weeks, 1)
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


@lru_cache(maxsize=64)
def _design(grown: bytes, own: bytes, prior: Prior) -> tuple[Array, Array, Array]:
    """Returns three matrices with which the covariance of a student's scores can be inverted quickly.

    The covariance is C + g^2 S, where g is the required rate. C is due to the errors and to the random weekly changes
    of the true score. S is due to the uncertain growth, at a required rate of 1. The inverse is V diag(1 / (1 + g^2 e))
    V'. V and e do not depend on g: V'CV is the identity matrix, and V'SV is diag(e).

    The results are V, e, and a copy of V with two more rows: the sums of the columns of V, and zeros.

    `grown` has the weeks since the start (int64), and `own` the variances of the errors (float64). Both are given as
    bytes, because the results are cached.
    """
    weeks, errors = np.frombuffer(grown, np.int64), np.frombuffer(own)
    spread = path_moments(int(weeks.max()), prior)[1][weeks[:, None], weeks]
    left = np.linalg.inv(np.linalg.cholesky(prior.wobble**2 * np.minimum.outer(weeks, weeks) + np.diag(errors)))
    e, turned = np.linalg.eigh(left @ spread @ left.T)
    v = left.T @ turned
    return v, np.maximum(e, 0), np.vstack([v, v.sum(axis=0), np.zeros(len(v))])


class Paths:
    """The scores of all students, with the inverse of their covariance under the monitor's Gaussian model of growth.

    A form is a version of a test. A slot is one form in one week; each student has at most one score in it.

    * `values` (slots, students) has the scores. They may be filled in slot by slot: the scores of a slot must be there
      only when `upto` includes the slot. In all other arrays, the first axis is the students.
    * `alone` (students,) is true if the difficulty of the forms is not estimated for a student. For such a student, the
      difficulty is treated as a part of the error.
    * `inverse` (students, slots, slots) is zero for slots without a score, apart from rounding errors.
    """

    def __init__(
        self,
        times: Weeks,
        values: Array,
        g: Array,
        start: tuple[Array, Array],
        began: Weeks,
        alone: NDArray[np.bool_] | None = None,
    ) -> None:
        self.times, self.values, self.g, self.start, self.began = times, values, g, start, began
        self.alone = np.zeros(len(g), np.bool_) if alone is None else alone
        self.inverse: Array = np.zeros((len(g), 0, 0))
        self.has_score = np.zeros((len(g), 0), np.bool_)
        # Students are grouped by equal weeks and errors, whatever scores they missed; there is nearly always one group.
        group = 2 * began + self.alone
        self.groups: list[Some] = [slice(None)]
        if (group != group[:1]).any():
            self.groups = [np.flatnonzero(group == value) for value in np.unique(group)]

    def upto(self, slots: int, own: Array, prior: Prior, form: Array | float = 0.0) -> Array:
        """Computes `inverse` for the first `slots` slots, and returns the distance of each score from its expectation.

        A slot is one form (version of a test) in one week. The expectation is the starting level plus the growth that
        the model expects. The result has the shape (students, slots), with 0 where there is no score. `own` (slots,)
        has the variance of the error in each slot, without the form's effect. `form` is the variance of the form's
        effect.
        """
        values, included, previous = self.values[:slots].T, self.inverse.shape[1], self.inverse
        self.has_score = ~np.isnan(values)
        if included < slots and (included or len(self.groups) > 1):
            self.inverse = np.zeros((len(self.g), slots, slots))
            self.inverse[:, :included, :included] = previous
        surprise = np.zeros(values.shape)
        for group in self.groups:
            began, alone = self.began[group][:1], self.alone[group][:1].any()
            grown = np.maximum(self.times[:slots] - began, 0)
            mean, spread = path_moments(int(grown.max(initial=0)), prior)
            errors = np.ascontiguousarray((own + form if alone else own)[:slots])
            g, (level, variance) = self.g[group][:, None], (part[group][:, None] for part in self.start)
            if not included and slots:
                at_once = self._each if len(g) < MIN_COHORT else self._at_once
                inverse = at_once(grown, errors, g, variance, self.has_score[group], prior)
                if len(self.groups) > 1:
                    self.inverse[group] = inverse
                else:
                    self.inverse = inverse
            for t in range(included, slots) if included else ():
                covariance = g**2 * spread[grown[: t + 1], grown[t]] + variance
                covariance += prior.wobble**2 * np.minimum(grown[: t + 1], grown[t])
                covariance[:, t] += errors[t]
                self._grow(group, t, covariance)
            surprise[group] = values[group] - level - g * mean[grown]
        return np.where(self.has_score, surprise, 0)

    @staticmethod
    def _at_once(
        grown: Weeks, own: Array, g: Array, variance: Array, has_score: NDArray[np.bool_], prior: Prior
    ) -> Array:
        """Returns the inverse covariance matrix of each student's scores, computed for all students together.

        `Paths.upto` calls this for the first scores. The covariance would be the same for all students, except for two
        things. A student's level is unknown: its variance is added to every element of the matrix. And scores may be
        missing: a missing score counts as one of infinite variance. Both are applied to the common inverse by the
        matrix inversion lemma, so that only a small matrix is inverted for each student.
        """
        v, e, rows_of = _design(grown.tobytes(), own.tobytes(), prior)
        part = 1 / (1 + g**2 * e)
        number = len(v) - has_score.sum(axis=1)
        most_gaps = int(number.max(initial=0))
        # The rows are the level and then each gap; students with fewer gaps than others get empty rows for the rest.
        gap_indices = np.full((len(has_score), most_gaps + 1), len(v))
        gap_indices[:, 1:] = np.argsort(has_score, axis=1, kind="stable")[:, :most_gaps]
        spare = np.arange(most_gaps + 1) > number[:, None]
        gap_indices[spare] = len(v) + 1
        gaps = rows_of[gap_indices]
        weighted_gaps = gaps * part[:, None, :]
        block = weighted_gaps @ gaps.swapaxes(1, 2)
        diagonal = block.reshape(len(block), -1)[:, :: most_gaps + 2]
        diagonal += spare
        diagonal[:, 0] += 1 / variance[:, 0]
        rows = weighted_gaps @ v.T
        inverse: Array = (part[:, None, :] * v) @ v.T
        inverse -= rows.swapaxes(1, 2) @ (np.linalg.inv(block) @ rows)
        return inverse

    @staticmethod
    def _each(grown: Weeks, own: Array, g: Array, variance: Array, has_score: NDArray[np.bool_], prior: Prior) -> Array:
        """Returns the inverse covariance matrix of each student's scores by inverting one matrix for each student.

        The result is the same as that of `_at_once`. This function is faster if only a few students have scores in the
        same weeks.
        """
        spread = path_moments(int(grown.max()), prior)[1]
        covariance = (g**2)[:, :, None] * spread[grown[:, None], grown] + variance[:, :, None]
        covariance += prior.wobble**2 * np.minimum.outer(grown, grown)
        covariance *= has_score[:, :, None] & has_score[:, None, :]
        at = np.arange(len(grown))
        covariance[:, at, at] += np.where(has_score, own, 1)
        inverse = np.linalg.inv(covariance)
        inverse[:, at, at] *= has_score
        return np.asarray(inverse)

    def _grow(self, group: Some, t: int, covariance: Array) -> None:
        """Extends the inverse covariance matrices `self.inverse` of a group of students by the score in slot `t`.

        A slot is one form (version of a test) in one week. `covariance` has the covariances of this score with all
        scores up to it. Each matrix gets one more row and column, and the rest of it is changed by a matrix of rank
        one.
        """
        has_score, past = self.has_score[group], self.inverse[group, :t, :t]
        covariances = covariance[:, :t] * has_score[:, :t]
        projected = (past @ covariances[:, :, None])[:, :, 0]
        weight = np.where(has_score[:, t], 1 / (covariance[:, t] - (projected * covariances).sum(axis=1)), 0)[:, None]
        part = projected * weight
        self.inverse[group, :t, :t] = past + projected[:, :, None] * part[:, None, :]
        self.inverse[group, :t, t] = self.inverse[group, t, :t] = -part
        self.inverse[group, t, t] = weight[:, 0]

    def weighted(self, surprise: Array) -> Array:
        """Returns the inverse covariance times `surprise`, which is the distance of each score from its expectation.

        The result has the shape (students, slots). A slot is one form (version of a test) in one week.
        """
        return np.asarray((self.inverse @ surprise[:, :, None])[:, :, 0])

    def clipped(
        self, surprise: Array, form: Array | float, only: NDArray[np.bool_] | None = None
    ) -> tuple[Array, Array]:
        """Returns `surprise` with outliers clipped, and the inverse covariance times this new surprise.

        `surprise` is the distance of each score from its expectation. An outlier is a score that is further than CLIP
        standard errors from the value that the student's other scores predict; its distance is reduced to CLIP. The
        worst outlier is clipped first, so that it does not make other scores look like outliers.

        Forms (versions of the test) differ in difficulty; `form` is the variance of this difference, for each score.
        Only the students whom `only` marks are clipped and returned; by default, all students are.
        """
        inverse = self.inverse if only is None else self.inverse[only]
        own = np.maximum(inverse.diagonal(axis1=1, axis2=2), 1e-12)
        limit = CLIP * np.sqrt(1 / own + form)
        weighted, surprise = (inverse @ surprise[:, :, None])[:, :, 0], surprise.copy()
        deviation, rows = weighted / own, np.arange(len(surprise))
        for _ in range(WILD):
            ratio = np.abs(deviation)
            ratio /= limit[rows] if len(rows) < len(limit) else limit
            outlying = np.flatnonzero(ratio.max(axis=1) > 1 + 1e-9)
            if not len(outlying):
                break
            worst = ratio[outlying].argmax(axis=1)
            rows, deviation = rows[outlying], deviation[outlying, worst]
            excess = (deviation - np.copysign(limit[rows, worst], deviation))[:, None]
            surprise[rows, worst] -= excess[:, 0]
            weighted[rows] -= excess * inverse[rows, worst]
            deviation = weighted[rows] / own[rows]
        return surprise, weighted


@dataclass(frozen=True, slots=True)
class Cohorts:
    """The division of students into cohorts. The students of a cohort are adjacent in all arrays.

    `first` has the index of the first student of each cohort, and `index` has the index of each student's cohort.
    """

    first: NDArray[np.int64]
    index: NDArray[np.int64]
    size: NDArray[np.int64]

    @classmethod
    def of(cls, cohort: NDArray[np.int64]) -> Cohorts:
        """Returns the cohorts. `cohort[i]` is the number that identifies the cohort of student i; equal numbers are
        adjacent.
        """
        if len(cohort) and cohort[0] == cohort[-1]:
            return cls(np.zeros(1, np.int64), np.zeros(len(cohort), np.int64), np.array([len(cohort)]))
        new = np.ones(len(cohort), np.bool_)
        np.not_equal(cohort[1:], cohort[:-1], out=new[1:])
        first = np.flatnonzero(new)
        return cls(first, new.cumsum() - 1, np.diff(first, append=len(cohort)))

    def sums(self, values: Array) -> Array:
        """Returns the sums of `values` over the students of each cohort.

        The first axis of the result has the cohorts in place of the students.
        """
        if len(self.first) == 1:
            return np.asarray(values.sum(axis=0, keepdims=True))
        if len(self.first) and (self.size == self.size[0]).all():
            return np.asarray(values.reshape(len(self.first), -1, *values.shape[1:]).sum(axis=1))
        return np.asarray(np.add.reduceat(values, self.first, axis=0))


@lru_cache(maxsize=64)
def _common_covariance(times: bytes, share: float) -> tuple[Array, Array, Array]:
    """Returns the covariances that are assumed for influences on a whole cohort before there is any score.

    A slot is one form (version of a test) in one week. A matrix has a row and a column for each slot. The first two
    results have one matrix for each of the assumptions that `COMMON` lists. The three results are:

    * the covariances due to the difficulty of the forms and to the level that all students of the cohort share;
    * the covariances due to the growth that all students of the cohort share, at a required rate of 1. For a required
      rate g, they are multiplied by g^2;
    * one identity matrix of the same size.

    `times` has the week of each slot, as bytes, because the results are cached. `share` is the variance of a form's
    effect.
    """
    t = np.frombuffer(times, np.int64).astype(float)
    late = np.maximum(t - np.arange(max(t[-1], 1))[:, None], 0)
    risen, turned, own = np.outer(t, t), late.T @ late, np.eye(len(t))
    forms = np.stack([COMMON_LEVEL**2 + share * part * own for _, _, part in COMMON])
    growth = np.stack([rate**2 * risen + turn**2 * turned for rate, turn, _ in COMMON])
    return forms[:, None], growth[:, None], own


def _solve(a: Array, b: Array, common: Array, own: Array, share: Array) -> tuple[Array, Array, Array]:
    """Estimates how difficult the forms (versions of the test) were for each cohort, under each assumption in `COMMON`.

    `COMMON` lists assumptions about the level and the growth that all students of a cohort share. Returns the effects
    of the forms, their variances, and the log probability of the scores. With K = I + A C, the effects are `share` K^-1
    `b`, where I is `own`, A is `a`, and C is `common`.

    * `a` has the sum of the inverse covariances of the cohort's students, and `b` the sum of their weighted scores.
    * `common` (assumptions, cohorts, slots, slots) has the assumed covariances due to form effects and shared growth.
    * `own` is the identity matrix, and `share` the variance of a form's effect.
    """
    k = a @ common + own
    inverse, size = np.linalg.inv(k), np.linalg.slogdet(k)[1]
    solution = (inverse @ b[:, :, None])[..., 0]
    remaining = share - share**2 * (inverse * a.swapaxes(1, 2)).sum(axis=-1)
    projected = (common @ solution[..., None])[..., 0]
    return share * solution, np.clip(remaining, 0, share), 0.5 * ((b * projected).sum(axis=-1) - size)


def form_effects(paths: Paths, weighted: Array, cohorts: Cohorts, prior: Prior) -> tuple[Array, Array]:
    """Returns how difficult the form of each slot was for each student's cohort, and the variances of these estimates.

    A slot is one form (version of a test) in one week. The difficulty (effect) is in SEM, and its variance in SEM^2
    (squared standard errors of measurement). Both arrays have the shape (students, slots). `weighted` (students, slots)
    has the distances of the scores from their expectation, multiplied by the inverse covariance of each student's
    scores (`Paths.weighted`).

    * A form is difficult if the scores of the whole cohort are lower than their expectation. The inverse covariance
      says how much each score counts. With few or noisy scores, the estimate is closer to 0.
    * What the whole cohort has in common from week to week (its level, its growth, a change of its growth) is not
      attributed to the forms. If a whole group stops growing, this remains visible.
    * In a cohort of fewer than five students, or in a slot of fewer than five scores, the estimate is 0, and its
      variance is the whole variance of a form's effect.
    """
    if prior.share <= 0 or int(cohorts.size.max(initial=0)) < MIN_COHORT:
        return np.zeros_like(weighted), np.full_like(weighted, prior.share)
    slots = weighted.shape[1]
    a, b = cohorts.sums(paths.inverse[:, :slots, :slots]), cohorts.sums(weighted)
    scores_in_slot = cohorts.sums(paths.has_score[:, :slots].astype(float))
    g = cohorts.sums(paths.g) / cohorts.size
    times = paths.times[:slots]
    still, moving, own = _common_covariance((times - times[0]).tobytes(), prior.share)
    shares = (prior.share * COMMON[:, 2])[:, None, None]
    effects, spread, evidence = _solve(a, b, still + (g * g)[:, None, None] * moving, own, shares)
    odds = np.exp(evidence - evidence.max(axis=0))[:, :, None] * CHANCE
    odds /= odds.sum(axis=0)
    mixed = (odds * effects).sum(axis=0)
    mixed_variance = (odds * (spread + (effects - mixed) ** 2)).sum(axis=0)
    enough = (scores_in_slot >= MIN_COHORT) & (cohorts.size >= MIN_COHORT)[:, None]
    effect, variance = np.where(enough, mixed, 0), np.where(enough, mixed_variance, prior.share)
    return effect[cohorts.index], variance[cohorts.index]
