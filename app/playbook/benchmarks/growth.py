"""Looks up in norms how much a student typically improves a week, by grade and starting score. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from itertools import groupby
from uuid import UUID

import numpy as np

from app.playbook.benchmarks.rules import PERCENTILES, Season, normal_grade
from app.playbook.models import Benchmark

WEEKS = {Season.FALL: 32, Season.WINTER: 16}
"""The weeks of instruction from a season to the spring, by which the published norms divide the growth."""
RANKS = (10.0, 25.0, 50.0, 75.0, 90.0)
WINTER_MONTH, SPRING_MONTH = 12, 3
"""The months from which the norms of winter and of spring apply in a district without screening windows."""


@dataclass(frozen=True, slots=True)
class TypicalGrowth:
    """The improvement a week, in the measure's units, that is typical for a grade and a starting score.

    * `rate` is positive, also if lower scores are better.
    * `percentile` is the percentile of the starting score in `season`. It is None if the norms have no percentiles for
      the grade and season. `rate` is then the typical rate of the grade, and does not depend on the starting score.
    * `benchmark_ids` and `citation` name the norms.
    """

    rate: float
    grade: str
    season: Season
    percentile: float | None
    benchmark_ids: tuple[UUID, ...]
    citation: str


def season_of(day: date, school_year: int, opens_on: Mapping[Season, date]) -> Season:
    """Returns the season of the norms with which a score of this day is compared.

    The day is in the school year that ends in the calendar year `school_year`. `opens_on` has the first days of the
    district's own screening windows in this school year, by season. A season lasts from its window to the window of the
    next season. For a season without a window, winter begins in December, and spring in March. A day before all of
    these is in fall.
    """
    begins = {
        Season.WINTER: date(school_year - 1, WINTER_MONTH, 1),
        Season.SPRING: date(school_year, SPRING_MONTH, 1),
        **opens_on,
    }
    begun = [(first, season) for season, first in begins.items() if first <= day]
    return max(begun)[1] if begun else Season.FALL


def typical_growth(
    norms: Iterable[Benchmark], grades: Sequence[str], direction: str, start: float, season: Season
) -> TypicalGrowth | None:
    """Returns the typical growth of a student who starts with the score `start`, or None if no norm states it.

    `norms` are those of one measure, and `season` is that of the day of the score (see `season_of`). The first of
    `grades` for which a norm states growth counts. A district's own norms take precedence over published ones, and
    growth by starting score over growth by grade alone.
    """
    rows = sorted(norms, key=lambda row: (row.published, row.citation))
    for grade in grades:
        of_grade = [row for row in rows if normal_grade(row.grade) == normal_grade(grade)]
        for _, source in groupby(of_grade, lambda row: row.published):
            of_source = list(source)
            for _, cited in groupby(of_source, lambda row: row.citation):
                if (growth := _by_start(list(cited), grade, direction, start, season)) is not None:
                    return growth
            for row in of_source:
                if row.typical_growth is not None:
                    return TypicalGrowth(row.typical_growth, grade, season, None, (row.id,), row.citation)
    return None


def _by_start(
    rows: Sequence[Benchmark], grade: str, direction: str, start: float, season: Season
) -> TypicalGrowth | None:
    """Returns the typical growth at the percentile of `start`, or None if these norms lack the needed percentiles.

    Between two known percentiles, the percentile and the growth are interpolated. Outside the known percentiles, the
    percentile and the growth of the nearest one are used.
    """
    by_season = {row.season: row for row in rows if _ranks(row)}
    last = by_season.get(Season.SPRING)
    first = by_season.get(Season.FALL) or by_season.get(Season.WINTER)
    now = by_season.get(season)
    if first is None or last is None or now is None:
        return None
    sign = -1.0 if direction == "down" else 1.0
    ranks = _ranks(now)
    scores = [sign * value for value in ranks.values()]
    percentile = float(np.interp(sign * start, scores, list(ranks)))
    begin, end = _ranks(first), _ranks(last)
    common = [rank for rank in begin if rank in end]
    if len(common) < 2:
        return None
    weeks = WEEKS[Season(str(first.season))]
    rates = [sign * (end[rank] - begin[rank]) / weeks for rank in common]
    rate = float(np.interp(percentile, common, rates))
    used = tuple(dict.fromkeys(row.id for row in (now, first, last)))
    return TypicalGrowth(rate, grade, season, percentile, used, last.citation)


def _ranks(row: Benchmark) -> dict[float, float]:
    """Returns the scores at the percentiles of a norm, keyed by percentile. Empty for fewer than two percentiles."""
    scores = ((rank, getattr(row, name)) for rank, name in zip(RANKS, PERCENTILES, strict=True))
    known = {rank: float(score) for rank, score in scores if score is not None}
    return known if len(known) > 1 else {}
