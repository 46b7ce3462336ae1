"""Reads the names that a screen shows for tasks and agenda items, such as those of students and interventions."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any, Final
from uuid import UUID

from sqlalchemy import ARRAY, Select, Text, and_, any_, cast, func, literal, null, or_, select, union_all
from sqlalchemy.dialects.postgresql import aggregate_order_by

from app.access.permission import Can
from app.access.principal import Principal
from app.access.work import Work
from app.action.models import ActionItem
from app.concern.models import Concern
from app.evidence.screening.models import ScreeningWindow
from app.hypothesis.models import Hypothesis
from app.playbook.benchmarks.rules import Season
from app.playbook.models import Area, Measure
from app.roster.lookup import IdList
from app.roster.models import Org, Person
from app.signal.models import Signal
from app.signal.stalls.models import CoreStall
from app.support.models import Support

PERMISSIONS: Final[Mapping[str, Can]] = {
    "student": Can.READ_ROSTER,
    "support": Can.READ_SUPPORTS,
    "concern": Can.READ_CONCERNS,
    "signal": Can.READ_SIGNALS,
    "hypothesis": Can.READ_HYPOTHESES,
    "action_item": Can.READ_ACTIONS,
}
"""The permission that each kind of record needs before its names are shown."""
COLUMNS: Final = ("text", "area", "intervention", "measures")


@dataclass(frozen=True, slots=True)
class StallNames:
    """What a screen shows of a core stall: the grade that fell behind, where, by which measure, in which window.

    * `school_id` is None if the grade of the whole district is meant. `school_name` is also None if the caller may not
      read the roster.
    * The other values, except `grade`, are None if the caller may not read the playbook.
    * `closes_on` is the day after the last day of the window.
    """

    grade: str
    school_id: UUID | None
    school_name: str | None
    measure_name: str | None
    season: Season | None
    opens_on: date | None
    closes_on: date | None


@dataclass(frozen=True, slots=True)
class SubjectNames:
    """The names of a record that a task or an agenda item is about.

    * `text` is the name of a student, or what an action item says is to be done.
    * `area` is the name of the area of a support, a concern, a signal or a hypothesis.
    * `intervention` is what a support does, and `measures` are the names of the measures that follow the support.
    * `stall` has the names of a core stall.

    A field is None if this kind of record has no such name. All fields are None if the caller may not read the record.
    """

    text: str | None = None
    area: str | None = None
    intervention: str | None = None
    measures: tuple[str, ...] = ()
    stall: StallNames | None = None


NO_NAMES: Final = SubjectNames()


async def read_subject_names(work: Work, subjects: Iterable[tuple[str, UUID | None]]) -> Mapping[UUID, SubjectNames]:
    """Returns the names of these records, by id. `subjects` has the kind and the id of each record.

    Records that the caller may not read are left out, and so are kinds of records that have no names. Executes at most
    one statement, and checks the permission for each kind.
    """
    db, ids_by_kind = work.db, dict[str, set[UUID]]()
    for kind, row_id in subjects:
        if row_id is not None and kind in PERMISSIONS and work.principal.may(PERMISSIONS[kind]):
            ids_by_kind.setdefault(kind, set()).add(row_id)
    if not ids_by_kind:
        return {}
    queries = [_names(work, kind, sorted(ids)) for kind, ids in sorted(ids_by_kind.items())]
    rows = (await db.execute(union_all(*queries))).all()
    for kind in ids_by_kind:
        work.disclose(kind, {row.student_id for row in rows if row.kind == kind and row.student_id is not None})
    return {row.id: SubjectNames(row.text, row.area, row.intervention, tuple(row.measures or ())) for row in rows}


async def read_stall_names(work: Work, reader: Principal, stall_ids: Iterable[UUID]) -> dict[UUID, SubjectNames]:
    """Returns the names of core stalls (grades that fell behind), by id. Executes at most one statement.

    Call it within `as_district`: a member of a team sees the item of an agenda, but not the core stalls of a school.
    `reader` is the caller, whose permissions decide which names are returned.
    """
    db, unique_ids = work.db, set(stall_ids)
    if not unique_ids or not reader.may(Can.READ_SIGNALS):
        return {}
    district_id = work.district_id
    query = (
        select(CoreStall, Org.name, Measure.name, ScreeningWindow)
        .outerjoin(Org, and_(Org.district_id == district_id, Org.id == CoreStall.school_id))
        .join(Measure, and_(Measure.district_id == district_id, Measure.id == CoreStall.measure_id))
        .join(
            ScreeningWindow,
            and_(ScreeningWindow.district_id == district_id, ScreeningWindow.id == CoreStall.window_id),
        )
        .where(CoreStall.district_id == district_id, CoreStall.id == any_(cast(sorted(unique_ids), IdList)))
    )
    rows = (await db.execute(query)).all()
    sees_school, sees_playbook = reader.may(Can.READ_ROSTER), reader.may(Can.READ_PLAYBOOK)
    return {
        stall.id: SubjectNames(
            stall=StallNames(
                grade=stall.grade,
                school_id=stall.school_id,
                school_name=school if sees_school else None,
                measure_name=measure if sees_playbook else None,
                season=Season(window.season) if sees_playbook else None,
                opens_on=window.opens_on if sees_playbook else None,
                closes_on=window.closes_on if sees_playbook else None,
            )
        )
        for stall, school, measure, window in rows
    }


def _names(work: Work, kind: str, row_ids: list[UUID]) -> Select[Any]:
    """Returns the query for the names of records of one kind. The queries of all kinds have the same columns."""
    model, student, values = _source(work, kind)
    columns = [
        cast(values.get(name, null()), ARRAY(Text) if name == "measures" else Text).label(name) for name in COLUMNS
    ]
    query = select(literal(kind, Text).label("kind"), model.id.label("id"), student.label("student_id"), *columns)
    query = query.where(model.district_id == work.district_id, model.id == any_(cast(row_ids, IdList)))
    if "area" not in values:
        return query
    of_area = model
    if model is Hypothesis:
        of_area = Concern
        query = query.join(Concern, and_(Concern.district_id == work.district_id, Concern.id == Hypothesis.concern_id))
    return query.join(Area, and_(Area.district_id == work.district_id, Area.id == of_area.area_id))


def _source(work: Work, kind: str) -> tuple[Any, Any, dict[str, Any]]:
    """Returns the table of a kind of records, its column with the student, and SQL expressions for a record's names.

    The expressions are keyed by the field of `SubjectNames` that they fill.
    """
    if kind == "student":
        return Person, Person.id, {"text": Person.given_name + " " + Person.family_name}
    if kind == "action_item":
        return ActionItem, ActionItem.student_id, {"text": ActionItem.text}
    if kind == "support":
        order = aggregate_order_by(Measure.name, Measure.id != Support.measure_id, Measure.name)
        of_support = or_(Measure.id == Support.measure_id, Measure.id == any_(Support.more_measures))
        measures = select(func.array_agg(order)).where(Measure.district_id == work.district_id, of_support)
        followed = measures.correlate(Support).scalar_subquery()
        return (
            Support,
            Support.student_id,
            {"area": Area.name, "intervention": Support.intervention, "measures": followed},
        )
    model: Any = {"concern": Concern, "signal": Signal, "hypothesis": Hypothesis}[kind]
    return model, model.student_id, {"area": Area.name}
