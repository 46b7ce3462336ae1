"""Reads the names that a screen shows for tasks and agenda items, such as those of students and interventions."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

from sqlalchemy import ARRAY, Select, Text, and_, any_, cast, func, literal, null, or_, select, union_all
from sqlalchemy.dialects.postgresql import aggregate_order_by

from app.access.permission import Can
from app.access.work import Work
from app.action.models import ActionItem
from app.concern.models import Concern
from app.hypothesis.models import Hypothesis
from app.playbook.models import Area, Measure
from app.roster.lookup import IdList
from app.roster.models import Person
from app.signal.models import Signal
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
class SubjectNames:
    """The names of a record that a task or an agenda item is about.

    * `text` is the name of a student, or what an action item says is to be done.
    * `area` is the name of the area of a support, a concern, a signal or a hypothesis.
    * `intervention` is what a support does, and `measures` are the names of the measures that follow the support.

    A field is None if this kind of record has no such name. All fields are None if the caller may not read the record.
    """

    text: str | None = None
    area: str | None = None
    intervention: str | None = None
    measures: tuple[str, ...] = ()


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
