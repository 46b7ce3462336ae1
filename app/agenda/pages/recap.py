"""Reads the recap of a closed meeting: what became of each item, what was decided, and who does what by when.

A recap has at most as many items as an agenda. Additional items, and items that the caller may not see, are not shown.
The recap has only their number.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Final
from uuid import UUID

from sqlalchemy import and_, any_, cast, func, select

from app.access.permission import Can
from app.access.work import Work, needs
from app.action.models import ActionItem
from app.agenda.computed import MOST
from app.agenda.models import AgendaItem
from app.agenda.pages.people import read_names
from app.agenda.reading import AgendaReason, reasons_of
from app.agenda.rules import AgendaItemKind, AgendaItemState
from app.attention.names import NO_NAMES, SubjectNames, read_stall_names, read_subject_names
from app.core.errors import NotFound
from app.decision.models import Decision
from app.meeting.models import Meeting
from app.meeting.rules import require_closed
from app.roster.lookup import IdList, zone_of
from app.team.models import Team

OUTCOMES: Final = (
    *(AgendaItemState.DISCUSSED, AgendaItemState.CARRIED, AgendaItemState.DROPPED),
    AgendaItemState.SUSPENDED,
)
"""The states that an item of a closed meeting can have, in the order of the recap."""


@dataclass(frozen=True, slots=True)
class NamedPerson:
    """A person; the name is None if the caller may not see it."""

    person_id: UUID
    name: str | None


@dataclass(frozen=True, slots=True)
class RecapDecision:
    """A decision that was recorded for an agenda item of the meeting."""

    decision_id: UUID
    kind: str
    decided_on: date
    note: str | None


@dataclass(frozen=True, slots=True)
class RecapItem:
    """An item of the meeting, what it is about, and what became of it.

    `names` has no values if the caller may not read the record that the item is about.
    """

    item_id: UUID
    kind: str
    reasons: tuple[AgendaReason, ...]
    state: str
    subject_kind: str
    subject_id: UUID
    student: NamedPerson | None
    since: date
    text: str | None
    minutes: str | None
    dropped_because: str | None
    decision: RecapDecision | None
    names: SubjectNames


@dataclass(frozen=True, slots=True)
class RecapAction:
    """An action item that was agreed at an agenda item of the meeting."""

    action_item_id: UUID
    item_id: UUID
    text: str
    student: NamedPerson | None
    owner: NamedPerson
    due_on: date
    state: str


@dataclass(frozen=True, slots=True)
class Recap:
    """The recap of a meeting. `hidden` is the number of items that the caller may not see.

    `zone` is the time zone of the district, by its IANA name.
    """

    meeting: Meeting
    team_name: str
    zone: str
    present: tuple[NamedPerson, ...]
    items: tuple[RecapItem, ...]
    action_items: tuple[RecapAction, ...]
    hidden: int

    def of_state(self, state: AgendaItemState) -> tuple[RecapItem, ...]:
        """Returns the items in a state, in the order of the agenda."""
        return tuple(item for item in self.items if item.state == state)


@needs(Can.READ_MEETINGS, Can.READ_DECISIONS, Can.READ_ACTIONS)
async def read_recap(work: Work, meeting_id: UUID) -> Recap:
    """Returns the recap of a closed meeting; raises `NotFound`, or `Conflict` for a meeting that is not closed."""
    meeting, team_name = await _meeting_and_team(work, meeting_id)
    require_closed(meeting.state)
    rows = await _items(work, meeting_id)
    actions = await _actions(work, [item.id for item, _ in rows])
    reader, of_subjects = work.principal, dict(await read_subject_names(work, [_subject(item) for item, _ in rows]))
    async with work.as_district("agenda"):
        stalls = (item.subject_id for item, _ in rows if item.kind == AgendaItemKind.CORE_STALL)
        of_subjects |= await read_stall_names(work, reader, stalls)
        of_meeting = (AgendaItem.district_id == work.district_id, AgendaItem.meeting_id == meeting_id)
        counted = int(await work.db.scalar(select(func.count()).select_from(AgendaItem).where(*of_meeting)) or 0)
    names = await read_names(
        work,
        [
            *meeting.present,
            *(item.student_id for item, _ in rows),
            *(person_id for action in actions for person_id in (action.student_id, action.owner_id)),
        ],
    )

    def named(person_id: UUID) -> NamedPerson:
        return NamedPerson(person_id, names.get(person_id))

    work.disclose("agenda_item", (item.student_id for item, _ in rows if item.student_id is not None))
    work.disclose("decision", (decision.student_id for _, decision in rows if decision is not None))
    work.disclose("action_item", (action.student_id for action in actions if action.student_id is not None))
    return Recap(
        meeting=meeting,
        team_name=team_name,
        zone=await zone_of(work),
        present=tuple(named(person_id) for person_id in meeting.present),
        items=tuple(
            RecapItem(
                item_id=item.id,
                kind=item.kind,
                reasons=reasons_of(item),
                state=item.state,
                subject_kind=item.subject_kind,
                subject_id=item.subject_id,
                student=None if item.student_id is None else named(item.student_id),
                since=item.since,
                text=item.text,
                minutes=item.minutes,
                dropped_because=item.dropped_because,
                decision=None
                if decision is None
                else RecapDecision(decision.id, decision.kind, decision.decided_on, decision.note),
                names=of_subjects.get(item.subject_id, NO_NAMES),
            )
            for item, decision in rows
        ),
        action_items=tuple(
            RecapAction(
                action_item_id=action.id,
                item_id=item_id,
                text=action.text,
                student=None if action.student_id is None else named(action.student_id),
                owner=named(action.owner_id),
                due_on=action.due_on,
                state=action.state,
            )
            for action in actions
            if (item_id := action.agenda_item_id) is not None
        ),
        hidden=max(counted - len(rows), 0),
    )


def _subject(item: AgendaItem) -> tuple[str, UUID]:
    return item.subject_kind, item.subject_id


async def _meeting_and_team(work: Work, meeting_id: UUID) -> tuple[Meeting, str]:
    query = (
        select(Meeting, Team.name)
        .join(Team, and_(Team.district_id == work.district_id, Team.id == Meeting.team_id))
        .where(Meeting.district_id == work.district_id, Meeting.id == meeting_id)
    )
    row = (await work.db.execute(query)).one_or_none()
    if row is None:
        raise NotFound("meeting")
    return row[0], row[1]


async def _items(work: Work, meeting_id: UUID) -> Sequence[tuple[AgendaItem, Decision | None]]:
    """Returns the items of a meeting that the caller may see, with their decisions, at most `MOST`.

    They are in the order of the agenda.
    """
    query = (
        select(AgendaItem, Decision)
        .outerjoin(Decision, and_(Decision.district_id == work.district_id, Decision.id == AgendaItem.decision_id))
        .where(AgendaItem.district_id == work.district_id, AgendaItem.meeting_id == meeting_id)
        .order_by(AgendaItem.rank, AgendaItem.since, AgendaItem.subject_id, AgendaItem.id)
        .limit(MOST)
    )
    return [(item, decision) for item, decision in (await work.db.execute(query)).all()]


async def _actions(work: Work, item_ids: Sequence[UUID]) -> Sequence[ActionItem]:
    """Returns the action items that were agreed at these agenda items, ordered by due date, at most `MOST`."""
    query = (
        select(ActionItem)
        .where(
            ActionItem.district_id == work.district_id,
            ActionItem.agenda_item_id == any_(cast(list(item_ids), IdList)),
        )
        .order_by(ActionItem.due_on, ActionItem.id)
        .limit(MOST)
    )
    return (await work.db.scalars(query)).all()
