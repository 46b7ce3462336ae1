"""Ends the group memberships of students who have left the school of their group.

Their supports continue individually.
"""

from collections.abc import Collection
from datetime import date
from uuid import UUID

from sqlalchemy import all_, any_, cast, func, select, update

from app.access.permission import Can
from app.access.work import Work, needs
from app.events.catalogue import GROUP_CHANGED
from app.events.outbox import record
from app.group.events import group_event
from app.group.models import Group, GroupMember
from app.response.upkeep.roster_changes import follow_roster
from app.roster.lookup import IdList


@needs(Can.SYNC_ROSTER)
async def leave_groups_of_movers(work: Work, support_ids: Collection[UUID], today: date) -> None:
    """Ends the open group memberships of these supports if the student has left the group's school.

    Runs in the transaction of the sync, after `school_ids` of the memberships were updated. Executes two statements.
    """
    if not support_ids:
        return
    ended = await work.db.execute(
        update(GroupMember)
        .where(
            GroupMember.district_id == work.district_id,
            GroupMember.support_id == any_(cast(sorted(support_ids), IdList)),
            GroupMember.until_on.is_(None),
            Group.district_id == work.district_id,
            Group.id == GroupMember.group_id,
            Group.school_id != all_(GroupMember.school_ids),
        )
        .values(until_on=func.greatest(GroupMember.from_on, today))
        .returning(GroupMember.group_id)
        .execution_options(synchronize_session=False)
    )
    left: dict[UUID, int] = {}
    for (group_id,) in ended:
        left[group_id] = left.get(group_id, 0) + 1
    if not left:
        return
    groups = await work.db.scalars(
        select(Group)
        .where(Group.district_id == work.district_id, Group.id == any_(cast(sorted(left), IdList)))
        .order_by(Group.id)
        .with_for_update(key_share=True)
        .execution_options(populate_existing=True)
    )
    for group in groups:
        group.size -= left[group.id]
        group.version += 1
        record(work, group_event(GROUP_CHANGED, group))
    await work.db.flush()


@needs(Can.SYNC_ROSTER)
async def follow_supports(work: Work, support_ids: Collection[UUID], moved: Collection[UUID], today: date) -> None:
    """Updates supports after a sync has changed their students or leads.

    `moved` has the ids of those supports whose students have moved to another school. If such a student has left the
    school of a group, the student's membership in the group ends.
    """
    await follow_roster(work, support_ids, moved, today)
    await leave_groups_of_movers(work, moved, today)
