"""Serves the agenda of a team's meeting in REST."""

from collections.abc import Iterable
from datetime import date, datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query
from pydantic import Field

from app.agenda.reading import AgendaEntry as ReadEntry
from app.agenda.reading import AgendaReason, read_agenda
from app.attention.names import StallNames, SubjectNames
from app.core import ids
from app.rest.door import OpenWork, requires, row_id
from app.rest.pages import Shape
from app.rest.route import Route

router = APIRouter(prefix="/v1", tags=["meetings"], route_class=Route)
MeetingOf = Annotated[
    str | None,
    Query(
        alias="meeting",
        max_length=200,
        description="The id of a meeting of the team; by default the open one, or else the next one.",
    ),
]


class AgendaEntryReason(Shape):
    """Why an item is on the agenda."""

    code: str = Field(description="The code of the reason, such as `not_responding`.")
    records: list[str] = Field(description="The ids of the records on which the reason rests.")


class AgendaCoreStall(Shape):
    """The grade that fell behind as a whole, where, by which measure, and in which screening window."""

    grade: str = Field(description="The grade, as in the roster.")
    school: str | None = Field(description="The id of the school; null if the grade of the whole district is meant.")
    school_name: str | None = Field(
        description="The name of the school; null also for callers who may not read the roster."
    )
    measure_name: str | None = Field(description="The measure; null for callers who may not read the playbook.")
    season: Literal["fall", "winter", "spring"] | None = Field(
        description="The season of the screening window; null for callers who may not read the playbook."
    )
    opens_on: date | None = Field(
        description="The first day of the window; null for callers who may not read the playbook."
    )
    closes_on: date | None = Field(
        description="The day after the last day of the window; null for callers who may not read the playbook."
    )


class NamesOfSubject(Shape):
    """The names of the record that an agenda item is about. Agendas and recaps have these fields."""

    area_name: str | None = Field(
        description="The area of the support, concern, signal or hypothesis that it is about; null for callers who may "
        "not read this record."
    )
    intervention: str | None = Field(description="What the support that it is about does.")
    measure_names: list[str] = Field(description="The measures by which the support is followed, the first one first.")
    action: str | None = Field(description="What is to be done, for an action item that is due.")
    core_stall: AgendaCoreStall | None = Field(
        description="What the item is about, if it is about a grade; null for callers who may not read signals."
    )


class AgendaEntry(NamesOfSubject):
    """An item of an agenda. Before the meeting is opened, only the items that a member added are stored."""

    item: str | None = Field(description="The id of the item; null until it is stored.")
    kind: str = Field(description="Why it is on the agenda.")
    rank: int = Field(description="The place of its kind in `order`.")
    subject: str = Field(description="The id of the record that it is about.")
    student: str | None = Field(description="The id of the student that it is about, if it is about one.")
    student_name: str | None = Field(description="The student's name; null for callers who may not read the roster.")
    since: date = Field(description="The day since which there is a reason.")
    reasons: list[AgendaEntryReason] = Field(description="Why it is on the agenda.")
    state: str = Field(description="`open`, `discussed`, `carried`, `dropped` or `suspended`.")
    text: str | None = Field(description="The topic that a member wants to discuss.")
    minutes: str | None = Field(description="What was noted.")
    decision: str | None = Field(description="The id of the decision that was made from it.")
    dropped_because: str | None = Field(description="Why it was dropped.")
    times_carried: int = Field(description="How often it was carried before.")
    version: int | None = Field(description="The version of the stored item.")


class AgendaMeeting(Shape):
    """The meeting to which an agenda belongs."""

    id: str = Field(description="The id.")
    state: str = Field(description="`scheduled`, `open`, `closed` or `cancelled`.")
    starts_at: datetime = Field(description="The instant at which it begins.")


class Agenda(Shape):
    """The agenda of a meeting: its items in the order of the playbook, each with the reasons why it is listed."""

    team: str = Field(description="The id of the team.")
    meeting: AgendaMeeting | None = Field(
        description="The meeting; null if none is scheduled: the items are what the next one would have."
    )
    order: list[str] = Field(description="The kinds of items, in the order of the playbook.")
    items: list[AgendaEntry] = Field(
        description="The items that the caller may see, by `order`; those first that have waited longest."
    )
    hidden: int = Field(description="The number of items that the caller may not see.")


@router.get("/teams/{team}/agenda", operation_id="get_agenda", **requires(read_agenda))
async def get_agenda(work: OpenWork, team: str, meeting: MeetingOf = None) -> Agenda:
    """Returns the agenda of a team's meeting, with the reasons for each item.

    Before the meeting is opened, the agenda is computed from the current records.
    """
    agenda = await read_agenda(work, row_id("team", team), meeting)
    row = agenda.meeting
    return Agenda.model_construct(
        team=ids.format_id("team", agenda.team_id),
        meeting=None
        if row is None
        else AgendaMeeting.model_construct(
            id=ids.format_id("meeting", row.id), state=row.state, starts_at=row.starts_at
        ),
        order=list(agenda.order),
        items=[_entry(entry) for entry in agenda.entries],
        hidden=agenda.hidden,
    )


def _entry(entry: ReadEntry) -> AgendaEntry:
    return AgendaEntry.model_construct(
        item=None if entry.item_id is None else ids.format_id("agenda_item", entry.item_id),
        kind=entry.kind,
        rank=entry.rank,
        subject=ids.format_id(entry.subject_kind, entry.subject_id),
        student=None if entry.student_id is None else ids.format_id("student", entry.student_id),
        student_name=entry.student_name,
        **names_of_subject(entry.names),
        since=entry.since,
        reasons=reason_shapes(entry.reasons),
        state=entry.state,
        text=entry.text,
        minutes=entry.minutes,
        decision=None if entry.decision_id is None else ids.format_id("decision", entry.decision_id),
        dropped_because=entry.dropped_because,
        times_carried=entry.times_carried,
        version=entry.version,
    )


def names_of_subject(names: SubjectNames) -> dict[str, Any]:
    """Returns the values of the fields of `NamesOfSubject`."""
    return {
        "area_name": names.area,
        "intervention": names.intervention,
        "measure_names": list(names.measures),
        "action": names.text,
        "core_stall": None if names.stall is None else _stall_shape(names.stall),
    }


def reason_shapes(reasons: Iterable[AgendaReason]) -> list[AgendaEntryReason]:
    """Returns the reasons of an item as the answers about agendas show them."""
    return [AgendaEntryReason.model_construct(code=one.code, records=list(one.records)) for one in reasons]


def _stall_shape(stall: StallNames) -> AgendaCoreStall:
    """Returns the names of a core stall as the answers about agendas show them."""
    return AgendaCoreStall.model_construct(
        grade=stall.grade,
        school=None if stall.school_id is None else ids.format_id("org", stall.school_id),
        school_name=stall.school_name,
        measure_name=stall.measure_name,
        season=None if stall.season is None else stall.season.value,
        opens_on=stall.opens_on,
        closes_on=stall.closes_on,
    )
