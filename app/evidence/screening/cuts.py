"""Finds the figures by which a screening score is classified: risk cuts, benchmark goals and percentiles.

A district's own figures take precedence over published figures, and the season's figures over figures for the whole
year. If a grade has neither a risk cut nor a benchmark goal, the 10th and 25th percentiles of its norm take their
place.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import select

from app.access.work import Work
from app.evidence.screening.models import ScreeningExpectation, ScreeningWindow
from app.playbook.benchmarks.lookup import benchmarks_in_force
from app.playbook.benchmarks.rules import PERCENTILES, normal_grade
from app.playbook.models import Area, Benchmark, Level, Measure

POINTS = tuple(zip(PERCENTILES, (10.0, 25.0, 50.0, 75.0, 90.0), strict=True))


@dataclass(frozen=True, slots=True)
class SuggestedLevels:
    """The ranks of the three levels that a screening score can suggest.

    A score at or above the benchmark suggests `core`, a score below it `targeted`, and a score below the risk cut
    `intensive`.
    """

    core: int
    targeted: int
    intensive: int


@dataclass(frozen=True, slots=True)
class Cut:
    """The limits by which scores of one measure are classified for students of one grade.

    * `risk` and `goal` are the risk cut and the benchmark, or None if they are not known.
    * `sign` is -1 if lower scores of the measure are better, otherwise 1.
    * `percentiles` lists the known percentiles, and `scores` the scores at these percentiles. The scores are multiplied
      by `sign`, so that they are in ascending order.
    """

    measure_id: UUID
    grade: str
    sign: int
    risk: float | None
    goal: float | None
    scores: tuple[float, ...]
    percentiles: tuple[float, ...]
    benchmark_ids: tuple[UUID, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """Returns the values as an element of the list that the SQL statements take as their parameter `cuts`."""
        return {
            "measure_id": str(self.measure_id),
            "grade": self.grade,
            "sign": self.sign,
            "risk": self.risk,
            "goal": self.goal,
            "scores": list(self.scores),
            "percentiles": list(self.percentiles),
        }


@dataclass(frozen=True, slots=True)
class ExpectedInWindow:
    """A measure of a window that the caller may see, with its limits (`Cut`) and, if it has one, its secured area.

    `area_ids` are the measure's area, the areas above it and the areas below it. A student whose score is too low
    counts as helped if the student has a support in any of these areas.
    """

    measure: Measure
    secured_area: str | None
    area_ids: tuple[UUID, ...]
    cuts: tuple[Cut, ...]


async def expected_in(work: Work, window: ScreeningWindow) -> tuple[list[ExpectedInWindow], int]:
    """Returns the measures of a window that the caller may see, and the number of measures that the caller may not see.

    The function checks no permission, because the calling function has already checked the caller's permission.
    """
    rows = await work.db.execute(
        select(ScreeningExpectation, Measure)
        .join(
            Measure,
            (Measure.district_id == ScreeningExpectation.district_id) & (Measure.id == ScreeningExpectation.measure_id),
        )
        .where(
            ScreeningExpectation.district_id == work.district_id,
            Measure.district_id == work.district_id,
            ScreeningExpectation.window_id == window.id,
        )
        .order_by(ScreeningExpectation.id)
    )
    expectations = [(row[0], row[1]) for row in rows]
    areas = await _areas(work)
    norms = await _norms(work, [measure.id for _, measure in expectations])
    visible, hidden = [], 0
    for expectation, measure in expectations:
        path = list(_path(areas, measure.area_id))
        secured = next((area.code for area in path if area.secured), None)
        if not work.principal.opens_area(secured):
            hidden += 1
            continue
        cuts = tuple(
            choose_cut(measure, grade, window.season, norms)
            for grade in dict.fromkeys(normal_grade(grade) for grade in expectation.grades)
        )
        near = {area.id for area in path} | {area.id for area in areas.values() if _is_below(areas, area, path[0].id)}
        visible.append(ExpectedInWindow(measure, secured, tuple(sorted(near)), cuts))
    return visible, hidden


async def suggested_levels(work: Work) -> SuggestedLevels:
    """Returns the ranks of the levels that scores suggest: the district's first, second and third level.

    If the district has fewer than three levels, its last level takes the place of each missing level.
    """
    ranks = list(
        await work.db.scalars(
            select(Level.rank)
            .where(Level.district_id == work.district_id, Level.retired_at.is_(None))
            .order_by(Level.rank)
        )
    ) or [1]
    return SuggestedLevels(ranks[0], ranks[min(1, len(ranks) - 1)], ranks[min(2, len(ranks) - 1)])


def choose_cut(measure: Measure, grade: str, season: str, norms: Iterable[Benchmark]) -> Cut:
    """Returns the limits by which scores of a measure are classified, for a grade and a season.

    `norms` can also contain norms of other measures and grades.
    """
    rows = [
        norm
        for norm in norms
        if norm.measure_id == measure.id
        and normal_grade(norm.grade) == grade
        and (norm.season is None or norm.season == season)
    ]
    rows.sort(key=lambda norm: (norm.published, norm.season is None, -norm.id.int))
    cut = next((norm for norm in rows if norm.risk_cut is not None or norm.benchmark_goal is not None), None)
    points_by_norm = {norm.id: _points(norm) for norm in rows}
    norm = next((norm for norm in rows if len(points_by_norm[norm.id]) > 1), None)
    points = [] if norm is None else points_by_norm[norm.id]
    sign = -1 if measure.direction == "down" else 1
    risk, goal = (None, None) if cut is None else (cut.risk_cut, cut.benchmark_goal)
    if cut is None and norm is not None:
        risk, goal = norm.p10, norm.p25
    pairs = sorted((score * sign, percentile) for score, percentile in points)
    used = tuple(row.id for row in dict.fromkeys((cut, norm)) if row is not None)
    scores, percentiles = tuple(pair[0] for pair in pairs), tuple(pair[1] for pair in pairs)
    return Cut(measure.id, grade, sign, risk, goal, scores, percentiles, used)


def _points(norm: Benchmark) -> list[tuple[float, float]]:
    return [(score, percentile) for name, percentile in POINTS if (score := getattr(norm, name)) is not None]


async def _norms(work: Work, measure_ids: Sequence[UUID]) -> list[Benchmark]:
    requested_ids = set(measure_ids)
    if len(requested_ids) == 1:
        return await benchmarks_in_force(work, measure_ids[0])
    return [norm for norm in await benchmarks_in_force(work) if norm.measure_id in requested_ids]


async def _areas(work: Work) -> dict[UUID, Area]:
    rows = await work.db.scalars(select(Area).where(Area.district_id == work.district_id))
    return {area.id: area for area in rows}


def _path(areas: Mapping[UUID, Area], area_id: UUID | None) -> Iterator[Area]:
    """Yields an area and then the areas above it, from the nearest to the top."""
    while area_id is not None:
        yield areas[area_id]
        area_id = areas[area_id].parent_id


def _is_below(areas: Mapping[UUID, Area], area: Area, top: UUID) -> bool:
    return any(one.id == top for one in _path(areas, area.id))
