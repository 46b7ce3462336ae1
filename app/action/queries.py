"""Reads the action items that are due, for agendas and for a person's list of tasks.

Does not count items per person.
"""

from collections.abc import Collection
from datetime import date
from uuid import UUID

from sqlalchemy import ColumnElement, any_, cast, or_, select

from app.access.permission import Can
from app.access.work import Work, needs
from app.action.models import ActionItem
from app.action.rules import ActionState
from app.core.db import Bound
from app.roster.lookup import IdList, today_of
from app.team.models import TeamStudent, in_force_on


@needs(Can.READ_ACTIONS)
async def due_action_items(work: Work, team_ids: Collection[UUID], by: date) -> list[ActionItem]:
    """Returns the open action items of these teams that are due on or before the day `by`, the earliest due day first.

    An item about a student that the team does not serve today is left out, until the team serves the student again.
    """
    is_due = ActionItem.team_id == any_(cast(list(team_ids), IdList))
    conditions = are_due(work.district_id, by, await today_of(work))
    query = select(ActionItem).where(is_due, *conditions)
    items = list(await work.db.scalars(query.order_by(ActionItem.due_on, ActionItem.id)))
    work.disclose("action_item", (item.student_id for item in items if item.student_id is not None))
    return items


def are_due(district_id: Bound[UUID], by: Bound[date], today: Bound[date]) -> tuple[ColumnElement[bool], ...]:
    """Returns SQL conditions that select the open action items that are due on or before the day `by`.

    An item about a student that the team does not serve today is not selected.
    """
    served = select(TeamStudent.id).where(
        TeamStudent.district_id == district_id,
        TeamStudent.team_id == ActionItem.team_id,
        TeamStudent.student_id == ActionItem.student_id,
        in_force_on(TeamStudent, today),
    )
    return (
        ActionItem.district_id == district_id,
        ActionItem.state == ActionState.OPEN,
        ActionItem.due_on <= by,
        or_(ActionItem.student_id.is_(None), served.exists()),
    )
