"""Adds items to agendas, marks them as discussed, carried or dropped, and sets the order of the kinds of items."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Annotated
from uuid import UUID

from sqlalchemy import select

from app.access.permission import Can
from app.access.work import Work, needs
from app.action.models import ActionItem
from app.action.service import NewActionItem, agree_at, locate_owner
from app.agenda.conduct import follow_carried
from app.agenda.lookup import emit_item_event, lock_item, lock_item_in_any_state
from app.agenda.models import AgendaItem
from app.agenda.rules import DEFAULT_ORDER, AgendaItemKind, AgendaItemState, violations_of_order
from app.agenda.scope import students_of
from app.core import ids
from app.core.clock import now
from app.core.errors import Conflict, Invalid, Violation
from app.core.ids import new_id
from app.core.inputs import About, AtMost, Choices
from app.core.text import Text
from app.core.violations import Violations, input_violations
from app.decision.models import Decision
from app.events.catalogue import AGENDA_ITEM_ADDED, AGENDA_ITEM_SETTLED
from app.meeting.lookup import ARCHIVED
from app.meeting.models import Meeting
from app.meeting.rules import MeetingState, require_open
from app.note.models import Note
from app.note.service import NOTE_TEXT, NotedRecord, save_note
from app.playbook.lookup import locate_area_in_force, secured_code
from app.playbook.models import PlaybookVersion
from app.playbook.service import publish_agenda_order
from app.roster.lookup import today_of
from app.roster.models import Person
from app.roster.student_lock import lock_student
from app.team.lookup import find_active_team

MINUTES = Text(max=8000)
BECAUSE = Text(min=1, max=2000)
NOTED = About("What is noted.", "She reads to her brother every evening.")


@dataclass(frozen=True, slots=True)
class NewAgendaItem:
    """An item that a member adds to the agenda of the team's open meeting, or else of its next one."""

    team: Annotated[str, About("The team.", "tea_01jq4n6d9zf3vbs0x5k2m7e8th")]
    text: Annotated[str, Text(min=1, max=1000), About("What it is about.", "Who calls the families?")]
    student: Annotated[
        str | None,
        About("The student of the team that it is about: an id or an external id.", "stu_01jq4n6d9zf3vbs0x5k2m7e8ta"),
    ] = None
    area: Annotated[
        str | None,
        About("The area: a code or an id. A secured one hides the item.", "ela.fluency"),
    ] = None


@dataclass(frozen=True, slots=True)
class ItemAction:
    """What a member of the team does about an item of the agenda."""

    text: Annotated[str, Text(min=1, max=2000), About("What is to be done.", "Call the family about the new plan.")]
    due_on: Annotated[date, About("The day by which it is to be done.", date(2026, 10, 6))]
    owner: Annotated[
        str | None,
        About(
            "The member of the team who does it: an id or an external id; by default, the person that the request "
            "acts for.",
            "per_01jq4n6d9zf3vbs0x5k2m7e8tb",
        ),
    ] = None


@needs(Can.RUN_MEETINGS, Can.AGREE_ACTIONS)
async def agree_at_agenda_item(work: Work, agenda_item_id: UUID, new: ItemAction) -> ActionItem:
    """Creates an action item that was agreed at an open agenda item, with the same student and secured area."""
    violations = Violations(input_violations(new))
    item = await lock_item(work, agenda_item_id)
    with violations:
        await locate_owner(work, new.owner)
    violations.refuse()
    student = None if item.student_id is None else ids.format_id("student", item.student_id)
    team = ids.format_id("team", item.team_id)
    agreed = NewActionItem(team, new.text, new.due_on, new.owner, student)
    return await agree_at(work, agreed, item.id, item.secured_area)


@needs(Can.RUN_MEETINGS, Can.WRITE_NOTES)
async def note_at_agenda_item(
    work: Work,
    agenda_item_id: UUID,
    text: Annotated[str, NOTE_TEXT, About("The text.", "Her grandmother would like to join the next meeting.")],
) -> Note:
    """Writes a note about an item in any state. The note has the item's student, team and secured area."""
    violations = Violations()
    with violations:
        NOTE_TEXT.require(text, "/text")
    item = await lock_item_in_any_state(work, agenda_item_id)
    violations.refuse()
    about = NotedRecord(
        kind="agenda_item",
        id=item.id,
        student_id=item.student_id,
        school_ids=item.school_ids,
        secured_area=item.secured_area,
        agenda_team_id=item.team_id,
        agenda_team_school_id=item.team_school_id,
    )
    return await save_note(work, about, text, item.team_id)


@needs(Can.RUN_MEETINGS)
async def add_agenda_item(work: Work, new: NewAgendaItem) -> AgendaItem:
    """Adds an item to the agenda of the team's open meeting, or else of its next one."""
    violations = Violations(input_violations(new))
    student: Person | None = None
    area, secured_area = None, None
    with violations:
        if new.student is not None:
            student = await lock_student(work, new.student, "/student")
    with violations:
        team = await find_active_team(work, new.team, ARCHIVED)
        if student is not None:
            await _require_served(work, team.id, student)
    with violations:
        if new.area is not None:
            area = await locate_area_in_force(work, new.area, "/area")
            secured_area = await secured_code(work, area)
    violations.refuse()
    meeting = await work.db.scalar(
        select(Meeting)
        .where(Meeting.district_id == work.district_id, Meeting.team_id == team.id, Meeting.state == MeetingState.OPEN)
        .with_for_update(read=True)
        .execution_options(populate_existing=True)
    )
    item_id = new_id()
    order = DEFAULT_ORDER if meeting is None else tuple(meeting.agenda_order)
    item = AgendaItem(
        district_id=work.district_id,
        id=item_id,
        team_id=team.id,
        team_school_id=team.school_id,
        student_id=None if student is None else student.id,
        school_ids=[] if student is None else student.school_ids,
        secured_area=secured_area,
        area_id=None if area is None else area.id,
        meeting_id=None if meeting is None else meeting.id,
        kind=AgendaItemKind.OWN,
        subject_kind="agenda_item",
        subject_id=item_id,
        basis="",
        since=await today_of(work),
        reasons=[{"code": str(AgendaItemKind.OWN), "records": []}],
        rank=order.index(AgendaItemKind.OWN) + 1,
        state=AgendaItemState.OPEN,
        text=new.text,
        times_carried=0,
        added_by=work.principal.person_id,
        created_at=now(),
        version=1,
    )
    work.db.add(item)
    await work.db.flush()
    work.disclose("agenda_item", [] if student is None else [student.id])
    emit_item_event(work, AGENDA_ITEM_ADDED, item)
    return item


@needs(Can.RUN_MEETINGS)
async def discuss_agenda_item(
    work: Work,
    agenda_item_id: UUID,
    minutes: Annotated[str | None, MINUTES, NOTED] = None,
    decision: Annotated[
        str | None, About("The decision that was made from it.", "dec_01jq4n6d9zf3vbs0x5k2m7e8tk")
    ] = None,
) -> AgendaItem:
    """Marks an item as discussed. Minutes, and a decision about the item's student, can be attached to it."""
    violations = Violations()
    with violations:
        MINUTES.require(minutes, "/minutes")
    item = await lock_item(work, agenda_item_id)
    await _require_open_meeting(work, item)
    with violations:
        if decision is not None:
            item.decision_id = await _decision_about(work, decision, item)
    violations.refuse()
    return await _settle(work, item, AgendaItemState.DISCUSSED, minutes)


@needs(Can.RUN_MEETINGS)
async def carry_agenda_item(
    work: Work, agenda_item_id: UUID, minutes: Annotated[str | None, MINUTES, NOTED] = None
) -> AgendaItem:
    """Carries an item to the next meeting. A computed item is on the agenda only if its reason still exists then."""
    MINUTES.require(minutes, "/minutes")
    item = await lock_item(work, agenda_item_id)
    await _require_open_meeting(work, item)
    settled = await _settle(work, item, AgendaItemState.CARRIED, minutes)
    if item.kind == AgendaItemKind.OWN:
        await follow_carried(work, [item])
    return settled


@needs(Can.RUN_MEETINGS)
async def drop_agenda_item(
    work: Work,
    agenda_item_id: UUID,
    because: Annotated[str, BECAUSE, About("Why it is dropped.", "The family has moved away.")],
) -> AgendaItem:
    """Drops an item, with a reason. It returns to the agenda only if something new happens, such as another verdict."""
    BECAUSE.require(because, "/because")
    item = await lock_item(work, agenda_item_id)
    if item.meeting_id is not None:
        await _require_open_meeting(work, item)
    item.dropped_because = because
    return await _settle(work, item, AgendaItemState.DROPPED, None)


@needs(Can.PUBLISH_PLAYBOOK)
async def order_agendas(
    work: Work,
    kinds: Annotated[
        Sequence[AgendaItemKind],
        AtMost(len(DEFAULT_ORDER), least=1),
        Choices(AgendaItemKind),
        About("The kinds of items in their order. Others come after these.", ("unserved", "new_concern")),
    ],
) -> PlaybookVersion:
    """Publishes the next version of the playbook, with this order of items. Open meetings keep their order."""
    if violations := violations_of_order(kinds):
        raise Invalid(violations)
    return await publish_agenda_order(work, [str(kind) for kind in kinds])


async def _settle(work: Work, item: AgendaItem, state: AgendaItemState, minutes: str | None) -> AgendaItem:
    item.state, item.minutes = state, minutes or None
    item.settled_by, item.settled_at = work.principal.person_id, now()
    item.version += 1
    await work.db.flush()
    emit_item_event(work, AGENDA_ITEM_SETTLED, item)
    return item


async def _require_open_meeting(work: Work, item: AgendaItem) -> None:
    """Raises `Conflict` unless the meeting of an item is open."""
    if item.meeting_id is None:
        raise Conflict("The meeting has not been opened.", code="meeting.scheduled")
    query = select(Meeting.state).where(Meeting.district_id == work.district_id, Meeting.id == item.meeting_id)
    require_open(str(await work.db.scalar(query)))


async def _require_served(work: Work, team_id: UUID, student: Person) -> None:
    """Raises `Invalid` for a student whom the team does not serve."""
    served = students_of(work.district_id, team_id, await today_of(work))
    if await work.db.scalar(select(served.c.student_id).where(served.c.student_id == student.id)) is None:
        detail = "The team does not serve this student."
        raise Invalid([Violation("/student", "agenda_item.not_of_team", detail)])


async def _decision_about(work: Work, name: str, item: AgendaItem) -> UUID:
    """Returns the id of a decision; raises `Invalid` if the decision is not about the item's student."""
    query = select(Decision.id).where(
        Decision.district_id == work.district_id,
        Decision.id == ids.parse_id("decision", name, "/decision"),
        Decision.student_id == item.student_id,
    )
    decision_id: UUID | None = await work.db.scalar(query)
    if decision_id is None:
        detail = "There is no such decision about the student of this item."
        raise Invalid([Violation("/decision", "decision.unknown", detail)])
    return decision_id
