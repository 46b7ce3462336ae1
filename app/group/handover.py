"""Hands over groups, together with the supports of their members, to another lead or provider."""

from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import and_, any_, cast, or_, select

from app.access.permission import Can
from app.access.work import Work, needs
from app.group.lookup import lock_group_after_members
from app.group.models import Group, GroupMember
from app.group.rules import GroupState
from app.group.service import require_active, save_change
from app.response.upkeep import handover
from app.response.upkeep.handover import NewHandover, NewHandovers, People
from app.roster.lookup import IdList
from app.support.models import Support


@dataclass(frozen=True, slots=True)
class HandedOver:
    """The numbers of supports and of groups that were handed over."""

    supports: int
    groups: int


@needs(Can.PLAN_SUPPORT)
async def hand_over_group(work: Work, group_id: UUID, new: NewHandover) -> Group:
    """Gives a group another lead, another provider, or both.

    The supports of its members go with it, if the group's former lead leads them, or its former provider provides
    them. Supports of members whom the caller may not see stay as they are.
    """
    group = require_active(await lock_group_after_members(work, group_id, only_present=True))
    before: People = (group.lead_id, group.provider_id)
    after, day = await handover.validate_handover(work, new, before)
    rows = await work.db.scalars(
        select(Support)
        .join(GroupMember, and_(GroupMember.district_id == work.district_id, GroupMember.support_id == Support.id))
        .where(
            Support.district_id == work.district_id,
            Support.state != "ended",
            Support.student_id == any_(cast(sorted(work.locked_students), IdList)),
            GroupMember.group_id == group.id,
            GroupMember.until_on.is_(None),
        )
        .order_by(Support.id)
        .execution_options(populate_existing=True)
    )
    people_after: dict[UUID, tuple[Support, People]] = {}
    for support in rows:
        present: People = (support.lead_id, support.provider_id)
        people = _replaced(present, before, after)
        if people != present:
            people_after[support.id] = (support, people)
    await handover.save_handovers(work, people_after, new.because, day)
    group.lead_id, group.provider_id = after
    return await save_change(work, group)


@needs(Can.PLAN_SUPPORT)
async def hand_over_supports(work: Work, new: NewHandovers) -> HandedOver:
    """Hands over all supports and groups that the giver leads or provides to the taker.

    Leaves out those that have ended, and those that the caller may not see. Returns the numbers of both.
    """
    people = await handover.hand_over_supports(work, new)
    rows = await work.db.scalars(
        select(Group)
        .where(
            Group.district_id == work.district_id,
            Group.state == GroupState.ACTIVE,
            or_(Group.lead_id == people.giver_id, Group.provider_id == people.giver_id),
        )
        .order_by(Group.id)
        .with_for_update(key_share=True)
        .execution_options(populate_existing=True)
    )
    groups = list(rows)
    for group in groups:
        of_giver: People = (people.giver_id, people.giver_id)
        of_taker: People = (people.taker_id, people.taker_id)
        group.lead_id, group.provider_id = _replaced((group.lead_id, group.provider_id), of_giver, of_taker)
        await save_change(work, group)
    return HandedOver(people.supports, len(groups))


def _replaced(present: People, before: People, after: People) -> People:
    """Returns the present lead and provider, each replaced by the one of `after` if it is the one of `before`."""
    lead_id, provider_id = (
        new if person == old else person for person, old, new in zip(present, before, after, strict=True)
    )
    return lead_id, provider_id
