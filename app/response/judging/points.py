"""Combines the scores of one day into one point of a series. The point has the median of the scores."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date
from itertools import groupby
from statistics import median
from typing import NamedTuple
from uuid import UUID

ScoreColumns = tuple[tuple[UUID, ...], tuple[date, ...], tuple[float, ...], tuple[str, ...]]
"""The scores of a phase as columns: ids, days, values and forms. An empty text means that no form is known."""

BETWEEN_FORMS = "\x1f"
"""Separates the names of the forms that a student took on one day. Together, the names count as one form.

Students who took the same forms on a day are therefore compared as if they had taken one form.
"""


class DayPoints(NamedTuple):
    """The points of a series as columns. There is one point for each day with scores.

    The id of a point is the id of the first score of its day. `same_day` has the ids of the other scores of the day,
    keyed by the id of the point.
    """

    ids: tuple[UUID, ...]
    days: tuple[date, ...]
    values: tuple[float, ...]
    forms: tuple[str, ...]
    same_day: dict[UUID, tuple[UUID, ...]]


def combine_by_day(columns: ScoreColumns) -> DayPoints:
    """Combines the scores of each day, and returns the points. The scores must be in the order of their days."""
    ids, days, values, forms = columns
    if len(set(days)) == len(days):
        return DayPoints(ids, days, values, forms, {})
    by_day = [[position for position, _ in group] for _, group in groupby(enumerate(days), lambda item: item[1])]
    return DayPoints(
        ids=tuple([ids[positions[0]] for positions in by_day]),
        days=tuple([days[positions[0]] for positions in by_day]),
        values=tuple([median(values[position] for position in positions) for positions in by_day]),
        forms=tuple([_join_forms(forms[position] for position in positions) for positions in by_day]),
        same_day={
            ids[positions[0]]: tuple([ids[position] for position in positions[1:]])
            for positions in by_day
            if len(positions) > 1
        },
    )


def _join_forms(forms: Iterable[str]) -> str:
    return BETWEEN_FORMS.join(sorted(set(forms)))
