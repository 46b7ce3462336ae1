"""Defines what all queries for agenda items have in common: their parameters, and the columns that they return."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, TypeAlias, TypeVar
from uuid import UUID

from sqlalchemy import ARRAY, CTE, ColumnElement, Date, Select, Text, Uuid, and_, cast, func, literal, null, select
from sqlalchemy.sql.elements import SQLCoreOperations

from app.agenda.rules import AgendaItemKind
from app.core.db import Bound
from app.roster.models import Ids, Person
from app.team.models import TeamStudent, in_force_on

Value = TypeVar("Value")
Expression: TypeAlias = SQLCoreOperations[Value]


@dataclass(frozen=True, slots=True)
class AgendaScope:
    """The parameters with which the functions in `SOURCES` select the items of an agenda.

    They are parameters of a statement that is built once, so they have no values here.

    `students` is a query for the students of the team. `order` has the kinds of items in the order in which an agenda
    lists them. `days` has the reminders that the playbook has turned on, each with the number of days after which a
    state, such as a concern without a support, is put on the agenda.
    """

    district_id: ColumnElement[UUID]
    team_id: ColumnElement[UUID]
    students: CTE
    today: ColumnElement[date]
    days: Mapping[str, ColumnElement[int]]
    order: Sequence[str]

    def comes_before(self, kind: AgendaItemKind, other: AgendaItemKind) -> bool:
        """Returns whether an agenda lists items of the kind `kind` before items of the kind `other`."""
        return self.order.index(kind) < self.order.index(other)

    def serves(self, model: Any) -> ColumnElement[bool]:
        """Returns the condition that a record is about a student of the team."""
        mine = select(self.students.c.student_id).scalar_subquery()
        return and_(model.district_id == self.district_id, model.student_id == func.any(func.array(mine)))


def students_of(district_id: Bound[UUID], team_id: Bound[UUID], today: Bound[date]) -> CTE:
    """Returns a query for the students whom a team serves on a day, without those who have left the roster."""
    return (
        select(TeamStudent.student_id)
        .join(Person, and_(Person.district_id == district_id, Person.id == TeamStudent.student_id))
        .where(
            TeamStudent.district_id == district_id,
            TeamStudent.team_id == team_id,
            in_force_on(TeamStudent, today),
            Person.removed_at.is_(None),
        )
        .distinct()
        .cte("served")
    )


def select_reason(
    model: Any,
    subject: tuple[str, Expression[UUID]],
    kind: AgendaItemKind | Expression[str],
    since: Expression[date],
    *,
    basis: Expression[str] | None = None,
    code: Expression[str] | None = None,
    records: Mapping[str, Any] = {},
) -> Select[Any]:
    """Returns a query for agenda items of one kind, to which the caller adds the conditions.

    All such queries have the same columns.

    * `model` is the table of the record that an item is about. It may lack the columns about a student.
    * `subject` is the name of that kind of record, and the column of the record's id.
    * `since` is the day since which the reason for the item has existed.
    * `basis` is a text that changes when something new happens. An item that was dropped stays off the agenda until its
      basis changes. By default, the basis is the day `since`.
    * `code` is the code of the reason, by default the kind of the item.
    * `records` has the columns with the ids of the records that explain the reason, keyed by kind of record. A column
      has one id or an array of ids.
    """
    shown: Any = literal(str(kind), Text) if isinstance(kind, AgendaItemKind) else kind
    subject_id: Any = subject[1]
    occasion: Any = cast(since, Text) if basis is None else basis
    reason: Any = shown if code is None else code
    names = [_named_ids(name, column) for name, column in records.items()]
    return select(
        shown.label("kind"),
        literal(subject[0], Text).label("subject_kind"),
        subject_id.label("subject_id"),
        getattr(model, "student_id", cast(null(), Uuid)).label("student_id"),
        getattr(model, "school_ids", cast(literal("{}", Text), Ids)).label("school_ids"),
        model.secured_area.label("secured_area"),
        occasion.label("basis"),
        cast(since, Date).label("since"),
        reason.label("code"),
        (func.concat_ws(" ", *names) if names else literal("", Text)).label("records"),
    )


def _named_ids(name: str, column: Any) -> ColumnElement[str]:
    """Returns SQL for the ids in a column, each as `name:id` and separated by spaces. It is null if there is no id."""
    prefix: ColumnElement[str] = literal(f"{name}:", Text)
    if not isinstance(column.type, ARRAY):
        return prefix + cast(column, Text)
    return prefix + func.nullif(func.array_to_string(column, f" {name}:", type_=Text), "", type_=Text)
