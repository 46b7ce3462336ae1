"""Parses and validates a series that is written as one line of JSON. Errors never contain a submitted value."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from statistics import median
from typing import Any, Literal

from app.response.aimline import UnjudgeableSeries, usable
from app.response.rules.monitor.rule import MAX_WEEKS
from app.response.rules.series import DeliveredMinutes, Observation, Series

GOAL_WEEK = 26
"""The week of the goal for a series without `goal_week`: the length of the benchmark's year."""

PROPORTION = 1e6
"""The maximum ratio between the values of a series and its SEM.

In every measure, a score is at most this many SEM from the baseline, and the rate of the goal is at least one SEM
divided by this number.
"""


@dataclass(frozen=True, slots=True)
class OfflineScore:
    """One score of a series that is read from a line of JSON: its instructional week, its value and its form.

    The form is the version of the test, or None if it is unknown.
    """

    week: int
    value: float
    form: str | None = None


@dataclass(frozen=True, slots=True)
class OfflineSeries:
    """A series that was parsed from a line of JSON.

    `goal_rate` is in the measure's units per week, so it is negative if lower scores are better.
    """

    id: str
    cohort: str | None
    baseline: tuple[float, ...]
    scores: tuple[OfflineScore, ...]
    goal_rate: float
    sem: float | None
    direction: Literal["up", "down"]
    dosage: DeliveredMinutes | None
    goal_week: int | None = None

    @property
    def last_week(self) -> int:
        return max((score.week for score in self.scores), default=0)

    def upto(self, week: int) -> OfflineSeries:
        """Returns the series as it was known at the end of week `week`."""
        return replace(self, scores=tuple(score for score in self.scores if score.week <= week))

    def series(self) -> Series:
        """Converts the series into the `Series` that rules judge; raises UnjudgeableSeries."""
        baseline = float(median(self.baseline))
        goal_week = self.goal_week or GOAL_WEEK
        observations = tuple(Observation(score.week, score.value) for score in self.scores)
        series = Series(
            observations,
            baseline,
            baseline + self.goal_rate * goal_week,
            goal_week,
            self.direction,
            self.sem,
            self.dosage,
            before=self.baseline,
        )
        series.check()
        return series


def read_line(given: object, *, every_week: bool = False) -> OfflineSeries:
    """Returns the series in one line of input. The line is given as a parsed JSON value.

    Raises UnjudgeableSeries with a sentence that names the error and contains no submitted value.
    """
    if not isinstance(given, Mapping):
        raise _invalid("not_an_object", "Give each series as one JSON object.")
    direction = given.get("direction", "up")
    if direction not in ("up", "down"):
        raise _invalid("direction", 'Give "direction" as "up" or "down".')
    rate = _goal_rate(given)
    if rate == 0 or (rate < 0 and direction == "up"):
        raise _invalid("goal_rate", 'Give "goal_rate" in units a week, above zero: the rate that the goal needs.')
    sem = None if given.get("sem") is None else _number(given, "sem")
    if sem is not None and sem <= 0:
        raise _invalid("sem", 'Give "sem" as a number above zero, or leave it out.')
    goal_week = given.get("goal_week")
    if goal_week is not None and (type(goal_week) is not int or not 1 <= goal_week <= MAX_WEEKS):
        raise _invalid("goal_week", f'Give "goal_week" as a whole number from 1 to {MAX_WEEKS}, or leave it out.')
    line = OfflineSeries(
        _text(given, "id"),
        None if given.get("cohort") is None else _text(given, "cohort"),
        _baseline(given.get("baseline")),
        _scores(given.get("scores")),
        abs(rate) if direction == "up" else -abs(rate),
        sem,
        direction,
        _dosage(given.get("planned_minutes"), given.get("delivered_minutes"), every_week),
        goal_week,
    )
    line.series()
    _check_scale(line)
    return line


def _check_scale(line: OfflineSeries) -> None:
    """Raises UnjudgeableSeries if the scores or the required rate are out of all proportion to the measure's SEM.

    The SEM is the standard error of measurement, in the units of the scores.
    """
    if line.sem is None:
        return
    values = (*line.baseline, *(score.value for score in line.scores))
    furthest = max(abs(line.goal_rate), *(abs(value - line.baseline[0]) for value in values))
    if furthest > PROPORTION * line.sem or abs(line.goal_rate) * PROPORTION < line.sem:
        raise _invalid(
            "scale", 'Give "sem" in the units of the scores: "goal_rate" or they are out of all proportion to it.'
        )


def _invalid(code: str, sentence: str) -> UnjudgeableSeries:
    return UnjudgeableSeries(code, sentence)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and usable(value)


def _number(given: Mapping[str, Any], name: str) -> float:
    if not _is_number(given.get(name)):
        raise _invalid(name, f'Give "{name}" as an ordinary finite number.')
    return float(given[name])


def _text(given: Mapping[str, Any], name: str) -> str:
    value = given.get(name)
    if not isinstance(value, str) or not value:
        raise _invalid(name, f'Give "{name}" as a text that is not empty.')
    return value


def _goal_rate(given: Mapping[str, Any]) -> float:
    """Returns the required rate of a series, from the JSON object `given`.

    It is the object's `goal_rate`. If the object has a `goal` instead, it is the rate that leads from the baseline to
    the goal by `goal_week`.
    """
    if given.get("goal") is None:
        return _number(given, "goal_rate")
    if given.get("goal_rate") is not None:
        raise _invalid("goal", 'Give either "goal" or "goal_rate".')
    weeks = given.get("goal_week") or GOAL_WEEK
    if type(weeks) is not int:
        raise _invalid("goal_week", f'Give "goal_week" as a whole number from 1 to {MAX_WEEKS}, or leave it out.')
    distance = _number(given, "goal") - median(_baseline(given.get("baseline")))
    if (distance > 0) == (given.get("direction", "up") == "down"):
        raise _invalid("goal", 'Give a "goal" on the better side of the baseline.')
    return distance / weeks


def _baseline(given: Any) -> tuple[float, ...]:
    values = given if isinstance(given, list) else [given]
    if not values or not all(_is_number(value) for value in values):
        raise _invalid("baseline", 'Give "baseline" as a list of one number or more; three are usual.')
    return tuple(float(value) for value in values)


def _scores(given: Any) -> tuple[OfflineScore, ...]:
    if not isinstance(given, list):
        raise _invalid("scores", 'Give "scores" as a list of objects with "week" and "value".')
    parsed: list[OfflineScore] = []
    keys: set[tuple[int, str | None, float | None]] = set()
    for number, item in enumerate(given, 1):
        if not isinstance(item, Mapping) or not _is_number(item.get("value")):
            raise _invalid("score", f'Give score {number} as an object with "week" and a finite "value".')
        week, form = item.get("week"), item.get("form")
        if type(week) is not int or not 0 <= week <= MAX_WEEKS:
            raise _invalid("week", f'Give "week" of score {number} as a whole number from 0 to {MAX_WEEKS}.')
        if form is not None and not isinstance(form, str):
            raise _invalid("form", f'Give "form" of score {number} as a text, or leave it out.')
        key = (week, form, float(item["value"]) if form is None else None)
        if key in keys:
            raise _invalid("doubled", f"Score {number} is given twice; leave one out.")
        keys.add(key)
        parsed.append(OfflineScore(week, float(item["value"]), form))
    return tuple(sorted(parsed, key=lambda score: score.week))


def _dosage(planned: Any, delivered: Any, every_week: bool) -> DeliveredMinutes | None:
    if planned is None and delivered is None:
        return None
    lists = isinstance(planned, list), isinstance(delivered, list)
    if planned is None or delivered is None or lists[0] != lists[1]:
        raise _invalid("minutes", 'Give "planned_minutes" and "delivered_minutes" both as one number or both by week.')
    if every_week and not lists[0]:
        raise _invalid("minutes", "Give the minutes as lists by week: judging every week needs to know when they were.")
    sides = [side if isinstance(side, list) else [side] for side in (planned, delivered)]
    if not all(value is None or (_is_number(value) and value >= 0) for side in sides for value in side):
        raise _invalid("minutes", "Give minutes as numbers from zero on; null is a week without a record.")
    planned_, delivered_ = (tuple(math.nan if value is None else float(value) for value in side) for side in sides)
    return DeliveredMinutes(planned_, delivered_, by_week=lists[0])
