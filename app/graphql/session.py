"""The shapes of sessions and dosage, and the mutation that records sessions. It contains no rules."""

from collections.abc import Iterator
from datetime import date, datetime
from enum import StrEnum
from uuid import UUID

import strawberry

from app.core.errors import NotFound
from app.graphql.door import Info, guarded_field
from app.graphql.node import Node, parse_id, show_id
from app.graphql.problems import Problem, check_lengths, run_command, to_problems
from app.graphql.roster import Student, student_of
from app.graphql.school import Staff, staff_of
from app.response.service import record_sessions
from app.roster.queries import staff_by_id, students_by_id
from app.support import dosage as doses
from app.support import models, queries
from app.support.session import NewSession


@strawberry.enum(description="Why minutes of a session were lost. An event is a drill, a test or a trip.")
class LostBecause(StrEnum):
    """The reasons of `app.support.dosage`."""

    ABSENT = "absent"
    NO_PROVIDER = "no_provider"
    SCHEDULE = "schedule"
    EVENT = "event"
    SCHOOL_CLOSED = "school_closed"
    OTHER = "other"


@strawberry.enum(description="The result for a session that was sent.")
class SessionOutcome(StrEnum):
    """The outcomes of `app.support.session`."""

    RECORDED = "recorded"
    AMENDED = "amended"
    UNCHANGED = "unchanged"
    REFUSED = "refused"


@strawberry.type(description="One delivery of a support. A planned session without a record is unknown, not missed.")
class Session(Node):
    """A session."""

    support_id: strawberry.ID
    student_row: strawberry.Private[UUID]
    held_on: date
    number: int = strawberry.field(description="The session's number on its day.")
    attended: bool
    planned_minutes: int
    delivered_minutes: int
    lost_because: LostBecause | None
    recorded_by_row: strawberry.Private[UUID | None]
    external_id: str | None = strawberry.field(description="The sender's own id.")
    recorded_at: datetime
    version: int

    @guarded_field("The student whom it was for.", students_by_id)
    async def student(self, info: Info) -> Student | None:
        return await student_of(info.context, self.student_row)

    @guarded_field("The person who recorded it, if a person did.", staff_by_id)
    async def recorded_by(self, info: Info) -> Staff | None:
        return await staff_of(info.context, self.recorded_by_row)

    @classmethod
    def of(cls, row: models.Session) -> "Session":
        """Returns the GraphQL object for a row."""
        return cls(
            id=show_id("session", row.id),
            support_id=show_id("support", row.support_id),
            student_row=row.student_id,
            held_on=row.held_on,
            number=row.number,
            attended=row.attended,
            planned_minutes=row.planned_minutes,
            delivered_minutes=row.delivered_minutes,
            lost_because=None if row.lost_because is None else LostBecause(row.lost_because),
            recorded_by_row=row.recorded_by,
            external_id=row.external_id,
            recorded_at=row.recorded_at,
            version=row.version,
        )


@strawberry.type(description="The minutes lost for one reason.")
class Lost:
    """A reason for lost minutes, with the minutes."""

    because: LostBecause
    minutes: int


@strawberry.type(
    description="A week's sessions and minutes; the known minutes are those of sessions that have a record."
)
class DosageWeek:
    """The dosage of one week."""

    monday: date
    planned_sessions: int
    delivered_sessions: int
    unknown_sessions: int
    planned_minutes: int
    known_minutes: int
    delivered_minutes: int


@strawberry.type(
    description=(
        "Delivered against planned, over days that are both included. The shares count the sessions with "
        "a record; they are null where fewer than half of the planned ones have one: then the dosage is "
        "unknown."
    )
)
class Dosage:
    """The dosage of a support over some days."""

    since: date
    until: date
    planned_sessions: int
    delivered_sessions: int
    unknown_sessions: int
    planned_minutes: int
    known_minutes: int
    delivered_minutes: int
    share: float | None = strawberry.field(description="The lesser of the two shares.")
    session_share: float | None
    minute_share: float | None
    lost: list[Lost]
    weeks: list[DosageWeek]

    @classmethod
    def of(cls, dosage: doses.Dosage) -> "Dosage":
        """Returns the GraphQL object for a dosage."""
        names = [name for name in cls.__annotations__ if name not in ("lost", "weeks")]
        weeks = [
            DosageWeek(**{name: getattr(week, name) for name in doses.DosageWeek.__slots__}) for week in dosage.weeks
        ]
        lost = [Lost(because=LostBecause(because), minutes=minutes) for because, minutes in dosage.lost.items()]
        return cls(**{name: getattr(dosage, name) for name in names}, lost=lost, weeks=weeks)


@strawberry.input(description="A session to be recorded. Sending the same session again changes nothing.")
class NewSessionInput:
    """One session of `recordSessions`; becomes a `NewSession`."""

    held_on: date
    attended: bool
    number: int = 1
    planned_minutes: int | None = strawberry.field(
        default=None,
        description="By default, the minutes that the phase plans; 0 for a session that makes up for another.",
    )
    delivered_minutes: int | None = None
    lost_because: LostBecause | None = None
    external_id: str | None = strawberry.field(
        default=None, description="The sender's own id, by which the session is inserted or updated."
    )


@strawberry.input(description="1 to 500 sessions of one support.")
class RecordSessionsInput:
    """The input of `recordSessions`."""

    support: strawberry.ID
    sessions: list[NewSessionInput]


@strawberry.type(description="The result for one session; a refused session has its problems.")
class SessionResult:
    """The result for one session of `recordSessions`."""

    outcome: SessionOutcome
    session: Session | None
    problems: list[Problem]


@strawberry.type(description="A result for each session, in order; `problems` concern the input as a whole.")
class RecordSessionsPayload:
    """The payload of `recordSessions`."""

    results: list[SessionResult]
    problems: list[Problem]


@strawberry.type
class SessionQueries:
    """The queries of sessions."""

    @guarded_field("One session.", queries.session)
    async def session(self, info: Info, id: strawberry.ID) -> Session | None:
        session_id = parse_id("session", id)
        row = None if session_id is None else await info.context.read_or_none(queries.session, session_id)
        return None if row is None else Session.of(row)


@strawberry.type
class SessionMutations:
    """The mutations of sessions."""

    @guarded_field(
        "Records sessions of a support, each independently: an invalid one is refused alone.", record_sessions
    )
    async def record_sessions(self, info: Info, input: RecordSessionsInput) -> RecordSessionsPayload | None:
        new = [_new(session) for session in input.sessions]
        if problems := check_lengths(_texts(new)):
            return RecordSessionsPayload(results=[], problems=problems)
        support_id = parse_id("support", input.support)
        if support_id is None:
            missing = NotFound("support")
            problem = Problem(code=missing.code, pointer="/support", detail=missing.detail)
            return RecordSessionsPayload(results=[], problems=[problem])
        recorded, problems = await run_command(info.context, record_sessions, support_id, new)
        results = [
            SessionResult(
                outcome=SessionOutcome(result.outcome),
                session=None if result.session is None else Session.of(result.session),
                problems=to_problems(result.violations),
            )
            for result in recorded or []
        ]
        return RecordSessionsPayload(results=results, problems=problems)


def _texts(sessions: list[NewSession]) -> Iterator[tuple[str, str | None, int, int]]:
    for position, session in enumerate(sessions):
        yield f"/sessions/{position}/external_id", session.external_id, 1, 200


def _new(session: NewSessionInput) -> NewSession:
    return NewSession(
        held_on=session.held_on,
        attended=session.attended,
        number=session.number,
        planned_minutes=session.planned_minutes,
        delivered_minutes=session.delivered_minutes,
        lost_because=None if session.lost_because is None else session.lost_because.value,
        external_id=session.external_id,
    )
