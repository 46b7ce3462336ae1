"""Declares the public shapes of the playbook: areas, levels, measures."""

from app.access.permission import Can
from app.playbook.models import Area, Level, Measure
from app.resources.declare import Resource
from app.resources.fields import field, one, reference, stored
from app.resources.listing import Listing
from app.resources.members import Id, One
from app.resources.values import Value, item


class AreaResource(Resource[Area], kind="area", requires=Can.READ_PLAYBOOK, name="Area"):
    """An area of concern in the district's tree of areas."""

    code: str = field(Area.code, "The code by which callers may name it.", "reading")
    name: str = field(Area.name, "The name.", "Reading")
    secured: bool = field(Area.secured, "Whether its records need a scope of their own, `area:<code>`.")
    parent_id: Id | None = reference(Area.parent_id, "area", "The area that it is part of.", rest="parent")


class LevelResource(Resource[Level], kind="level", requires=Can.READ_PLAYBOOK, name="Level"):
    """A level of support. It describes the support, not the child. Rank 1 is core."""

    rank: int = field(Level.rank, "The rank: 1 is core, 2 by default targeted.", 2)
    name: str = field(Level.name, "The name.", "Targeted")


class SemRangeValue(Value):
    """The standard error of measurement for students of a grade whose baseline is in a range of score."""

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


LISTINGS = (
    Listing(
        "areas",
        AreaResource,
        "All areas, by code.",
        order=(Area.code,),
        paged=False,
        most=5000,
        changed_at=Area.updated_at,
    ),
    Listing(
        "levels",
        LevelResource,
        "All levels, by rank.",
        order=(Level.rank,),
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
