"""Computes the estimates of the response monitor for many series at once, from panels of scores.

This file exceeds 250 lines because every array is described with its shape and unit.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from app.response.rules.monitor.estimate import PanelEstimate, summarize
from app.response.rules.monitor.filters import Posterior, posterior
from app.response.rules.monitor.forms import MIN_COHORT, Cohorts, Paths, form_effects
from app.response.rules.monitor.model import Array, Prior, Weeks
from app.response.rules.monitor.steps import doubt_of_forms, undelivered_weeks

WIDE = 100.0
"""The variance of the level, in SEM^2, that is assumed if no cohort shows which level to expect."""

CHUNK = 200
"""The number of students that are judged at a time. Their data fits into a processor's cache."""


@dataclass(frozen=True, slots=True)
class Panel:
    """A table of the scores of several series in common slots. A slot is one form (version of a test) in one week.

    If the form is not known, the scores of one week are assumed to be of one form.

    * `times` (slots,): instructional weeks in order; 0 for the baseline.
    * `values` (slots, students): scores in SEM, higher is better; nan where there is none.
    * `g` (students,): the required rate in SEM a week, above zero.
    * `cohort` (students,): a number that identifies the cohort of each student. Equal numbers are adjacent.
    * `noise` (slots,): the variance of a slot's error in SEM^2 (squared standard errors of measurement); 1 for one
      score.
    * `began` (students,): the week of `times` in which each phase began; earlier scores are baseline. None means that
      every phase began in the first week.
    * `delivered` (weeks, students): the share of the planned dose that was delivered in week 1 of each phase, in week
      2, and so on, from 0 to 1. Weeks after the last row count as fully delivered. None means that all weeks count as
      fully delivered.
    """

    times: Weeks
    values: Array
    g: Array
    cohort: NDArray[np.int64]
    noise: Array
    began: Weeks | None = None
    delivered: Array | None = None

    def upto(self, week: int) -> Panel:
        """Returns the panel with the scores up to the end of the week `week`."""
        if not len(self.times) or self.times[-1] <= week:
            return self
        past = self.times <= week
        return replace(self, times=self.times[past], values=self.values[past], noise=self.noise[past])

    def part(self, students: slice) -> Panel:
        """Returns a panel that has only these students."""
        return replace(
            self,
            values=self.values[:, students],
            g=self.g[students],
            cohort=self.cohort[students],
            began=None if self.began is None else self.began[students],
            delivered=None if self.delivered is None else self.delivered[:, students],
        )

    @property
    def starts(self) -> Weeks:
        """Returns the week in which each student's phase began."""
        return np.full(len(self.g), self.times[0]) if self.began is None else self.began


def starting_level(panel: Panel, cohorts: Cohorts) -> tuple[Array, Array]:
    """Returns the mean and the variance of each student's level (true score) at the start of the phase.

    Both are estimated from the baselines of the student's cohort. In a cohort of fewer than five students, or if any of
    its students has no baseline, each student's own baseline (or first score) is the mean. The variance is then so
    large (`WIDE`) that this mean hardly affects the result.
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
    """Scores from which the estimated difficulty of the forms (versions of the test) has been subtracted.

    This estimate is doubtful for a student who missed a part of the planned dose (see `steps.doubt_of_forms`). For such
    students, only a part of the difficulty is subtracted. `doubted` has the resulting scores, and the variances that
    the forms' effects still have. It is None if the estimate is doubtful for nobody.
    """

    times: Weeks
    values: Array
    extra: Array
    g: Array
    start: tuple[Array, Array]
    own: Array
    began: Weeks
    last: Weeks
    delivered: Array | None = None
    doubted: tuple[Array, Array] | None = None

    def posterior(self, prior: Prior) -> Posterior:
        """Returns the posterior of these scores under a prior."""
        return posterior(
            self.times,
            self.values,
            self.extra,
            self.g,
            self.start,
            self.own,
            prior,
            self.began,
            self.last,
            self.delivered,
        )

    def estimate(self, prior: Prior) -> PanelEstimate:
        """Returns the monitor's estimates from these scores.

        If a student did not get the whole planned dose, the estimates are computed twice, under two assumptions:

        1. Growth was slower in proportion to the delivered dose. In a week without delivery, growth is unknown.
        2. The undelivered part would have brought the growth that the goal requires. This growth is added to the
           scores.

        The result has the lower of the two statistics, and the lower of the two probabilities of slow growth. So there
        is an alarm only if both assumptions lead to one. All other estimates are those of the first assumption. Both
        computations use the scores in `doubted`.
        """
        if_delivered = summarize(replace(self, delivered=None).posterior(prior))
        if self.delivered is None or not (self.delivered < 1).any():
            return if_delivered
        chosen = np.flatnonzero((self.delivered < 1).any(axis=0))
        part = self._only(chosen, self.delivered[:, chosen])
        slowed = summarize(part.posterior(prior))
        credit = part.g * undelivered_weeks(self.delivered[:, chosen], self.times[:, None] - part.began)
        credited = summarize(replace(part, values=part.values + credit, delivered=None).posterior(prior))
        lower = {name: np.minimum(getattr(slowed, name), getattr(credited, name)) for name in ("statistic", "slow")}
        names = [name for name in PanelEstimate.__dataclass_fields__ if name != "if_delivered"]
        columns = {name: getattr(if_delivered, name).copy() for name in names}
        for name, column in columns.items():
            column[chosen] = lower.get(name, getattr(slowed, name))
        return replace(if_delivered, **columns)

    def _only(self, chosen: NDArray[np.int64], delivered: Array) -> PreparedScores:
        """Returns the scores of only the students whose indices are in `chosen`.

        If `doubted` is not None, its scores are used. `delivered` replaces the shares of the dose that were delivered.
        """
        values, extra = (self.values, self.extra) if self.doubted is None else self.doubted
        return replace(
            self,
            values=values[:, chosen],
            extra=extra[:, chosen],
            g=self.g[chosen],
            start=(self.start[0][chosen], self.start[1][chosen]),
            began=self.began[chosen],
            last=self.last[chosen],
            delivered=delivered,
            doubted=None,
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
    """Yields one item for each of `weeks`, in order: the scores that were known at the end of this week.

    The difficulty of the forms (versions of the test) is estimated and subtracted from the scores.

    * `last` (students,) has, for each student, the week as of which the student is judged. Without it, all students are
      judged as of the week of the item.
    * `only` (students,) is true for the students to judge; without it, all are judged. The scores of the other students
      only help to estimate the difficulty of the forms.
    * Without `adjust`, the difficulty of the forms is neither estimated nor subtracted.
    """
    chosen = slice(None) if only is None else only
    cohorts = Cohorts.of(panel.cohort)
    start, began = starting_level(panel, cohorts), panel.starts
    # In a cohort that is too small to estimate form effects, these are part of each score's own error.
    adjusted = (cohorts.size >= MIN_COHORT)[cohorts.index] & adjust
    # The delivery is not used here: a verdict must not depend on which classmates' delivery is known.
    paths = Paths(panel.times, panel.values, panel.g, start, began, ~adjusted)
    own, share = (1 - prior.share) * panel.noise, np.minimum(panel.noise, 1)
    form, any_adjusted, all_adjusted = prior.share * share, bool(adjusted.any()), bool(adjusted.all())
    delivered = None if panel.delivered is None else panel.delivered[:, chosen]
    doubts = any_adjusted and delivered is not None and bool((delivered < 1).any())
    for week in weeks:
        slots = int(np.searchsorted(panel.times, week, side="right"))
        values, raw = panel.values[:slots, chosen], paths.upto(slots, own, prior, form)
        effect: Array = np.zeros(raw.shape)
        remaining: Array = np.broadcast_to(form[:slots], raw.shape)
        if any_adjusted:
            _, weighted = paths.clipped(raw, remaining if all_adjusted else np.where(adjusted[:, None], remaining, 0))
            effect, remaining = form_effects(paths, weighted, cohorts, prior)
            remaining = remaining * share[:slots]
            effect = effect * paths.has_score
        as_of = (np.full(len(began), week) if last is None else last)[chosen]
        raw, effect, remaining = raw[chosen], effect[chosen], remaining[chosen]
        among = None if all_adjusted else adjusted[chosen]
        doubted = None
        if doubts and delivered is not None:
            lost = undelivered_weeks(delivered, (as_of - began[chosen])[None, :])[0]
            doubt = doubt_of_forms(lost, panel.g[chosen], prior.share)[:, None]
            weaker = remaining + doubt * (form[:slots] - remaining)
            doubted = _adjust(paths, values, raw, (1 - doubt) * effect, weaker, among, only), weaker.T
        yield PreparedScores(
            panel.times[:slots],
            _adjust(paths, values, raw, effect, remaining, among, only),
            remaining.T,
            panel.g[chosen],
            (start[0][chosen], start[1][chosen]),
            own[:slots],
            began[chosen],
            as_of,
            delivered,
            doubted,
        )


def _adjust(
    paths: Paths,
    values: Array,
    raw: Array,
    effect: Array,
    remaining: Array,
    adjusted: NDArray[np.bool_] | None,
    only: NDArray[np.bool_] | None,
) -> Array:
    """Returns the students' scores. The effects of the forms are subtracted, and outliers are moved to a limit.

    A form is a version of a test. Its effect is how much more difficult it is than usual.

    * `raw` has the distances of the scores from their expectation.
    * `effect` has the estimated effects of the forms, and `remaining` the variances of these estimates.
    * `adjusted` marks the students whose form effects were estimated; None means all students.
    * `only` marks the students whose scores are returned; None means all students.
    """
    variances = remaining if adjusted is None else np.where(adjusted[:, None], remaining, 0)
    surprise, _ = paths.clipped(raw - effect, variances, only)
    return values + (surprise - raw).T


def judge_weeks(
    panel: Panel, prior: Prior, weeks: Sequence[int], *, adjust: bool = True, only: NDArray[np.bool_] | None = None
) -> list[PanelEstimate]:
    """Returns the monitor's estimates as of each of `weeks`, in order.

    Each estimate uses only what was known at the end of its week. Without `adjust`, the difficulty of the forms
    (versions of the test) is not estimated. If `only` (students,) is given, only the students whom it marks are judged;
    the scores of the others help to estimate the difficulty of the forms.
    """
    parts = []
    for part in parts_of(panel):
        requested = None if only is None else only[part]
        prepared = prepare(panel.part(part), prior, weeks, adjust=adjust, only=requested)
        parts.append([scores.estimate(prior) for scores in prepared])
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

    Without `week` and `last`, the estimates are as of the last week with a score. Without `adjust`, the difficulty of
    the forms (versions of the test) is not estimated. If `only` (students,) is given, only the students whom it marks
    are judged; the scores of the others help to estimate the difficulty of the forms.

    Time and memory are proportional to the number of values in the panel.
    """
    week = int(panel.times[-1]) if week is None else week
    panel = panel.upto(week)
    parts = []
    for part in parts_of(panel):
        last_of_part, requested = None if last is None else last[part], None if only is None else only[part]
        if requested is not None and not requested.any():
            continue
        prepared = prepare(panel.part(part), prior, [week], adjust=adjust, last=last_of_part, only=requested)
        parts += [scores.estimate(prior) for scores in prepared]
    return PanelEstimate.together(parts)


def parts_of(panel: Panel) -> list[slice]:
    """Divides the students into groups of about CHUNK; no cohort is divided. Returns each group as a slice."""
    cohort = panel.cohort
    if len(cohort) <= CHUNK:
        return [slice(0, len(cohort))]
    edges = np.flatnonzero(np.r_[True, cohort[1:] != cohort[:-1], True])
    cuts = [0]
    for begin, end in pairwise(edges):
        if end - cuts[-1] > CHUNK and begin > cuts[-1]:
            cuts.append(int(begin))
    return [slice(a, b) for a, b in zip(cuts, [*cuts[1:], len(cohort)], strict=True)]
