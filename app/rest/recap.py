"""Serves the recap of a closed meeting in REST, as data and as a page, and the agenda of a meeting as a page."""

from datetime import date, datetime
from typing import Any

from fastapi import APIRouter, Response
from pydantic import Field

from app.agenda.pages.recap import NamedPerson, RecapAction, RecapItem, read_recap
from app.agenda.pages.recap import Recap as ReadRecap
from app.agenda.pages.sheet import read_agenda_sheet
from app.agenda.rules import AgendaItemState
from app.core import ids
from app.rest.agenda import AgendaEntryReason, MeetingOf, NamesOfSubject, names_of_subject, reason_shapes
from app.rest.door import OpenWork, requires, row_id
from app.rest.meeting_pages import HTML, agenda_page, page_response, recap_page
from app.rest.pages import Shape
from app.rest.route import Route

router = APIRouter(prefix="/v1", tags=["meetings"], route_class=Route)
PAGE = {"description": "A page to read and to print.", "content": {HTML: {"schema": {"type": "string"}}}}
NOT_CLOSED = "The meeting is not closed (meeting.scheduled, meeting.open, meeting.cancelled)."


def _page_of(*functions: Any, **more: Any) -> dict[str, Any]:
    """Returns arguments for the declaration of a route whose response is an HTML page."""
    contract = requires(*functions, **more)
    contract["responses"][200] = PAGE
    return contract


class RecapPerson(Shape):
    """A person that the recap of a meeting names."""

    id: str = Field(description="The id.")
    name: str | None = Field(description="The name; null for callers who may not read the roster.")


class RecapDecision(Shape):
    """A decision that was made at an item of the meeting."""

    id: str = Field(description="The id.")
    kind: str = Field(description="What was decided.")
    decided_on: date = Field(description="The day.")
    note: str | None = Field(description="What was noted with it.")


class RecapEntry(NamesOfSubject):
    """An item of the meeting, and what became of it."""

    item: str = Field(description="The id of the item.")
    kind: str = Field(description="Why it was on the agenda.")
    subject: str = Field(description="The id of the record that it is about.")
    student: RecapPerson | None = Field(description="The student that it is about, if it is about one.")
    since: date = Field(description="The day since which there was a reason.")
    reasons: list[AgendaEntryReason] = Field(description="Why it was on the agenda.")
    text: str | None = Field(description="The topic that a member wanted to discuss.")
    minutes: str | None = Field(description="What was noted.")
    dropped_because: str | None = Field(description="Why it was dropped.")
    decision: RecapDecision | None = Field(description="The decision that was made from it.")


class RecapActionItem(Shape):
    """An action item that was agreed at an item of the meeting: what somebody does by a certain day."""

    id: str = Field(description="The id of the action item.")
    item: str = Field(description="The id of the item at which it was agreed.")
    text: str = Field(description="What is to be done.")
    student: RecapPerson | None = Field(description="The student that it is about, if it is about one.")
    owner: RecapPerson = Field(description="The person who does it.")
    due_on: date = Field(description="The day by which it is to be done.")
    state: str = Field(description="`open`, `done`, `not_done` or `dropped`.")


class Recap(Shape):
    """The outcome of a meeting. Of the items that the caller may not see, only the number is given."""

    meeting: str = Field(description="The id of the meeting.")
    team: str = Field(description="The id of the team.")
    team_name: str = Field(description="The name of the team.")
    starts_at: datetime = Field(description="The instant at which the meeting began.")
    closed_at: datetime | None = Field(description="The instant at which it was closed.")
    present: list[RecapPerson] = Field(description="The people who were there.")
    discussed: list[RecapEntry] = Field(description="What was discussed, in the order of the agenda.")
    carried: list[RecapEntry] = Field(description="What was carried to the next meeting.")
    dropped: list[RecapEntry] = Field(description="What was dropped, with the reason.")
    suspended: list[RecapEntry] = Field(
        description="What was set aside, because the team did not serve the student any more."
    )
    action_items: list[RecapActionItem] = Field(description="Who does what by when, by the day.")
    hidden: int = Field(description="The number of items that the caller may not see.")


@router.get("/meetings/{meeting}/recap", operation_id="get_recap", **requires(read_recap, conflict=NOT_CLOSED))
async def get_recap(work: OpenWork, meeting: str) -> Recap:
    """Returns the recap of a closed meeting: what was discussed, carried over or dropped, and who does what when."""
    recap = await read_recap(work, row_id("meeting", meeting))
    row = recap.meeting
    return Recap.model_construct(
        meeting=ids.format_id("meeting", row.id),
        team=ids.format_id("team", row.team_id),
        team_name=recap.team_name,
        starts_at=row.starts_at,
        closed_at=row.closed_at,
        present=[_person("person", person) for person in recap.present],
        discussed=_entries(recap, AgendaItemState.DISCUSSED),
        carried=_entries(recap, AgendaItemState.CARRIED),
        dropped=_entries(recap, AgendaItemState.DROPPED),
        suspended=_entries(recap, AgendaItemState.SUSPENDED),
        action_items=[_action_item(action) for action in recap.action_items],
        hidden=recap.hidden,
    )


@router.get(
    "/meetings/{meeting}/recap.html",
    operation_id="get_recap_page",
    response_class=Response,
    **_page_of(read_recap, conflict=NOT_CLOSED),
)
async def get_recap_page(work: OpenWork, meeting: str) -> Response:
    """Returns the recap of a closed meeting as a page to read and to print, with names if the caller may read them.

    The page loads no other file and runs no script.
    """
    return await page_response(recap_page(await read_recap(work, row_id("meeting", meeting))))


@router.get(
    "/teams/{team}/agenda.html",
    operation_id="get_agenda_page",
    response_class=Response,
    **_page_of(read_agenda_sheet),
)
async def get_agenda_page(work: OpenWork, team: str, meeting: MeetingOf = None) -> Response:
    """Returns the agenda of a team's meeting as a page to read and to print, with names if the caller may read them.

    The page loads no other file and runs no script.
    """
    return await page_response(agenda_page(await read_agenda_sheet(work, row_id("team", team), meeting)))


def _entries(recap: ReadRecap, state: AgendaItemState) -> list[RecapEntry]:
    return [_entry(item) for item in recap.of_state(state)]


def _entry(item: RecapItem) -> RecapEntry:
    decision = item.decision
    return RecapEntry.model_construct(
        item=ids.format_id("agenda_item", item.item_id),
        kind=item.kind,
        subject=ids.format_id(item.subject_kind, item.subject_id),
        student=None if item.student is None else _person("student", item.student),
        **names_of_subject(item.names),
        since=item.since,
        reasons=reason_shapes(item.reasons),
        text=item.text,
        minutes=item.minutes,
        dropped_because=item.dropped_because,
        decision=None
        if decision is None
        else RecapDecision.model_construct(
            id=ids.format_id("decision", decision.decision_id),
            kind=decision.kind,
            decided_on=decision.decided_on,
            note=decision.note,
        ),
    )


def _action_item(action: RecapAction) -> RecapActionItem:
    return RecapActionItem.model_construct(
        id=ids.format_id("action_item", action.action_item_id),
        item=ids.format_id("agenda_item", action.item_id),
        text=action.text,
        student=None if action.student is None else _person("student", action.student),
        owner=_person("person", action.owner),
        due_on=action.due_on,
        state=action.state,
    )


def _person(kind: str, person: NamedPerson) -> RecapPerson:
    return RecapPerson.model_construct(id=ids.format_id(kind, person.person_id), name=person.name)
