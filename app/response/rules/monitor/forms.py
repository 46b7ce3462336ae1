"""Owns form adjustment: how hard each form was for a cohort, from its scores up to a week. Never a rate.

Over 250 lines, so that what one series' scores say of each other and what a cohort's say of a form stand together.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from app.response.rules.monitor.model import Array, Prior, Weeks

LEAST = 5
"""A form's difficulty is estimated from at least four classmates beside the student."""

COMMON_LEVEL, COMMON_RATE = 2.0, 0.15
"""What a cohort may have in common that is no form: SD of its level in SEM and of its rate in g."""

TURNS = ((0.0, 0.9), (0.3, 0.1))
"""SD of the weekly turn of the cohort's common rate, in g, with its prior probability: few groups turn as one."""

CHANCE = np.array([part for _, part in TURNS])[:, None, None]


CLIP = 3.0
"""A score further than this many standard errors from what the student's others say counts as no further."""

WILD = 4
"""So many scores of a series can count as wild."""

Some = NDArray[np.int64] | slice
"""Which students of an array."""


@lru_cache(maxsize=64)
def path_moments(weeks: int, prior: Prior) -> tuple[Array, Array]:
    """Mean (in g) and covariance (in g^2) of a student's gain since week 0, over weeks 0 to `weeks`."""
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
    """What scores' weeks and errors say of their covariance, whatever the goal: V, e, and the rows of V, V'1 and 0.

    grown: weeks since the start, int64; own: variances of the errors. With C the covariance that the wobble and the
    errors bring, and g^2 S what growth brings, V diag(1 / (1 + g^2 e)) V' is the inverse of g^2 S + C for every g,
    where V'CV = 1 and V'SV = diag(e): the generalised symmetric eigenproblem, by a Cholesky factor of C.
    """
    weeks, errors = np.frombuffer(grown, np.int64), np.frombuffer(own)
    spread = path_moments(int(weeks.max()), prior)[1][weeks[:, None], weeks]
    left = np.linalg.inv(np.linalg.cholesky(prior.wobble**2 * np.minimum.outer(weeks, weeks) + np.diag(errors)))
    e, turned = np.linalg.eigh(left @ spread @ left.T)
    v = left.T @ turned
    return v, np.maximum(e, 0), np.vstack([v, v.sum(axis=0), np.zeros(len(v))])


class Paths:
    """Every student's scores under the monitor's own Gaussian model of paths: the inverse of their covariance.

    Students come first in all but `values`, (slots, students), which may be filled in until a slot is taken in. alone:
    (students,), whose forms are part of the errors; with others their share is taken off. inverse: (students, slots,
    slots), zero but for rounding where there is no score.
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
        self.seen = np.zeros((len(g), 0), np.bool_)
        # Who shares the weeks and the errors of the scores, whatever was missed: nearly always all.
        kind = 2 * began + self.alone
        self.kinds: list[Some] = [slice(None)]
        if (kind != kind[:1]).any():
            self.kinds = [np.flatnonzero(kind == one) for one in np.unique(kind)]

    def upto(self, slots: int, own: Array, prior: Prior, form: Array | float = 0.0) -> Array:
        """Takes the scores up to that slot in; gives their surprise, (students, slots), 0 where there is none.

        own: (slots,), variance of each slot's error but for the form's, which is `form`.
        """
        values, known, before = self.values[:slots].T, self.inverse.shape[1], self.inverse
        self.seen = ~np.isnan(values)
        if known < slots and (known or len(self.kinds) > 1):
            self.inverse = np.zeros((len(self.g), slots, slots))
            self.inverse[:, :known, :known] = before
        surprise = np.zeros(values.shape)
        for some in self.kinds:
            began, alone = self.began[some][:1], self.alone[some][:1].any()
            grown = np.maximum(self.times[:slots] - began, 0)
            mean, spread = path_moments(int(grown.max(initial=0)), prior)
            errors = np.ascontiguousarray((own + form if alone else own)[:slots])
            g, (level, variance) = self.g[some][:, None], (part[some][:, None] for part in self.start)
            if not known and slots:
                at_once = self._each if len(g) < LEAST else self._at_once
                inverse = at_once(grown, errors, g, variance, self.seen[some], prior)
                if len(self.kinds) > 1:
                    self.inverse[some] = inverse
                else:
                    self.inverse = inverse
            for t in range(known, slots) if known else ():
                covariance = g**2 * spread[grown[: t + 1], grown[t]] + variance
                covariance += prior.wobble**2 * np.minimum(grown[: t + 1], grown[t])
                covariance[:, t] += errors[t]
                self._grow(some, t, covariance)
            surprise[some] = values[some] - level - g * mean[grown]
        return np.where(self.seen, surprise, 0)

    @staticmethod
    def _at_once(grown: Weeks, own: Array, g: Array, variance: Array, seen: NDArray[np.bool_], prior: Prior) -> Array:
        """The first scores together: what all students share, less one block for each student's level and gaps.

        An open level adds v 11' to a covariance, and a missed score is one with a variance without end; both come
        into the inverse by the matrix inversion lemma.
        """
        v, e, rows_of = _design(grown.tobytes(), own.tobytes(), prior)
        part = 1 / (1 + g**2 * e)
        number = len(v) - seen.sum(axis=1)
        most = int(number.max(initial=0))
        # The level, then each gap; who has fewer gaps than others has empty rows for the rest.
        which = np.full((len(seen), most + 1), len(v))
        which[:, 1:] = np.argsort(seen, axis=1, kind="stable")[:, :most]
        spare = np.arange(most + 1) > number[:, None]
        which[spare] = len(v) + 1
        gaps = rows_of[which]
        told = gaps * part[:, None, :]
        block = told @ gaps.swapaxes(1, 2)
        diagonal = block.reshape(len(block), -1)[:, :: most + 2]
        diagonal += spare
        diagonal[:, 0] += 1 / variance[:, 0]
        rows = told @ v.T
        inverse: Array = (part[:, None, :] * v) @ v.T
        inverse -= rows.swapaxes(1, 2) @ (np.linalg.inv(block) @ rows)
        return inverse

    @staticmethod
    def _each(grown: Weeks, own: Array, g: Array, variance: Array, seen: NDArray[np.bool_], prior: Prior) -> Array:
        """As `_at_once`, one inversion a student: the faster where hardly anybody shares the weeks."""
        spread = path_moments(int(grown.max()), prior)[1]
        covariance = (g**2)[:, :, None] * spread[grown[:, None], grown] + variance[:, :, None]
        covariance += prior.wobble**2 * np.minimum.outer(grown, grown)
        covariance *= seen[:, :, None] & seen[:, None, :]
        at = np.arange(len(grown))
        covariance[:, at, at] += np.where(seen, own, 1)
        inverse = np.linalg.inv(covariance)
        inverse[:, at, at] *= seen
        return np.asarray(inverse)

    def _grow(self, some: Some, t: int, covariance: Array) -> None:
        """One score more: what is there grows by a term of rank one, a row and a column."""
        seen, past = self.seen[some], self.inverse[some, :t, :t]
        before = covariance[:, :t] * seen[:, :t]
        told = (past @ before[:, :, None])[:, :, 0]
        weight = np.where(seen[:, t], 1 / (covariance[:, t] - (told * before).sum(axis=1)), 0)[:, None]
        part = told * weight
        self.inverse[some, :t, :t] = past + told[:, :, None] * part[:, None, :]
        self.inverse[some, :t, t] = self.inverse[some, t, :t] = -part
        self.inverse[some, t, t] = weight[:, 0]

    def weighted(self, surprise: Array) -> Array:
        """The inverse covariance times that, (students, slots)."""
        return np.asarray((self.inverse @ surprise[:, :, None])[:, :, 0])

    def clipped(
        self, surprise: Array, form: Array | float, only: NDArray[np.bool_] | None = None
    ) -> tuple[Array, Array]:
        """The surprise, with no score further off than CLIP standard errors from what the student's others say.

        The worst first, so that it does not throw suspicion on the others. Beside it the inverse covariance times
        that. form: variance of each score's form effect. only: whose they are, where that is not all.
        """
        inverse = self.inverse if only is None else self.inverse[only]
        own = np.maximum(inverse.diagonal(axis1=1, axis2=2), 1e-12)
        most = CLIP * np.sqrt(1 / own + form)
        told, surprise = (inverse @ surprise[:, :, None])[:, :, 0], surprise.copy()
        off, rows = told / own, np.arange(len(surprise))
        for _ in range(WILD):
            over = np.abs(off)
            over /= most[rows] if len(rows) < len(most) else most
            far = np.flatnonzero(over.max(axis=1) > 1 + 1e-9)
            if not len(far):
                break
            worst = over[far].argmax(axis=1)
            rows, off = rows[far], off[far, worst]
            less = (off - np.copysign(most[rows, worst], off))[:, None]
            surprise[rows, worst] -= less[:, 0]
            told[rows] -= less * inverse[rows, worst]
            off = told[rows] / own[rows]
        return surprise, told


@dataclass(frozen=True, slots=True)
class Cohorts:
    """Students of one cohort stand side by side: `first` is where each begins, `index` each student's cohort."""

    first: NDArray[np.int64]
    index: NDArray[np.int64]
    size: NDArray[np.int64]

    @classmethod
    def of(cls, cohort: NDArray[np.int64]) -> Cohorts:
        if len(cohort) and cohort[0] == cohort[-1]:
            return cls(np.zeros(1, np.int64), np.zeros(len(cohort), np.int64), np.array([len(cohort)]))
        new = np.ones(len(cohort), np.bool_)
        np.not_equal(cohort[1:], cohort[:-1], out=new[1:])
        first = np.flatnonzero(new)
        return cls(first, new.cumsum() - 1, np.diff(first, append=len(cohort)))

    def sums(self, values: Array) -> Array:
        """Sums over the students of each cohort, who are the first axis; the cohorts are the first axis then."""
        if len(self.first) == 1:
            return np.asarray(values.sum(axis=0, keepdims=True))
        if len(self.first) and (self.size == self.size[0]).all():
            return np.asarray(values.reshape(len(self.first), -1, *values.shape[1:]).sum(axis=1))
        return np.asarray(np.add.reduceat(values, self.first, axis=0))


@lru_cache(maxsize=64)
def _common(times: bytes, share: float) -> tuple[Array, Array, Array]:
    """The prior covariance of a form's effect and of what a cohort has in common, by slot: what is the same for all
    cohorts, and what its growth brings for each of TURNS, in g^2. And the identity."""
    t = np.frombuffer(times, np.int64).astype(float)
    late = np.maximum(t - np.arange(max(t[-1], 1))[:, None], 0)
    moving, turned, own = COMMON_RATE**2 * np.outer(t, t), late.T @ late, np.eye(len(t))
    return COMMON_LEVEL**2 + share * own, np.stack([moving + turn**2 * turned for turn, _ in TURNS])[:, None], own


def _solved(a: Array, b: Array, common: Array, own: Array, share: float) -> tuple[Array, Array, Array]:
    """Cohorts' form effects and their variances under each turn of their growth, and the log evidence for it.

    common: the prior covariance of a form's effect and of what the cohort has in common, (turns, cohorts, slots,
    slots). With K = 1 + a common, of scores' information a, the effects are share K^-1 b.
    """
    k = a @ common + own
    inverse, size = np.linalg.inv(k), np.linalg.slogdet(k)[1]
    told = (inverse @ b[:, :, None])[..., 0]
    left = share - share**2 * (inverse * a.swapaxes(1, 2)).sum(axis=-1)
    meant = (common @ told[..., None])[..., 0]
    return share * told, np.clip(left, 0, share), 0.5 * ((b * meant).sum(axis=-1) - size)


def form_effects(paths: Paths, told: Array, cohorts: Cohorts, prior: Prior) -> tuple[Array, Array]:
    """Each slot's difficulty for each student's cohort and its variance, (students, slots), in SEM and SEM^2.

    told: the inverse covariance times the scores' surprise, (students, slots). A slot is a form in a week. Each
    student's path is Gaussian with the monitor's own mean and covariance, so the weight of a score is known exactly;
    the sum over the cohort is the best linear estimate of the form's effect, shrunk by its variance. What the whole
    cohort has in common from week to week (its level, its growth, a turn of its growth) stays in the scores: a group
    that stalls is not explained away. Cohorts under five students, and slots under five scores, are left as they are,
    with the whole variance of the form.
    """
    if prior.share <= 0 or int(cohorts.size.max(initial=0)) < LEAST:
        return np.zeros_like(told), np.full_like(told, prior.share)
    slots = told.shape[1]
    a, b = cohorts.sums(paths.inverse[:, :slots, :slots]), cohorts.sums(told)
    known = cohorts.sums(paths.seen[:, :slots].astype(float))
    g = cohorts.sums(paths.g) / cohorts.size
    times = paths.times[:slots]
    still, moving, own = _common((times - times[0]).tobytes(), prior.share)
    every, spread, evidence = _solved(a, b, still + (g * g)[:, None, None] * moving, own, prior.share)
    odds = np.exp(evidence - evidence.max(axis=0))[:, :, None] * CHANCE
    odds /= odds.sum(axis=0)
    found = (odds * every).sum(axis=0)
    left = (odds * (spread + (every - found) ** 2)).sum(axis=0)
    enough = (known >= LEAST) & (cohorts.size >= LEAST)[:, None]
    effect, variance = np.where(enough, found, 0), np.where(enough, left, prior.share)
    return effect[cohorts.index], variance[cohorts.index]
