"""Defines the query that returns the agenda of a team's meeting."""

import datetime
from typing import Any

import strawberry

from app.agenda.reading import AgendaEntry as ReadEntry
from app.agenda.reading import AgendaReason, read_agenda
from app.agenda.rules import AgendaItemKind, AgendaItemState
from app.attention.names import StallNames, SubjectNames
from app.core import ids
from app.core.errors import NotFound
from app.graphql.door import Info, guarded_field
from app.graphql.node import parse_id
from app.graphql.types import enum_of
from app.meeting.rules import MeetingState
from app.playbook.benchmarks.rules import Season

for _choices in (AgendaItemKind, AgendaItemState, MeetingState, Season):
    enum_of(_choices)


@strawberry.type(description="Why an item is on the agenda.")
class AgendaEntryReason:
    """A reason why an item is on the agenda."""

    code: str = strawberry.field(description="The code of the reason, such as `not_responding`.")
    record_ids: list[strawberry.ID] = strawberry.field(description="The ids of the records on which the reason rests.")

    @classmethod
    def of(cls, reason: AgendaReason) -> "AgendaEntryReason":
        """Returns the GraphQL object for a reason."""
        return cls(code=reason.code, record_ids=[strawberry.ID(record) for record in reason.records])


@strawberry.type(
    description="The grade that fell behind as a whole, where, by which measure, and in which screening window."
)
class AgendaCoreStall:
    """What an agenda item about a grade is about."""

    grade: str = strawberry.field(description="The grade, as in the roster.")
    school_id: strawberry.ID | None = strawberry.field(
        description="The school; null if the grade of the whole district is meant."
    )
    school_name: str | None = strawberry.field(
        description="The name of the school; null also for callers who may not read the roster."
    )
    measure_name: str | None = strawberry.field(
        description="The measure; null for callers who may not read the playbook."
    )
    season: Season | None = strawberry.field(
        description="The season of the screening window; null for callers who may not read the playbook."
    )
    opens_on: datetime.date | None = strawberry.field(
        description="The first day of the window; null for callers who may not read the playbook."
    )
    closes_on: datetime.date | None = strawberry.field(
        description="The day after the last day of the window; null for callers who may not read the playbook."
    )

    @classmethod
    def of(cls, stall: StallNames) -> "AgendaCoreStall":
        """Returns the GraphQL object for the names of a core stall (a grade that fell behind)."""
        return cls(
            grade=stall.grade,
            school_id=None if stall.school_id is None else strawberry.ID(ids.format_id("org", stall.school_id)),
            school_name=stall.school_name,
            measure_name=stall.measure_name,
            season=stall.season,
            opens_on=stall.opens_on,
            closes_on=stall.closes_on,
        )


@strawberry.type
class NamesOfSubject:
    """The names of the record that an agenda item is about. Agendas and recaps have these fields."""

    area_name: str | None = strawberry.field(
        description="The area of the support, concern, signal or hypothesis that it is about; null for callers who may "
        "not read this record."
    )
    intervention: str | None = strawberry.field(description="What the support that it is about does.")
    measure_names: list[str] = strawberry.field(
        description="The measures by which the support is followed, the first one first."
    )
    action: str | None = strawberry.field(description="What is to be done, for an action item that is due.")
    core_stall: AgendaCoreStall | None = strawberry.field(
        description="What the item is about, if it is about a grade; null for callers who may not read signals."
    )


def names_of_subject(names: SubjectNames) -> dict[str, Any]:
    """Returns the values of the fields of `NamesOfSubject`."""
    return {
        "area_name": names.area,
        "intervention": names.intervention,
        "measure_names": list(names.measures),
        "action": names.text,
        "core_stall": None if names.stall is None else AgendaCoreStall.of(names.stall),
    }


@strawberry.type(description="An item of an agenda, which is stored once the meeting is opened.")
class AgendaEntry(NamesOfSubject):
    """An item of the agenda of a meeting."""

    item_id: strawberry.ID | None = strawberry.field(description="The id of the item; null until it is stored.")
    kind: AgendaItemKind = strawberry.field(description="Why it is on the agenda.")
    rank: int = strawberry.field(description="The place of its kind in `order`.")
    subject_id: strawberry.ID = strawberry.field(description="The id of the record that it is about.")
    student_id: strawberry.ID | None = strawberry.field(
        description="The id of the student that it is about, if it is about one."
    )
    student_name: str | None = strawberry.field(
        description="The student's name; null for callers who may not read the roster."
    )
    since: datetime.date = strawberry.field(description="The day since which there is a reason.")
    reasons: list[AgendaEntryReason]
    state: AgendaItemState
    text: str | None = strawberry.field(description="The topic that a member wants to discuss.")
    minutes: str | None = strawberry.field(description="What was noted.")
    decision_id: strawberry.ID | None = strawberry.field(description="The decision that was made from it.")
    dropped_because: str | None
    times_carried: int = strawberry.field(description="How often it was carried before.")
    version: int | None = strawberry.field(description="The version of the stored item.")

    @classmethod
    def of(cls, entry: ReadEntry) -> "AgendaEntry":
        """Returns the GraphQL object for an entry, with public ids."""
        return cls(
            item_id=None if entry.item_id is None else strawberry.ID(ids.format_id("agenda_item", entry.item_id)),
            kind=AgendaItemKind(entry.kind),
            rank=entry.rank,
            subject_id=strawberry.ID(ids.format_id(entry.subject_kind, entry.subject_id)),
            student_id=None if entry.student_id is None else strawberry.ID(ids.format_id("student", entry.student_id)),
            student_name=entry.student_name,
            **names_of_subject(entry.names),
            since=entry.since,
            reasons=[AgendaEntryReason.of(reason) for reason in entry.reasons],
            state=AgendaItemState(entry.state),
            text=entry.text,
            minutes=entry.minutes,
            decision_id=None
            if entry.decision_id is None
            else strawberry.ID(ids.format_id("decision", entry.decision_id)),
            dropped_because=entry.dropped_because,
            times_carried=entry.times_carried,
            version=entry.version,
        )


@strawberry.type(
    description="What is on the agenda of a meeting, in the order of the playbook, and why each thing is on it."
)
class Agenda:
    """The agenda of a team's meeting: its items, each with the reasons why it is listed."""

    meeting_id: strawberry.ID | None = strawberry.field(
        description="The meeting; null if none is scheduled: the items are what the next one would have."
    )
    meeting_state: MeetingState | None
    starts_at: datetime.datetime | None
    order: list[AgendaItemKind] = strawberry.field(description="The kinds of items, in the order of the playbook.")
    items: list[AgendaEntry] = strawberry.field(
        description="The items that the caller may see, by `order`; those first that have waited longest."
    )
    hidden: int = strawberry.field(description="The number of items that the caller may not see.")


@strawberry.type
class AgendaQueries:
    """The query for the agenda of a meeting."""

    @guarded_field(
        "What is on the agenda of a team's meeting, and why: of the open one, or else of the next one, or of the named "
        "one. Before the meeting it is computed from the data.",
        read_agenda,
    )
    async def agenda(
        self, info: Info, team_id: strawberry.ID, meeting_id: strawberry.ID | None = None
    ) -> Agenda | None:
        row_id = parse_id("team", team_id)
        if row_id is None:
            raise NotFound("team")
        agenda = await info.context.read(read_agenda, row_id, meeting_id)
        row = agenda.meeting
        return Agenda(
            meeting_id=None if row is None else strawberry.ID(ids.format_id("meeting", row.id)),
            meeting_state=None if row is None else MeetingState(row.state),
            starts_at=None if row is None else row.starts_at,
            order=[AgendaItemKind(kind) for kind in agenda.order],
            items=[AgendaEntry.of(entry) for entry in agenda.entries],
            hidden=agenda.hidden,
        )
