"""Judges many series at once with the response monitor, from panels of scores. Writes no sentence.

This file exceeds 250 lines because every array is described with its shape and unit.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from app.response.rules.monitor.filters import Posterior, posterior
from app.response.rules.monitor.forms import MIN_COHORT, Cohorts, Paths, form_effects
from app.response.rules.monitor.model import Array, Prior, Weeks, log_odds, normal_cdf, shares_below

WIDE = 100.0
"""The variance of the level, in SEM^2, that is assumed if no cohort shows which level to expect."""

STOPPED = 0.62
"""The probability of stopped growth from which the kind of nonresponse is `stopped`. Below it, the kind is `never`."""

LEAST_SLOW = 0.6
"""The model's probability of slow growth that an alarm needs for a name.

At or below it the name is ruled out, so the kind of nonresponse is not computed.
"""

MIDDLE_80 = 1.2815515655446004

CHUNK = 200
"""The number of students that are judged at a time. Their data fits into a processor's cache."""


@dataclass(frozen=True, slots=True)
class Panel:
    """A table of the scores of several series in common slots. A slot is one form in one week.

    Where no form is known, a slot is one administration.

    * `times` (slots,): instructional weeks in order; 0 for the baseline.
    * `values` (slots, students): scores in SEM, higher is better; nan where there is none.
    * `g` (students,): the required rate in SEM a week, above zero.
    * `cohort` (students,): the number of each student's cohort. Equal numbers are adjacent.
    * `noise` (slots,): the variance of a slot's error in SEM^2; 1 for one score.
    * `began` (students,): the week of `times` in which each phase began; earlier scores are baseline. Without it, every
      phase began in the first week.
    """

    times: Weeks
    values: Array
    g: Array
    cohort: NDArray[np.int64]
    noise: Array
    began: Weeks | None = None

    def upto(self, week: int) -> Panel:
        """Returns the panel with the scores up to the end of the week `week`."""
        if not len(self.times) or self.times[-1] <= week:
            return self
        past = self.times <= week
        return Panel(self.times[past], self.values[past], self.g, self.cohort, self.noise[past], self.began)

    def part(self, students: slice) -> Panel:
        """Returns a panel that has only these students."""
        began = None if self.began is None else self.began[students]
        return Panel(self.times, self.values[:, students], self.g[students], self.cohort[students], self.noise, began)

    @property
    def starts(self) -> Weeks:
        """Returns the week in which each student's phase began."""
        return np.full(len(self.g), self.times[0]) if self.began is None else self.began


@dataclass(frozen=True, slots=True)
class PanelEstimate:
    """The monitor's estimate for each student: the statistic, the present rate with its interval, and the change.

    * slow, under: the probabilities that the rate is below .5 g and below g, calibrated for display. slow is at most
      under.
    * stopped: the probability that growth kept pace before it changed, provided that it is slow now. 0 where no alarm
      could be named.
    * change: the most likely week of the change, counted from the start of the phase. 0 if no change was possible.
    """

    statistic: Array
    rate: Array
    low: Array
    high: Array
    slow: Array
    under: Array
    stopped: Array
    change: NDArray[np.int64]

    @classmethod
    def together(cls, parts: Sequence[PanelEstimate]) -> PanelEstimate:
        """Joins the estimates of several panels, and returns them as one."""
        if len(parts) == 1:
            return parts[0]
        return cls(*(np.concatenate([getattr(part, name) for part in parts]) for name in cls.__dataclass_fields__))


def starting_level(panel: Panel, cohorts: Cohorts) -> tuple[Array, Array]:
    """Returns the mean and the variance of each student's level at the start of the phase, from the baselines of the
    cohort.

    In a cohort of fewer than five students, or if any of its students has no baseline, each student's own baseline (or
    first score) is the mean. The variance is then so large that the level is practically not assumed.
    """
    starts, size = panel.starts, cohorts.size
    early = int(np.searchsorted(panel.times, starts.max(initial=panel.times[0]), side="right"))
    values = panel.values[:early]
    is_baseline = ~np.isnan(values) & (panel.times[:early, None] <= starts)
    number = is_baseline.sum(axis=0)
    count_or_one = np.maximum(number, 1)
    level = np.where(is_baseline, values, 0).sum(axis=0) / count_or_one
    if not number.all():
        has_score = ~np.isnan(panel.values)
        first = np.where(has_score, panel.values, 0)[has_score.argmax(axis=0), np.arange(len(number))]
        level = np.where(number > 0, level, first)
    noise = (is_baseline * panel.noise[:early, None]).sum(axis=0) / count_or_one**2
    levels, noises, with_baseline = cohorts.sums(np.stack([level, noise, number > 0], axis=1)).T
    middle = (levels / size)[cohorts.index]
    spread = cohorts.sums((level - middle) ** 2) / np.maximum(size - 1, 1) - noises / size
    enough = ((size >= MIN_COHORT) & (with_baseline == size))[cohorts.index]
    variance = np.maximum(spread, 0.3) + 0.1
    return np.where(enough, middle, level), np.where(enough, variance[cohorts.index], WIDE)


@dataclass(frozen=True, slots=True)
class PreparedScores:
    """Scores after form adjustment, as `filters.posterior` takes them."""

    times: Weeks
    values: Array
    extra: Array
    g: Array
    start: tuple[Array, Array]
    own: Array
    began: Weeks
    last: Weeks

    def posterior(self, prior: Prior) -> Posterior:
        """Returns the posterior of these scores under a prior."""
        return posterior(
            self.times, self.values, self.extra, self.g, self.start, self.own, prior, self.began, self.last
        )


def prepare(
    panel: Panel,
    prior: Prior,
    weeks: Sequence[int],
    *,
    adjust: bool = True,
    last: Weeks | None = None,
    only: NDArray[np.bool_] | None = None,
) -> Iterator[PreparedScores]:
    """Yields, for each of `weeks` in order, the scores that were known at its end, after form adjustment.

    * `last` (students,) has a week for each student, as of which this student is judged. Without it, all students are
      judged as of the week of the yielded scores.
    * `only` (students,) marks the students to judge; without it, all are judged. The scores of the others only help to
      estimate the difficulty of the forms.
    * Without `adjust`, the difficulty of the forms is not estimated.
    """
    chosen = slice(None) if only is None else only
    cohorts = Cohorts.of(panel.cohort)
    start, began = starting_level(panel, cohorts), panel.starts
    # In a cohort that is too small to estimate form effects, these are part of each score's own error.
    adjusted = (cohorts.size >= MIN_COHORT)[cohorts.index] & adjust
    paths = Paths(panel.times, panel.values, panel.g, start, began, ~adjusted)
    own, share = (1 - prior.share) * panel.noise, np.minimum(panel.noise, 1)
    form, any_adjusted, all_adjusted = prior.share * share, bool(adjusted.any()), bool(adjusted.all())
    for week in weeks:
        slots = int(np.searchsorted(panel.times, week, side="right"))
        raw = paths.upto(slots, own, prior, form)
        surprise: Array = raw
        remaining: Array = np.broadcast_to(form[:slots], raw.shape)
        if any_adjusted:
            _, weighted = paths.clipped(raw, remaining if all_adjusted else np.where(adjusted[:, None], remaining, 0))
            effect, remaining = form_effects(paths, weighted, cohorts, prior)
            remaining = remaining * share[:slots]
            surprise = raw - effect * paths.has_score
        clipped, remaining = surprise[chosen], remaining[chosen]
        clipped, _ = paths.clipped(
            clipped, remaining if all_adjusted else np.where(adjusted[chosen][:, None], remaining, 0), only
        )
        values = panel.values[:slots, chosen] + (clipped - raw[chosen]).T
        as_of = np.full(len(began), week) if last is None else last
        level = start[0][chosen], start[1][chosen]
        yield PreparedScores(
            panel.times[:slots], values, remaining.T, panel.g[chosen], level, own[:slots], began[chosen], as_of[chosen]
        )


def judge_weeks(
    panel: Panel, prior: Prior, weeks: Sequence[int], *, adjust: bool = True, only: NDArray[np.bool_] | None = None
) -> list[PanelEstimate]:
    """Returns the monitor's estimates as of each of `weeks`, in order.

    Each estimate uses only what was known at the end of its week. `adjust` and `only` are as in `prepare`.
    """
    parts = []
    for part in parts_of(panel):
        requested = None if only is None else only[part]
        prepared = prepare(panel.part(part), prior, weeks, adjust=adjust, only=requested)
        parts.append([summarize(scores.posterior(prior)) for scores in prepared])
    return [PanelEstimate.together(week) for week in zip(*parts, strict=True)]


def judge_panel(
    panel: Panel,
    prior: Prior,
    *,
    adjust: bool = True,
    week: int | None = None,
    last: Weeks | None = None,
    only: NDArray[np.bool_] | None = None,
) -> PanelEstimate:
    """Returns the monitor's estimates as of `week`, or as of each student's week in `last`.

    Without either, returns them as of the last week with a score. `adjust` and `only` are as in `prepare`. Time and
    memory are proportional to students x slots.
    """
    week = int(panel.times[-1]) if week is None else week
    panel = panel.upto(week)
    parts = []
    for part in parts_of(panel):
        last_of_part, requested = None if last is None else last[part], None if only is None else only[part]
        if requested is not None and not requested.any():
            continue
        prepared = prepare(panel.part(part), prior, [week], adjust=adjust, last=last_of_part, only=requested)
        parts += [summarize(scores.posterior(prior)) for scores in prepared]
    return PanelEstimate.together(parts)


def parts_of(panel: Panel) -> list[slice]:
    """Divides the students into groups of about CHUNK without splitting a cohort. Returns each group as a slice."""
    cohort = panel.cohort
    if len(cohort) <= CHUNK:
        return [slice(0, len(cohort))]
    edges = np.flatnonzero(np.r_[True, cohort[1:] != cohort[:-1], True])
    cuts = [0]
    for begin, end in pairwise(edges):
        if end - cuts[-1] > CHUNK and begin > cuts[-1]:
            cuts.append(int(begin))
    return [slice(a, b) for a, b in zip(cuts, [*cuts[1:], len(cohort)], strict=True)]


def summarize(posterior: Posterior) -> PanelEstimate:
    """Returns the estimate that follows from a posterior: the odds, the rate with its interval, the kind, and the week.

    For the interval, the mixture of hypotheses is treated as one normal distribution.
    """
    p, prior = posterior, posterior.prior
    z = np.empty((2, *p.mean.shape))
    np.subtract(prior.slow, p.mean, out=z[0])
    np.subtract(p.mean, prior.pace, out=z[1])
    z /= p.sd
    below, within = normal_cdf(z)
    # Summed over the hypotheses one axis after the other, so that other students in the panel never change the result.
    parts = np.empty((4, *p.mean.shape))
    changed = np.multiply(p.weight, below, out=parts[0])[1:]
    np.multiply(p.weight, within, out=parts[1])
    np.multiply(p.weight, p.mean, out=parts[2])
    np.multiply(parts[2], p.mean, out=parts[3])
    variance = np.multiply(p.sd, p.sd, out=z[0])
    variance *= p.weight
    parts[3] += variance
    slow, pace, rate, square = parts.sum(axis=1).sum(axis=1)
    under = _under(p.weight, parts[2], parts[3])
    sd = np.sqrt(np.maximum(square - rate**2, 1e-12))
    statistic = log_odds(slow, pace)
    change = p.week[changed.sum(axis=1).argmax(axis=0)] - p.began
    low, high = rate - MIDDLE_80 * sd, rate + MIDDLE_80 * sd
    displayed_slow, displayed_under = shares_below(slow, under)
    stopped = _stopped(p, parts[0], slow, np.flatnonzero(slow > LEAST_SLOW))
    return PanelEstimate(statistic, rate, low, high, displayed_slow, displayed_under, stopped, np.maximum(change, 0))


def _under(weight: Array, rate: Array, square: Array) -> Array:
    """Returns the probability that a student's growth rate is below the required rate.

    A hypothesis is a week of change with a level of noise. `weight` has the weight of each hypothesis; `rate` and
    `square` have its mean rate and mean squared rate, each multiplied by the weight, in units of the required rate.
    For each week of change, all levels of noise together are approximated by one normal distribution.
    """
    # So few numbers are added in order, so that other students in the panel never change the result.
    total, mean, spread = weight.sum(axis=1), rate.sum(axis=1), square.sum(axis=1)
    np.maximum(total, 1e-300, out=total)
    mean /= total
    spread /= total
    spread -= mean * mean
    z = (1 - mean) / np.sqrt(np.maximum(spread, 1e-12))
    return np.asarray(np.add.accumulate(total * normal_cdf(z), axis=0)[-1])


def _stopped(p: Posterior, below: Array, slow: Array, chosen: NDArray[np.int64]) -> Array:
    """Returns the probability that growth kept pace before it changed, provided that it is slow now.

    The probability is computed for the students in `chosen` only, and is 0 for the others. `below` has the weight of
    each hypothesis times the probability that the rate is slow under that hypothesis.
    """
    stopped = np.zeros(len(slow))
    if not len(chosen):
        return stopped
    z = p.was_mean[:, :, chosen] - p.prior.once
    z /= np.maximum(p.was_sd[:, :, chosen], 1e-6)
    kept = normal_cdf(z)
    kept *= below[:, :, chosen]
    kept[0] = 0
    stopped[chosen] = kept.sum(axis=0).sum(axis=0) / np.maximum(slow[chosen], 1e-30)
    return stopped
