"""Reads and locks groups for the commands of this package, and defines which groups have lost their lead.

Checks no permission, because the commands do so.

Students are locked before their group. A sync uses the same order: it first locks the students who are moving, and then
removes them from their groups.
"""

from uuid import UUID

from sqlalchemy import Select, and_, any_, exists, or_, select

from app.access.work import Work
from app.core.errors import NotFound
from app.group.models import Group, GroupMember
from app.group.rules import GroupState
from app.resources.terms import DISTRICT
from app.roster.models import Org, Person
from app.roster.student_lock import lock_named_subjects, lock_newcomers, lock_students

IS_UNLED = and_(
    Group.state == GroupState.ACTIVE,
    Group.lead_id.is_not(None),
    ~exists().where(
        Person.district_id == DISTRICT,
        Person.id == Group.lead_id,
        Person.removed_at.is_(None),
        Person.enabled,
        or_(
            Group.school_id == any_(Person.school_ids),
            exists().where(
                Org.district_id == DISTRICT,
                Org.id == any_(Person.school_ids),
                Org.type == "district",
                Org.removed_at.is_(None),
            ),
        ),
    ),
)
"""The condition that the lead of an active group has left the roster or the group's school. People of the district's
own org are at every school.
"""


async def read_group(work: Work, group_id: UUID) -> Group:
    """Returns a group; raises `NotFound` if the caller may see no group with this id."""
    return _existing(await work.db.scalar(_is(work, group_id)))


async def lock_group(work: Work, group_id: UUID) -> Group:
    """Locks and returns a group; raises `NotFound` if the caller may see no group with this id."""
    await lock_named_subjects(work)
    query = _is(work, group_id).with_for_update(key_share=True)
    return _existing(await work.db.scalar(query.execution_options(populate_existing=True)))


async def lock_group_after_members(work: Work, group_id: UUID, *, only_present: bool = False) -> Group:
    """Locks the students who are or were members of a group, then locks and returns the group.

    Members that the caller may not see are not locked. With `only_present`, former members are not locked either.
    """
    await lock_named_subjects(work)
    query = select(GroupMember.student_id).where(
        GroupMember.district_id == work.district_id, GroupMember.group_id == group_id
    )
    if only_present:
        query = query.where(GroupMember.until_on.is_(None))
    await lock_students(work, set(await work.db.scalars(query)))
    group = await lock_group(work, group_id)
    await lock_newcomers(work, set(await work.db.scalars(query)))
    return group


def _is(work: Work, group_id: UUID) -> Select[Group]:
    return select(Group).where(Group.district_id == work.district_id, Group.id == group_id)


def _existing(group: Group | None) -> Group:
    if group is None:
        raise NotFound("group")
    return group
