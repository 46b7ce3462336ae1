"""Declares the public shapes of protocols, series and meetings, with the commands that schedule them."""

from datetime import date, datetime
from typing import Any
from uuid import UUID

from sqlalchemy import func
from sqlalchemy.types import Text as SqlText

from app.access.permission import Can
from app.access.work import Work
from app.core import ids
from app.core.errors import Invalid, NotFound
from app.events.catalogue import MEETING_CANCELLED, MEETING_SCHEDULED
from app.meeting import protocols, scheduling
from app.meeting.models import Meeting, MeetingSeries, Protocol
from app.meeting.rules import MeetingState, SeriesState
from app.resources.command import Body, Command
from app.resources.declare import Link, Resource
from app.resources.fields import choice, field, many_by_ids, one, stored
from app.resources.listing import Filter, Flag, Listing, Resolver, Sort
from app.resources.members import Many, One
from app.resources.values import Value, item
from app.roster.resource import StaffResource
from app.team.models import Team
from app.team.resource import TeamResource
from app.team.rules import TeamRole

EXAMPLES = {
    "team": "tea_01jq4n6d9zf3vbs0x5k2m7e8th",
    "meeting": "mee_01jq4n6d9zf3vbs0x5k2m7e8tm",
    "meeting_series": "mse_01jq4n6d9zf3vbs0x5k2m7e8tn",
}


class ProtocolStepValue(Value):
    """A step of a protocol. A meeting may skip it."""

    title: str = item("The title.", "What do we see?")
    minutes: int = item("The minutes that it takes.", 5)
    question: str | None = item("The question that it answers.", "Which scores lie under the aimline?")
    role: TeamRole | None = item("The role that leads the step.", TeamRole.FACILITATOR)


class ProtocolResource(
    Resource[Protocol], kind="protocol", requires=Can.READ_PLAYBOOK, name="Protocol", get="protocol"
):
    """A version of the steps that a meeting may follow. They are a suggestion that nobody has to follow."""

    code: str = field(Protocol.code, "The code, by which the protocol is known.", "problem-solving")
    number: int = field(Protocol.number, "The number of the version of this protocol.", 1)
    name: str = field(Protocol.name, "The name.", "Problem solving in 30 minutes")
    steps: list[ProtocolStepValue] = stored(Protocol.steps, "The steps, in the order in which they follow.")
    published_by: One[StaffResource] | None = one(
        Protocol.published_by, StaffResource, "The person who published it, if a person did."
    )
    published_at: datetime = field(Protocol.published_at, "When it was published.")
    retired_at: datetime | None = field(
        Protocol.retired_at, "When it was retired, or followed by the next version; null while it is in force."
    )


class MeetingSeriesResource(
    Resource[MeetingSeries], kind="meeting_series", requires=Can.READ_MEETINGS, name="MeetingSeries"
):
    """Meetings of a team that recur. Days without school are skipped."""

    team: One[TeamResource] = one(MeetingSeries.team_id, TeamResource, "The team that meets.")
    rule: str = field(MeetingSeries.rule, "The recurrence rule of RFC 5545.", "FREQ=WEEKLY;BYDAY=TU")
    begins_at: str = field(
        func.to_char(MeetingSeries.begins_at, 'YYYY-MM-DD"T"HH24:MI', type_=SqlText),
        "The day and the time of day of the first meeting, in the district's time zone.",
        "2026-09-08T08:00",
    )
    minutes: int = field(MeetingSeries.minutes, "The minutes that each meeting takes.", 45)
    place: str | None = field(MeetingSeries.place, "The place.", "Room 12")
    protocol: One[ProtocolResource] | None = one(
        MeetingSeries.protocol_id, ProtocolResource, "The protocol that the meetings may follow."
    )
    state: SeriesState = choice(MeetingSeries.state, "The state of the series.")
    ended_on: date | None = field(MeetingSeries.ended_on, "The day on which it was ended.")
    version: int = field(MeetingSeries.version, "The number of changes; the ETag.", 1)


class MeetingResource(Resource[Meeting], kind="meeting", requires=Can.READ_MEETINGS, name="Meeting", get="meeting"):
    """A meeting of a team."""

    team: One[TeamResource] = one(Meeting.team_id, TeamResource, "The team that meets.")
    series: One[MeetingSeriesResource] | None = one(
        Meeting.series_id, MeetingSeriesResource, "The series; null for a single meeting."
    )
    protocol: One[ProtocolResource] | None = one(
        Meeting.protocol_id, ProtocolResource, "The protocol that it may follow."
    )
    starts_at: datetime = field(Meeting.starts_at, "The instant at which it begins.")
    minutes: int = field(Meeting.minutes, "The minutes that it takes.", 45)
    place: str | None = field(Meeting.place, "The place.", "Room 12")
    state: MeetingState = choice(Meeting.state, "The state of the meeting.")
    present: Many[StaffResource] = many_by_ids(Meeting.present, StaffResource, "The people who were there.")
    opened_at: datetime | None = field(Meeting.opened_at, "When it was opened.")
    closed_at: datetime | None = field(Meeting.closed_at, "When it was closed.")
    cancelled_because: str | None = field(
        Meeting.cancelled_because, "Why it was cancelled, if somebody did.", "Half of the team is ill."
    )
    fell_on_break: bool = field(
        Meeting.fell_on_break, "Whether it was cancelled because there is no school on that day.", False
    )
    version: int = field(Meeting.version, "The number of changes; the ETag.", 1)


def id_of(kind: str) -> Resolver:
    """Returns a function that converts a public id of this kind into the row's id."""

    async def resolve(work: Work, text: str, pointer: str | None) -> UUID:
        try:
            return ids.parse_id(kind, text, pointer or "")
        except Invalid:
            if pointer is None:
                raise NotFound(kind) from None
            raise

    return resolve


def by_row(kind: str, column: Any, words: str, name: str | None = None) -> Filter[UUID]:
    """Returns a filter for a list. It selects the rows whose `column` has the id that the caller gives.

    The caller writes it as a public id of the kind `kind`. `name` is the name of the filter in REST; by default, it is
    the kind. `words` is the filter's description.
    """
    return Filter(
        name or kind,
        str,
        lambda row_id: column == row_id,
        words,
        EXAMPLES[kind],
        graphql=f"{name or kind}_id",
        resolve=id_of(kind),
        bound=UUID,
        narrow=True,
    )


LINKS = (
    Link(
        TeamResource,
        "meetings",
        MeetingResource,
        Meeting.team_id == Team.id,
        "Its meetings, in the order in which they were scheduled.",
        order=(Meeting.id,),
        paged=True,
    ),
    Link(
        TeamResource,
        "meeting_series",
        MeetingSeriesResource,
        MeetingSeries.team_id == Team.id,
        "Its series of meetings, oldest first.",
        order=(MeetingSeries.id,),
    ),
)

LISTINGS = (
    Listing(
        "protocols",
        ProtocolResource,
        "Protocols in the order in which they were published, earlier versions included.",
        flags=(Flag("in_force", "Only those in force.", on=Protocol.retired_at.is_(None)),),
        changed_at=Protocol.updated_at,
    ),
    Listing(
        "meeting_series",
        MeetingSeriesResource,
        "Series of meetings, oldest first.",
        filters=(
            by_row("team", MeetingSeries.team_id, "Only series of this team."),
            Filter(
                "state",
                SeriesState,
                lambda state: MeetingSeries.state == state,
                "Only series in this state.",
                SeriesState.ACTIVE,
            ),
        ),
        changed_at=MeetingSeries.updated_at,
    ),
    Listing(
        "meetings",
        MeetingResource,
        "Meetings in the order in which they were scheduled.",
        filters=(
            by_row("team", Meeting.team_id, "Only meetings of this team."),
            by_row("meeting_series", Meeting.series_id, "Only meetings of this series.", name="series"),
            Filter(
                "state",
                MeetingState,
                lambda state: Meeting.state == state,
                "Only meetings in this state.",
                MeetingState.SCHEDULED,
            ),
        ),
        sorts=(Sort("starts_at", (Meeting.starts_at, Meeting.id), "By the instant at which they begin."),),
        changed_at=Meeting.updated_at,
    ),
)

COMMANDS = (
    Command(
        "publish_protocol",
        protocols.publish_protocol,
        ProtocolResource,
        "Publishes a protocol, or the next version of one, which retires the version before.",
        "POST /protocols",
        status=201,
    ),
    Command(
        "retire_protocol",
        protocols.retire_protocol,
        ProtocolResource,
        "Retires a protocol. Meetings that follow it continue to follow it, and no other meeting can choose it.",
        "POST /protocols/{protocol}/retire",
    ),
    Command(
        "schedule_meeting_series",
        scheduling.schedule_series,
        MeetingSeriesResource,
        "Schedules a series of meetings of a team. Its meetings exist twelve weeks ahead, except on days "
        "without school.",
        "POST /meeting-series",
        emits=(MEETING_SCHEDULED,),
        status=201,
    ),
    Command(
        "end_meeting_series",
        scheduling.end_series,
        MeetingSeriesResource,
        "Ends a series. Its meetings that have not been opened are cancelled.",
        "POST /meeting-series/{meeting_series}/end",
        emits=(MEETING_CANCELLED,),
    ),
    Command(
        "schedule_meeting",
        scheduling.schedule_meeting,
        MeetingResource,
        "Schedules a single meeting of a team.",
        "POST /meetings",
        emits=(MEETING_SCHEDULED,),
        status=201,
    ),
    Command(
        "cancel_meeting",
        scheduling.cancel_meeting,
        MeetingResource,
        "Cancels a meeting that has not been opened. What its agenda had comes up at the next one.",
        "POST /meetings/{meeting}/cancel",
        emits=(MEETING_CANCELLED,),
        body=Body("MeetingCancellation", "The reason for a cancellation."),
    ),
)
