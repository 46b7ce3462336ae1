"""Computes the agenda of a team's next meeting: the items that follow from the data, and the items that members added.

Items that were discussed, carried or dropped are left out.
"""

from collections.abc import Sequence
from typing import Any, Final
from uuid import UUID

from sqlalchemy import Integer, Row, Select, Text, Uuid, and_, cast, func, literal, null, or_, select, union_all

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


async def compute_items(work: Work, query: Select[Any]) -> Sequence[Row[Any]]:
    """Runs a query from `next_agenda`, and returns the rows that the principal may see, at most `MOST`.

    Executes one statement.
    """
    rows: Sequence[Row[Any]] = (await work.db.execute(query.limit(MOST))).all()
    return rows


async def count_items(work: Work, query: Select[Any]) -> int:
    """Returns how many rows of a query from `next_agenda` the principal may see. Executes one statement."""
    return int(await work.db.scalar(select(func.count()).select_from(query.subquery())) or 0)


async def next_agenda(work: Work, team_id: UUID) -> Select[Any]:
    """Returns a query for the items that a team's next meeting would have on its agenda today.

    These are the items that follow from the data, and the open items that members added for the next meeting. An item
    that was dropped, or discussed with nothing left to do, is left out until something new happens (see
    `AgendaItem.basis`).
    """
    today = await today_of(work)
    playbook = await published(work)
    days = REMINDERS | {name: int(number) for name, number in playbook.reminders.items()}
    order = complete_order(playbook.agenda_order)
    scope = AgendaScope(work.district_id, team_id, students_of(work.district_id, team_id, today), today, days, order)
    reasons = union_all(*sources_in_force(scope)).subquery("reason")
    is_decision_due = reasons.c.code.like(f"%{AgendaItemKind.DECISION_DUE}")
    same = and_(
        AgendaItem.district_id == work.district_id,
        AgendaItem.team_id == team_id,
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
    computed = select(
        *reasons.c,
        cast(null(), Uuid).label("item_id"),
        cast(null(), Text).label("text"),
        cast(carried, Integer).label("times_carried"),
    ).where(~select(AgendaItem.id).where(same, rests).exists())
    added = select(
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
        AgendaItem.district_id == work.district_id,
        AgendaItem.team_id == team_id,
        AgendaItem.meeting_id.is_(None),
        AgendaItem.state == AgendaItemState.OPEN,
    )
    return select(union_all(computed, added).subquery("item"))
