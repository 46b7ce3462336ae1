"""Declares the public shapes of the playbook: areas, levels, measures, and the norms and benchmarks of measures."""

from datetime import date, datetime
from operator import attrgetter
from typing import Any

from sqlalchemy import or_

from app.access.permission import Can
from app.access.work import Work
from app.events.catalogue import PLAYBOOK_PUBLISHED
from app.playbook.benchmarks import service as benchmarks
from app.playbook.benchmarks.rules import Season
from app.playbook.filters import by_measure
from app.playbook.models import Area, Benchmark, Level, Measure
from app.resources.command import Body, Command
from app.resources.declare import Resource
from app.resources.fields import choice, field, one, reference, stored
from app.resources.listing import Filter, Flag, Listing
from app.resources.members import Id, One
from app.resources.values import Value, item


class AreaResource(Resource[Area], kind="area", requires=Can.READ_PLAYBOOK, name="Area", get="area"):
    """An area of concern in the district's tree of areas."""

    code: str = field(Area.code, "The code by which callers may name it.", "reading")
    name: str = field(Area.name, "The name.", "Reading")
    secured: bool = field(Area.secured, "Whether its records need a scope of their own, `area:<code>`.")
    parent_id: Id | None = reference(Area.parent_id, "area", "The area that it is part of.", rest="parent")
    position: int = field(Area.position, "Its place in the district's order; areas of one place follow by code.", 1)
    retired_at: datetime | None = field(
        Area.retired_at, "When it was retired; nothing new may use a retired area. Null for an area in force."
    )
    version: int = field(Area.version, "The number of changes; the ETag.", 1)


class LevelResource(Resource[Level], kind="level", requires=Can.READ_PLAYBOOK, name="Level", get="level"):
    """A level of support. It describes the support, not the child. Rank 1 is core."""

    rank: int = field(Level.rank, "The rank: 1 is core, 2 by default targeted.", 2)
    name: str = field(Level.name, "The name.", "Targeted")
    retired_at: datetime | None = field(
        Level.retired_at, "When it was retired; nothing new may use a retired level. Null for a level in force."
    )
    version: int = field(Level.version, "The number of changes; the ETag.", 1)


class SemRangeValue(Value):
    """A standard error of measurement for baselines in a given range, for students of one grade or of all grades."""

    sem: float = item("The standard error of measurement, in the measure's unit.", 4.0)
    grade: str | None = item("The grade; null for every grade.", "01")
    from_score: float | None = item("The lowest baseline of the range; null for no limit.", 0.0)
    to_score: float | None = item("The baseline at which the range ends, not included; null for no limit.", 30.0)


class MeasureResource(Resource[Measure], kind="measure", requires=Can.READ_PLAYBOOK, name="Measure"):
    """An instrument that gives scores."""

    code: str = field(Measure.code, "The code by which scores and rules name it; it never changes.", "orf")
    name: str = field(Measure.name, "The name.", "Oral reading fluency")
    area: One[AreaResource] = one(Measure.area_id, AreaResource, "The area that it measures.")
    unit: str = field(Measure.unit, "The unit of its scores.", "words a minute")
    direction: str = field(Measure.direction, "`up` or `down`: the direction in which scores improve.", "up")
    sem: float | None = field(Measure.sem, "Standard error of measurement, in the measure's unit.", 5.5)
    sems: list[SemRangeValue] = stored(
        Measure.sems, "The standard errors of measurement for some grades or ranges of score; `sem` applies elsewhere."
    )
    lowest: float = field(Measure.lowest, "The lowest possible score.", 0.0)
    highest: float = field(Measure.highest, "The highest possible score.", 300.0)
    kind: str = field(Measure.kind, "`growth`, or `count`, `percentage`, `criterion`.", "growth")
    forms: list[str] | None = field(
        Measure.forms, "The measure's passages or versions; null where any name is accepted.", ["A", "B"]
    )
    version: int = field(Measure.version, "The number of changes; the ETag.", 1)


class BenchmarkResource(
    Resource[Benchmark], kind="benchmark", requires=Can.READ_PLAYBOOK, name="Benchmark", get="benchmark"
):
    """The norms and benchmarks of a measure for one grade, from one source.

    To change a benchmark, a new one is published in the next version of the playbook.
    """

    measure: One[MeasureResource] = one(Benchmark.measure_id, MeasureResource, "The measure.")
    grade: str = field(Benchmark.grade, "The grade, as in the roster.", "03")
    season: Season | None = choice(Benchmark.season, "The screening window; null for figures of the whole year.")
    citation: str = field(
        Benchmark.citation, "Where the figures come from.", "Hasbrouck and Tindal (2017), national norms"
    )
    published: bool = field(
        Benchmark.published,
        "True for a published source, with which every district begins; false for its own.",
    )
    checked_on: date | None = field(
        Benchmark.checked_on, "The day on which the figures were compared with their source; null if they were not."
    )
    benchmark_goal: float | None = field(
        Benchmark.benchmark_goal, "The lowest score with which a student is on track, in the measure's unit.", 73.0
    )
    risk_cut: float | None = field(
        Benchmark.risk_cut, "The score below which the need is intensive, in the measure's unit.", 55.0
    )
    p10: float | None = field(Benchmark.p10, "The 10th percentile.", 40.0)
    p25: float | None = field(Benchmark.p25, "The 25th percentile.", 59.0)
    p50: float | None = field(Benchmark.p50, "The 50th percentile.", 83.0)
    p75: float | None = field(Benchmark.p75, "The 75th percentile.", 104.0)
    p90: float | None = field(Benchmark.p90, "The 90th percentile.", 134.0)
    typical_growth: float | None = field(
        Benchmark.typical_growth, "How much a typical student improves a week, in the measure's unit.", 0.9
    )
    realistic_growth: float | None = field(
        Benchmark.realistic_growth,
        "The most improvement a week that is realistic; a goal that requires more must be confirmed.",
        1.0,
    )
    from_version: int = field(Benchmark.from_version, "The number of the first version of the playbook that has it.", 1)
    until_version: int | None = field(
        Benchmark.until_version, "The number of the first version that does not have it any more.", 4
    )


async def _version_number(work: Work, number: Any, pointer: str | None) -> int:
    """Returns `number`, or the nearest number that the database column can hold."""
    return min(max(int(number), 0), 2**31 - 1)


LISTINGS = (
    Listing(
        "benchmarks",
        BenchmarkResource,
        "Norms and benchmarks in the order in which they were added, those of earlier versions included.",
        filters=(
            by_measure(Benchmark.measure_id),
            Filter("grade", str, lambda grade: Benchmark.grade == grade, "Only those of this grade.", "03", most=20),
            Filter(
                "playbook_number",
                int,
                lambda number: (
                    (Benchmark.from_version <= number)
                    & or_(Benchmark.until_version.is_(None), Benchmark.until_version > number)
                ),
                "Only those of the version of the playbook with this number.",
                1,
                resolve=_version_number,
                bound=int,
            ),
        ),
        flags=(
            Flag(
                "in_force",
                "Only those of the version in force.",
                on=Benchmark.until_version.is_(None),
            ),
        ),
        changed_at=Benchmark.updated_at,
    ),
    Listing(
        "areas",
        AreaResource,
        "All areas, retired ones included, in the district's order.",
        order=(Area.position, Area.code),
        flags=(Flag("in_force", "Only those that are not retired.", on=Area.retired_at.is_(None)),),
        paged=False,
        most=5000,
        changed_at=Area.updated_at,
    ),
    Listing(
        "levels",
        LevelResource,
        "All levels, retired ones included, by rank.",
        order=(Level.rank, Level.id),
        flags=(Flag("in_force", "Only those that are not retired.", on=Level.retired_at.is_(None)),),
        paged=False,
        most=100,
        assumed=10,
        changed_at=Level.updated_at,
    ),
    Listing(
        "measures",
        MeasureResource,
        "All measures, by code.",
        order=(Measure.code,),
        paged=False,
        most=5000,
        changed_at=Measure.updated_at,
    ),
)

COMMANDS = (
    Command(
        "publish_benchmarks",
        benchmarks.publish_benchmarks,
        BenchmarkResource,
        "Publishes the district's own norms and benchmarks in the next version of the playbook. One replaces the "
        "district's earlier one of the same measure, grade, season and citation; published norms are never replaced.",
        "POST /benchmarks",
        emits=(PLAYBOOK_PUBLISHED,),
        bulk=benchmarks.MAX_AT_ONCE,
        items="benchmarks",
        body=Body("NewBenchmarks", "Up to 500 norms and benchmarks of one version."),
        row=attrgetter("benchmark"),
    ),
    Command(
        "retire_benchmark",
        benchmarks.retire_benchmark,
        None,
        "Publishes the next version of the playbook without this norm or benchmark. Earlier versions keep it.",
        "DELETE /benchmarks/{benchmark}",
        emits=(PLAYBOOK_PUBLISHED,),
        status=204,
    ),
)
