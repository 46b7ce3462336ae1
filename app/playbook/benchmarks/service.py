"""Publishes and retires norms and benchmarks. Each change publishes the next version of the playbook."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Annotated, Any
from uuid import UUID

from sqlalchemy import select

from app.access.permission import Can
from app.access.work import Work, needs
from app.core.errors import Conflict, Invalid, NotFound, Violation
from app.core.ids import new_id
from app.core.inputs import About, Choices
from app.core.text import Text
from app.core.violations import Unread, Violations, input_violations, known_values
from app.playbook.benchmarks.lookup import benchmarks_in_force
from app.playbook.benchmarks.rules import (
    FIGURES,
    BenchmarkFigures,
    Season,
    normal_grade,
    violations_of_figures,
)
from app.playbook.lookup import locate_measure
from app.playbook.models import Benchmark
from app.playbook.service import publish_next_version
from app.roster.lookup import today_of

MAX_AT_ONCE = 500


@dataclass(frozen=True, slots=True)
class NewBenchmark:
    """A district's own norm or benchmark of a measure for one grade."""

    measure: Annotated[str, About("The measure: a code or an id.", "orf")]
    grade: Annotated[str, Text(min=1, max=20), About("The grade, as in the roster.", "03")]
    citation: Annotated[
        str, Text(min=1, max=300), About("Where the figures come from.", "Our own norms of the years 2023 to 2026")
    ]
    season: Annotated[
        str | None, Choices(Season), About("The screening window; null for figures of the whole year.", "fall")
    ] = None
    benchmark_goal: Annotated[
        float | None, About("The lowest score with which a student is on track, in the measure's unit.", 73.0)
    ] = None
    risk_cut: Annotated[
        float | None, About("The score below which the need is intensive, in the measure's unit.", 55.0)
    ] = None
    p10: Annotated[float | None, About("The 10th percentile.", 40.0)] = None
    p25: Annotated[float | None, About("The 25th percentile.", 59.0)] = None
    p50: Annotated[float | None, About("The 50th percentile.", 83.0)] = None
    p75: Annotated[float | None, About("The 75th percentile.", 104.0)] = None
    p90: Annotated[float | None, About("The 90th percentile.", 134.0)] = None
    typical_growth: Annotated[
        float | None, About("How much a typical student improves a week, in the measure's unit.", 0.9)
    ] = None
    realistic_growth: Annotated[
        float | None,
        About("The most improvement a week that is realistic; a goal that requires more must be confirmed.", 1.0),
    ] = None
    checked_on: Annotated[
        date | None, About("The day on which the figures were compared with their source.", date(2024, 6, 3))
    ] = None


@dataclass(frozen=True, slots=True)
class SavedBenchmark:
    """The result for one benchmark of a request.

    `outcome` is `recorded`, `amended`, `unchanged` or `refused`. A refused benchmark has violations.
    """

    outcome: str
    benchmark: Benchmark | None = None
    violations: tuple[Violation, ...] = ()


@needs(Can.PUBLISH_PLAYBOOK)
async def publish_benchmarks(
    work: Work, new: Sequence[NewBenchmark], *, at: str = "/benchmarks", positions: Sequence[int] | None = None
) -> list[SavedBenchmark]:
    """Publishes benchmarks of the district in the next version of the playbook; returns one result for each, in order.

    A benchmark replaces the district's earlier benchmark of the same measure, grade, season and citation. Published
    norms are never replaced. If nothing changes, no version is published.

    `positions` has, for each item of `new`, the item's index in the request. `positions` is needed if `new` lacks some
    items of the request.
    """
    if not 1 <= len(new) <= MAX_AT_ONCE:
        raise Invalid([Violation(at, "benchmarks.count", f"Send 1 to {MAX_AT_ONCE} benchmarks at once.")])
    places = range(len(new)) if positions is None else positions
    in_force = {_key(row): row for row in await benchmarks_in_force(work) if not row.published}
    today, results = await today_of(work), []
    changed: list[tuple[Benchmark, Benchmark | None]] = []
    seen = set()
    for place, item in zip(places, new, strict=True):
        pointer = f"{at}/{place}"
        try:
            row = await _resolve(work, item, today, pointer)
            if (key := _key(row)) in seen:
                detail = "Another item is for the same measure, grade, season and citation."
                raise Invalid([Violation(pointer, "benchmark.doubled", detail)])
        except Invalid as error:
            results.append(SavedBenchmark("refused", violations=error.violations))
            continue
        except Unread:
            results.append(SavedBenchmark("refused"))
            continue
        seen.add(key)
        earlier = in_force.get(key)
        if earlier is not None and all(
            getattr(earlier, name) == getattr(row, name) for name in (*FIGURES, "checked_on")
        ):
            results.append(SavedBenchmark("unchanged", earlier))
            continue
        changed.append((row, earlier))
        results.append(SavedBenchmark("recorded" if earlier is None else "amended", row))
    if changed:
        await _publish(work, changed)
    return results


@needs(Can.PUBLISH_PLAYBOOK)
async def retire_benchmark(work: Work, benchmark_id: UUID) -> Benchmark:
    """Retires a norm or a benchmark, so that the next version of the playbook does not contain it.

    It may be a published norm or the district's own.
    """
    row = await work.db.scalar(
        select(Benchmark).where(Benchmark.district_id == work.district_id, Benchmark.id == benchmark_id)
    )
    if row is None:
        raise NotFound("benchmark")
    if row.until_version is not None:
        raise Conflict("This benchmark is not in force any more.", code="benchmark.retired")
    row.until_version = (await publish_next_version(work)).number
    await work.db.flush()
    return row


async def _resolve(work: Work, new: NewBenchmark, today: date, at: str) -> Benchmark:
    """Returns the row of a new benchmark without adding it to the session; raises `Invalid` with every violation."""
    violations, values = Violations(input_violations(new, at)), known_values(new)
    with violations:
        measure = await locate_measure(work, new.measure, f"{at}/measure")
        figures = {name: None if (value := getattr(new, name)) is None else float(value) for name in FIGURES}
        checked = BenchmarkFigures(figures, measure.lowest, measure.highest, measure.direction)
        violations.add(violations_of_figures(checked, at))
    with violations:
        if new.season is not None and new.season not in tuple(Season):
            detail = f"Choose one of {', '.join(Season)}."
            raise Invalid([Violation(f"{at}/season", "benchmark.season", detail)])
    if (checked_on := values.get("checked_on")) is not None and checked_on > today:
        detail = "The figures were compared today or before."
        violations.add([Violation(f"{at}/checked_on", "benchmark.in_the_future", detail)])
    violations.refuse()
    return Benchmark(
        district_id=work.district_id,
        id=new_id(),
        measure_id=measure.id,
        grade=new.grade.strip(),
        season=new.season,
        citation=new.citation.strip(),
        published=False,
        checked_on=new.checked_on,
        **figures,
    )


async def _publish(work: Work, changed: Sequence[tuple[Benchmark, Benchmark | None]]) -> None:
    number = (await publish_next_version(work)).number
    for row, earlier in changed:
        row.from_version = number
        if earlier is not None:
            earlier.until_version = number
        work.db.add(row)
    await work.db.flush()


def _key(row: Benchmark) -> tuple[Any, ...]:
    return row.measure_id, normal_grade(row.grade), row.season, row.citation
