"""Creates the action items that a team agrees on, gives them to another member, and closes them.

Does not count or compare items per person.
"""

from dataclasses import dataclass
from datetime import date
from typing import Annotated, Final
from uuid import UUID

from sqlalchemy import select

from app.access.permission import SEES_SECURED, Can
from app.access.work import Work, needs
from app.action.models import ActionItem
from app.action.rules import ActionOutcome, ActionState, check_open, violations_of_closing
from app.core.clock import now
from app.core.errors import Invalid, NotFound, Violation
from app.core.ids import new_id
from app.core.inputs import About, Choices
from app.core.text import Text
from app.core.violations import Violations, day_violations, input_violations
from app.events.catalogue import ACTION_ITEM_AGREED, ACTION_ITEM_CLOSED, ACTION_ITEM_REASSIGNED, EventType, NewEvent
from app.events.outbox import record
from app.roster.lookup import locate_staff, today_of
from app.roster.models import Person
from app.roster.student_lock import lock_row_after_student, lock_student
from app.team.lookup import find_active_team
from app.team.models import TeamMember, TeamStudent, in_force_on

MAX_AT_ONCE: Final = 100
ARCHIVED: Final = "The team is archived and agrees nothing any more."
BECAUSE = Text(min=1, max=2000)
STAFF_EXAMPLE: Final = "per_01jq4n6d9zf3vbs0x5k2m7e8tb"


@dataclass(frozen=True, slots=True)
class NewActionItem:
    """A new action item that a team agrees on."""

    team: Annotated[str, About("The team that agrees it.", "tea_01jq4n6d9zf3vbs0x5k2m7e8th")]
    text: Annotated[str, Text(min=1, max=2000), About("What is to be done.", "Call the family about the new plan.")]
    due_on: Annotated[date, About("The day by which it is to be done.", date(2026, 10, 6))]
    owner: Annotated[
        str | None,
        About(
            "The member of the team who does it: an id or an external id; by default, the person that the request "
            "acts for.",
            STAFF_EXAMPLE,
        ),
    ] = None
    student: Annotated[
        str | None,
        About(
            "The student that it is about, one of the team's: an id or an external id; null for none.",
            "stu_01jq4n6d9zf3vbs0x5k2m7e8ta",
        ),
    ] = None


@needs(Can.AGREE_ACTIONS)
async def agree_action_item(work: Work, new: NewActionItem) -> ActionItem:
    """Creates an action item: something that a member of the team agreed to do by a day."""
    return await agree_at(work, new, None, None)


@needs(Can.AGREE_ACTIONS)
async def agree_at(work: Work, new: NewActionItem, agenda_item_id: UUID | None, secured_area: str | None) -> ActionItem:
    """Creates an action item. `agenda_item_id` is the agenda item under which the team agreed on it, if there is one.

    An action item must have the same secured area as its agenda item.
    """
    violations = Violations(input_violations(new))
    today = await today_of(work)
    student: Person | None = None
    with violations:
        if new.student is not None:
            student = await lock_student(work, new.student, "/student")
    owner_id: UUID | None = None
    with violations:
        owner_id = await locate_owner(work, new.owner)
    with violations:
        team = await find_active_team(work, new.team, ARCHIVED)
        if student is not None:
            violations.add(await _violations_of_student(work, team.id, student.id, today))
        if owner_id is not None:
            await _require_member(work, team.id, owner_id, today, secured_area)
    violations.refuse()
    item = ActionItem(
        district_id=work.district_id,
        id=new_id(),
        team_id=team.id,
        team_school_id=team.school_id,
        student_id=None if student is None else student.id,
        school_ids=[] if student is None else student.school_ids,
        secured_area=secured_area,
        agenda_item_id=agenda_item_id,
        text=new.text,
        owner_id=owner_id,
        due_on=new.due_on,
        state=ActionState.OPEN,
        agreed_by=work.principal.person_id,
        agreed_by_client=work.principal.client_id,
        agreed_on=today,
        created_at=now(),
        version=1,
    )
    work.db.add(item)
    await work.db.flush()
    _emit(work, ACTION_ITEM_AGREED, item)
    return item


@needs(Can.AGREE_ACTIONS)
async def reassign_action_item(
    work: Work,
    action_item_id: UUID,
    owner: Annotated[str, About("The member of the team who does it: an id or an external id.", STAFF_EXAMPLE)],
    due_on: Annotated[date | None, About("Another day by which it is to be done.", date(2026, 10, 13))] = None,
) -> ActionItem:
    """Gives an open action item to another member of the team, or sets another day for the same member, or both."""
    violations = Violations()
    item = await _lock(work, action_item_id)
    today = await today_of(work)
    with violations:
        violations.add(day_violations(due_on, "/due_on"))
    with violations:
        owner_id = await locate_owner(work, owner)
        await _require_member(work, item.team_id, owner_id, today, item.secured_area)
    violations.refuse()
    item.owner_id, item.due_on = owner_id, due_on or item.due_on
    return await _changed(work, item, ACTION_ITEM_REASSIGNED)


@needs(Can.AGREE_ACTIONS)
async def close_action_item(
    work: Work,
    action_item_id: UUID,
    outcome: Annotated[ActionOutcome, Choices(ActionOutcome), About("What became of it.", ActionOutcome.DONE)],
    because: Annotated[
        str | None, BECAUSE, About("Why it was not done or was dropped, for which it is required.", "The family moved.")
    ] = None,
) -> ActionItem:
    """Closes an action item as done, as not done, or as dropped. `because` must be given unless it was done."""
    violations = Violations(violations_of_closing(outcome, because))
    with violations:
        if because is not None:
            BECAUSE.require(because, "/because")
    item = await _lock(work, action_item_id)
    violations.refuse()
    item.state, item.closed_because = outcome, because
    item.closed_by, item.closed_on = work.principal.person_id, await today_of(work)
    return await _changed(work, item, ACTION_ITEM_CLOSED)


async def _lock(work: Work, action_item_id: UUID) -> ActionItem:
    """Locks an open action item and returns it. Before that, locks the student that it is about, if there is one."""
    item = await lock_row_after_student(work, ActionItem, action_item_id)
    if item is None:
        raise NotFound("action_item")
    if item.student_id is not None:
        work.disclose("action_item", [item.student_id])
    check_open(item.state)
    return item


@needs(Can.AGREE_ACTIONS)
async def locate_owner(work: Work, name: str | None) -> UUID:
    """Returns the id of the person who is to do an action item: by default, the person that the request acts for."""
    owner_id = work.principal.person_id if name is None else (await locate_staff(work, name, "/owner")).id
    if owner_id is None:
        raise Invalid([Violation("/owner", "action_item.no_owner", "Name a member of the team: this acts for nobody.")])
    return owner_id


async def _require_member(work: Work, team_id: UUID, owner_id: UUID, today: date, secured_area: str | None) -> None:
    """Raises `Invalid` unless the owner is a member of the team today, with a role that opens the item's secured area.

    `secured_area` is None for an item that is in no secured area.
    """
    query = (
        select(Person.role)
        .join(TeamMember, (TeamMember.district_id == Person.district_id) & (TeamMember.person_id == Person.id))
        .where(
            Person.district_id == work.district_id,
            Person.id == owner_id,
            TeamMember.team_id == team_id,
            in_force_on(TeamMember, today),
        )
    )
    role = await work.db.scalar(query.limit(1))
    if role is None:
        raise Invalid([Violation("/owner", "action_item.not_a_member", "Only a member of the team can do it.")])
    if secured_area is not None and role not in SEES_SECURED:
        detail = "This member's role does not open the item's secured area, so the member would never see the item."
        raise Invalid([Violation("/owner", "action_item.owner_cannot_see", detail)])


async def _violations_of_student(work: Work, team_id: UUID, student_id: UUID, today: date) -> list[Violation]:
    query = select(TeamStudent.id).where(
        TeamStudent.district_id == work.district_id,
        TeamStudent.team_id == team_id,
        TeamStudent.student_id == student_id,
        in_force_on(TeamStudent, today),
    )
    if await work.db.scalar(query.limit(1)) is not None:
        return []
    detail = "The team does not serve this student today."
    return [Violation("/student", "action_item.not_served", detail)]


async def _changed(work: Work, item: ActionItem, type_: EventType) -> ActionItem:
    item.version += 1
    await work.db.flush()
    _emit(work, type_, item)
    return item


def _emit(work: Work, type_: EventType, item: ActionItem) -> None:
    schools = item.school_ids if item.student_id is not None else [item.team_school_id]
    record(
        work,
        NewEvent(
            type=type_,
            subject_id=item.id,
            subject_version=item.version,
            ids={"team": item.team_id},
            student_id=item.student_id,
            school_ids=tuple(school for school in schools if school is not None),
            secured_area=item.secured_area,
        ),
    )
