"""Computes each student's expected growth in each week from the share of the planned dose delivered in that week."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from app.response.rules.monitor.model import Array, Prior, Weeks

WOBBLE_OF_RATE = 1 / 3
"""The smallest standard deviation of the weekly step of the true level, as a multiple of the required rate g.

If scores have little noise, a wobble that depended only on the SEM would be too small relative to growth.
"""

UNDELIVERED = 5.0
"""The standard deviation of the growth in a week without any delivery, as a multiple of the required rate g.

A student may grow or fall back while a support is not given. Scores of such weeks therefore say little about growth.
"""

MISSED_TOGETHER = 2.0
"""The standard deviation of the growth that a whole cohort may miss in a week without delivery.

The value is a multiple of the required rate g. It is greater than 1, because students may fall back while their
support is not given.
"""


@dataclass(frozen=True, slots=True)
class Steps:
    """How the students' true scores are expected to change from each week of the calendar to the next week (a step).

    * `share` (weeks, students): the expected growth in the step to each week, as a share of a full week's growth. It is
      0 up to the week in which the student's phase began. If `share` is None, it is 1 in every step.
    * `variance` (weeks, students): the variance of each step, in SEM^2 (squared standard errors of measurement).
    * `grown` (weeks, students): the sum of the shares up to each week.
    """

    share: Array | None
    variance: Array
    grown: Array

    @classmethod
    def of(cls, weeks: Weeks, began: Weeks, delivered: Array | None, g: Array, prior: Prior) -> Steps:
        """Returns the expected weekly changes (steps) of the true scores, for phases that began in the weeks `began`.

        `delivered` (weeks of the phase, students) has the share of the planned dose that was delivered in week 1 of
        each phase, in week 2, and so on. Weeks of a phase that are not in the array count as fully delivered. None
        means that everything was delivered.
        """
        phase_week = weeks[:, None] - began
        grown = np.maximum(phase_week, 0)
        wobble = np.maximum(prior.wobble, WOBBLE_OF_RATE * g) ** 2
        if delivered is None:
            if (began == weeks[0]).all():
                return cls(None, np.broadcast_to(wobble, grown.shape), grown)
            share = (phase_week > 0).astype(float)
            return cls(share, wobble * share, grown)
        share = np.ones((max(int(grown.max(initial=0)), len(delivered)) + 1, len(began)))
        share[1 : len(delivered) + 1] = delivered
        share[0] = 0.0
        share = np.take_along_axis(share, grown, axis=0)
        is_running = phase_week > 0
        variance = np.where(is_running, wobble + (UNDELIVERED * g * (1 - share)) ** 2, 0.0)
        return cls(share, variance, np.cumsum(share, axis=0))


def undelivered_weeks(delivered: Array, phase_weeks: Weeks) -> Array:
    """Returns, for each of `phase_weeks`, how many weeks of dose were not delivered up to that week.

    `phase_weeks` and the result have the axes (slots, students). A slot is a form (version of the test) in a week.
    `delivered` (weeks of the phase, students) has the share of the planned dose that was delivered in week 1 of each
    phase, in week 2, and so on.
    """
    lost = np.zeros((max(int(phase_weeks.max(initial=0)), len(delivered)) + 1, delivered.shape[1]))
    lost[1 : len(delivered) + 1] = 1 - delivered
    return np.take_along_axis(lost.cumsum(axis=0), np.maximum(phase_weeks, 0), axis=0)


def doubt_of_forms(lost: Array, g: Array, share: float) -> Array:
    """Returns, for each student, how doubtful the estimated effect of a form is, as a share from 0 to 1.

    A form is a version of a test, and its effect is its difficulty. It is estimated as if the whole cohort had got
    every session, so that a student's verdict does not depend on the session records of classmates. But if classmates
    lost the same sessions as the student, they all grew less, and the estimate mistakes a part of this loss for a more
    difficult form.

    The result is m / (m + `share`), where `share` is the variance of a form's effect. m is the variance of the growth
    that the cohort may have missed: (`MISSED_TOGETHER` * g * `lost`)^2. `lost` has the weeks of dose that each student
    did not get, and `g` is the required rate per week.
    """
    missed = (MISSED_TOGETHER * g * lost) ** 2
    return np.asarray(missed / (missed + max(share, 1e-12)))
