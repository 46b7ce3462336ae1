"""Owns form adjustment: how hard each form was for a cohort, from its scores up to a week. Never a rate."""

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

MANY = 64
"""From so many students on, an inverse that grows score by score costs less than one inversion for each."""


@lru_cache(maxsize=256)
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


class Paths:
    """Every student's scores under the monitor's own Gaussian model of paths: the inverse of their covariance.

    It grows score by score, so that each week costs no more than its own scores. Form effects are not in it where
    their share is taken off the noise. inverse: (slots, slots, students), zero where there is no score.
    """

    def __init__(self, times: Weeks, values: Array, g: Array, start: tuple[Array, Array], began: Weeks) -> None:
        same = bool((began == began[0]).all()) if len(began) else True
        self.grown = np.maximum(times[:, None] - (began[:1] if same else began), 0)
        self.values, self.g, self.start = values, g, start
        self.seen = np.zeros(values.shape, np.bool_)
        self.inverse = np.zeros((len(times), len(times), values.shape[1]))
        self.known = 0

    def upto(self, slots: int, own: Array, prior: Prior) -> Array:
        """Takes the scores up to that slot in; gives their surprise, (slots, students), 0 where there is none."""
        self.seen[self.known : slots] = ~np.isnan(self.values[self.known : slots])
        grown, seen, g2, v = self.grown, self.seen, self.g**2, self.start[1]
        mean, spread = path_moments(int(grown.max(initial=0)), prior)
        if not self.known and len(self.g) < MANY:
            self._at_once(slots, own, spread, prior)
        for t in range(self.known, slots):
            cov = g2 * spread[grown[: t + 1], grown[t]] + prior.wobble**2 * np.minimum(grown[: t + 1], grown[t]) + v
            whole, cov = cov[t] + own[t], cov[:t] * seen[:t]
            past = self.inverse[:t, :t]
            told = np.einsum("jks,ks->js", past, cov)
            weight = np.where(seen[t], 1 / (whole - np.einsum("ks,ks->s", told, cov)), 0)
            part = told * weight
            past += told[:, None] * part[None]
            self.inverse[:t, t] = self.inverse[t, :t] = -part
            self.inverse[t, t] = weight
        self.known = max(self.known, slots)
        expected = self.start[0] + self.g * mean[grown[:slots]]
        return np.where(seen[:slots], self.values[:slots] - expected, 0)

    def _at_once(self, slots: int, own: Array, spread: Array, prior: Prior) -> None:
        """The first scores together: one inversion a student."""
        grown, seen = self.grown[:slots].T, self.seen[:slots].T
        one, other = grown[:, :, None], grown[:, None, :]
        cov = (self.g**2)[:, None, None] * spread[one, other] + prior.wobble**2 * np.minimum(one, other)
        cov += self.start[1][:, None, None]
        cov *= seen[:, :, None] & seen[:, None, :]
        at = np.arange(slots)
        cov[:, at, at] += np.where(seen, own[:slots].T, 1)
        inverse = np.linalg.inv(cov)
        inverse[:, at, at] *= seen
        self.inverse[:slots, :slots] = np.moveaxis(inverse, 0, -1)
        self.known = slots

    def weighted(self, surprise: Array) -> Array:
        """The inverse covariance times that, (slots, students)."""
        slots = len(surprise)
        return np.asarray(np.einsum("jks,ks->js", self.inverse[:slots, :slots], surprise))

    def clipped(self, surprise: Array, form: Array, only: NDArray[np.bool_] | None = None) -> Array:
        """The surprise, with no score further off than CLIP standard errors from what the student's others say.

        The worst first, so that it does not throw suspicion on the others. form: variance of each score's form
        effect, (slots, students). only: whose surprise and forms these are, where that is not all.
        """
        slots, surprise = len(surprise), surprise.copy()
        inverse, rows = self.inverse[:slots, :slots], np.arange(surprise.shape[1])
        inverse = inverse if only is None else inverse[:, :, only]
        own = np.maximum(np.einsum("tts->ts", inverse), 1e-12)
        most = CLIP * np.sqrt(1 / own + form)
        for _ in range(WILD):
            off = np.einsum("jks,ks->js", inverse, surprise[:, rows]) / own
            worst, each = (np.abs(off) / most).argmax(axis=0), np.arange(len(rows))
            far, limit = off[worst, each], most[worst, each]
            some = np.abs(far) > limit * (1 + 1e-9)
            if not some.any():
                break
            rows, worst = rows[some], worst[some]
            surprise[worst, rows] -= far[some] - np.copysign(limit[some], far[some])
            inverse, own, most = inverse[:, :, some], own[:, some], most[:, some]
        return surprise


@dataclass(frozen=True, slots=True)
class Cohorts:
    """Students of one cohort stand side by side: `first` is where each begins, `index` each student's cohort."""

    first: NDArray[np.int64]
    index: NDArray[np.int64]
    size: NDArray[np.int64]

    @classmethod
    def of(cls, cohort: NDArray[np.int64]) -> Cohorts:
        new = np.ones(len(cohort), np.bool_)
        np.not_equal(cohort[1:], cohort[:-1], out=new[1:])
        first = np.flatnonzero(new)
        return cls(first, new.cumsum() - 1, np.diff(first, append=len(cohort)))

    def sums(self, values: Array) -> Array:
        """Sums over the students of each cohort, who are the last axis; the cohorts are the last axis then."""
        if (self.size == self.size[0]).all():
            return np.asarray(values.reshape(*values.shape[:-1], len(self.first), -1).sum(axis=-1))
        return np.asarray(np.add.reduceat(values, self.first, axis=-1))


@lru_cache(maxsize=256)
def _drift(times: tuple[int, ...]) -> tuple[Array, Array]:
    """The covariance that a cohort's common growth brings, in g^2, for each of TURNS; and the identity."""
    t = np.array(times, float)
    late = np.maximum(t - np.arange(max(times[-1], 1))[:, None], 0)
    moving, turned = COMMON_RATE**2 * np.outer(t, t), late.T @ late
    return np.stack([moving + turn**2 * turned for turn, _ in TURNS]), np.eye(len(t))


def _solved(a: Array, b: Array, common: Array, own: Array, share: float) -> tuple[Array, Array, Array]:
    """Cohorts' form effects and their variances under each turn of their growth, and the log evidence for it.

    common: the prior covariance of a form's effect and of what the cohort has in common, (turns, cohorts, slots,
    slots). With K = 1 + a common, of scores' information a, the effects are share K^-1 b.
    """
    k = a @ common + own
    inverse, size = np.linalg.inv(k), np.linalg.slogdet(k)[1]
    told = (inverse @ b[:, :, None])[..., 0]
    left = share - share**2 * np.einsum("tcij,cji->tci", inverse, a)
    meant = (common @ told[..., None])[..., 0]
    return share * told, np.clip(left, 0, share), 0.5 * ((b * meant).sum(axis=-1) - size)


def form_effects(paths: Paths, times: Weeks, surprise: Array, cohorts: Cohorts, prior: Prior) -> tuple[Array, Array]:
    """Each slot's difficulty for each student's cohort and its variance, (slots, students), in SEM and SEM^2.

    A slot is a form in a week. Each student's path is Gaussian with the monitor's own mean and covariance, so the
    weight of a score is known exactly; the sum over the cohort is the best linear estimate of the form's effect,
    shrunk by its variance. What the whole cohort has in common from week to week (its level, its growth, a turn of
    its growth) stays in the scores: a group that stalls is not explained away. Cohorts under five students, and slots
    under five scores, are left as they are, with the whole variance of the form.
    """
    slots = len(surprise)
    variance = np.full_like(surprise, prior.share)
    if prior.share <= 0 or int(cohorts.size.max(initial=0)) < LEAST:
        return np.zeros_like(surprise), variance
    a = np.moveaxis(cohorts.sums(paths.inverse[:slots, :slots]), -1, 0)
    b = cohorts.sums(paths.weighted(surprise)).T
    known = cohorts.sums(paths.seen[:slots].astype(float)).T
    g = cohorts.sums(paths.g) / cohorts.size
    moving, own = _drift(tuple((times[:slots] - times[0]).tolist()))
    common = COMMON_LEVEL**2 + prior.share * own + (g * g)[:, None, None] * moving[:, None]
    every, spread, evidence = _solved(a, b, common, own, prior.share)
    odds = np.exp(evidence - evidence.max(axis=0))[:, :, None] * CHANCE
    odds /= odds.sum(axis=0)
    found = (odds * every).sum(axis=0)
    left = (odds * (spread + (every - found) ** 2)).sum(axis=0)
    enough = (known >= LEAST) & (cohorts.size >= LEAST)[:, None]
    effect, variance = np.where(enough, found, 0), np.where(enough, left, prior.share)
    return effect.T[:, cohorts.index], variance.T[:, cohorts.index]
