"""Locks groups for the commands of the room, under the permission that a command requires."""

from uuid import UUID

from sqlalchemy import select

from app.access.work import Work
from app.core.errors import NotFound
from app.group.models import Group


async def lock_group(work: Work, group_id: UUID) -> Group:
    """Locks and returns a group; raises `NotFound` if there is none within reach."""
    query = select(Group).where(Group.district_id == work.district_id, Group.id == group_id)
    group = await work.db.scalar(query.with_for_update(key_share=True).execution_options(populate_existing=True))
    if group is None:
        raise NotFound("group")
    return group
