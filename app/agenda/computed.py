"""Computes the agenda of a team's next meeting: the items that follow from the data, and the items that members added.

Items that were discussed, carried or dropped are left out.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final
from uuid import UUID

from sqlalchemy import (
    Date,
    Integer,
    Row,
    Select,
    Text,
    Uuid,
    and_,
    bindparam,
    cast,
    func,
    literal,
    null,
    or_,
    select,
    union_all,
)

from app.access.work import Work
from app.agenda.models import AgendaItem
from app.agenda.rules import RESTS_WHEN_DISCUSSED, AgendaItemKind, AgendaItemState, complete_order
from app.agenda.scope import AgendaScope, students_of
from app.agenda.sources import sources_in_force
from app.playbook.defaults import REMINDERS
from app.playbook.lookup import published
from app.roster.lookup import today_of

MOST: Final = 1000
"""The largest number of items of an agenda."""


@dataclass(frozen=True, slots=True)
class AgendaQueries:
    """The statements for the items of a team's next agenda: one for the items, and one for their number.

    `values` are the values of their parameters.
    """

    items: Select[Any]
    number: Select[int]
    values: Mapping[str, Any]


async def compute_items(work: Work, queries: AgendaQueries) -> Sequence[Row[Any]]:
    """Returns the items of a team's next agenda that the principal may see, at most `MOST`. Executes one statement."""
    rows: Sequence[Row[Any]] = (await work.db.execute(queries.items, queries.values)).all()
    return rows


async def count_items(work: Work, queries: AgendaQueries) -> int:
    """Returns how many items of a team's next agenda the principal may see. Executes one statement."""
    return int(await work.db.scalar(queries.number, queries.values) or 0)


async def next_agenda(work: Work, team_id: UUID) -> AgendaQueries:
    """Returns the statements for the items that a team's next meeting would have on its agenda today.

    These are the items that follow from the data, and the open items that members added for the next meeting. An item
    that was dropped, or discussed with nothing left to do, is left out until something new happens (see
    `AgendaItem.basis`).
    """
    playbook = await published(work)
    reminders = REMINDERS | {name: int(number) for name, number in playbook.reminders.items()}
    days = {_days(name): number for name, number in reminders.items() if number}
    in_force = tuple(sorted(name for name, number in reminders.items() if number))
    items, number = _build(in_force, tuple(complete_order(playbook.agenda_order)))
    values = {"district_id": work.district_id, "team_id": team_id, "today": await today_of(work), **days}
    return AgendaQueries(items, number, values)


def _days(reminder: str) -> str:
    """Returns the name of the statements' parameter for the number of days of a reminder."""
    return f"days_{reminder}"


@lru_cache(maxsize=128)
def _build(reminders: tuple[str, ...], order: tuple[str, ...]) -> tuple[Select[Any], Select[int]]:
    """Returns the statements for the items of an agenda and for their number.

    To build them takes longer than to execute them, so they are kept. `reminders` are those that the playbook has
    turned on, and `order` has the kinds of items in the order in which the agenda lists them.
    """
    district_id, team_id = bindparam("district_id", type_=Uuid), bindparam("team_id", type_=Uuid)
    today = bindparam("today", type_=Date)
    days = {name: bindparam(_days(name), type_=Integer) for name in reminders}
    scope = AgendaScope(district_id, team_id, students_of(district_id, team_id, today), today, days, order)
    item = select(union_all(_computed(scope), _added(scope)).subquery("item"))
    return item.limit(MOST), select(func.count()).select_from(item.subquery())


def _computed(scope: AgendaScope) -> Select[Any]:
    """Returns a query for the items that follow from the data."""
    reasons = union_all(*sources_in_force(scope)).subquery("reason")
    is_decision_due = reasons.c.code.like(f"%{AgendaItemKind.DECISION_DUE}")
    same = and_(
        AgendaItem.district_id == scope.district_id,
        AgendaItem.team_id == scope.team_id,
        AgendaItem.subject_id == reasons.c.subject_id,
        # If a decision about an alarm becomes due, the alarm stays the same item, whichever of the two kinds it gets.
        AgendaItem.kind.in_((reasons.c.kind, func.split_part(reasons.c.code, " ", 1))),
        AgendaItem.basis == reasons.c.basis,
    )
    rests = or_(
        AgendaItem.state == AgendaItemState.DROPPED,
        and_(
            AgendaItem.state == AgendaItemState.DISCUSSED,
            AgendaItem.kind.in_(RESTS_WHEN_DISCUSSED),
            ~is_decision_due,
        ),
    )
    carried = select(func.count()).where(same, AgendaItem.state == AgendaItemState.CARRIED).scalar_subquery()
    return select(
        *reasons.c,
        cast(null(), Uuid).label("item_id"),
        cast(null(), Text).label("text"),
        cast(carried, Integer).label("times_carried"),
    ).where(~select(AgendaItem.id).where(same, rests).exists())


def _added(scope: AgendaScope) -> Select[*tuple[Any, ...]]:
    """Returns a query for the open items that members added for the next meeting, with the columns of `_computed`."""
    return select(
        AgendaItem.kind,
        AgendaItem.subject_kind,
        AgendaItem.subject_id,
        AgendaItem.student_id,
        AgendaItem.school_ids,
        AgendaItem.secured_area,
        AgendaItem.basis,
        AgendaItem.since,
        literal(str(AgendaItemKind.OWN), Text).label("code"),
        literal("", Text).label("records"),
        AgendaItem.id.label("item_id"),
        AgendaItem.text,
        AgendaItem.times_carried,
    ).where(
        AgendaItem.district_id == scope.district_id,
        AgendaItem.team_id == scope.team_id,
        AgendaItem.meeting_id.is_(None),
        AgendaItem.state == AgendaItemState.OPEN,
    )
