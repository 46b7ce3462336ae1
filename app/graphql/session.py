"""Owns the shapes of sessions and dosage, and the mutation that records sessions. Holds no rule."""

from collections.abc import Iterator
from datetime import date, datetime
from enum import StrEnum
from uuid import UUID

import strawberry

from app.core.errors import NotFound
from app.graphql.door import Info, asks
from app.graphql.node import Node, named, shown
from app.graphql.problems import Problem, check_lengths, run_command, to_problems
from app.graphql.roster import Student, student_of
from app.graphql.school import Staff, staff_of
from app.response.service import record_sessions
from app.roster.queries import staff_by_id, students_by_id
from app.support import dosage as doses
from app.support import models, queries
from app.support.session import NewSession


@strawberry.enum(description="Why minutes of a session were lost. An event is a drill, a test, a trip.")
class LostBecause(StrEnum):
    """The reasons of `app.support.dosage`."""

    ABSENT = "absent"
    NO_PROVIDER = "no_provider"
    SCHEDULE = "schedule"
    EVENT = "event"
    SCHOOL_CLOSED = "school_closed"
    OTHER = "other"


@strawberry.enum(description="What became of a session that was sent.")
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
    number: int = strawberry.field(description="Which one of its day.")
    attended: bool
    planned_minutes: int
    delivered_minutes: int
    lost_because: LostBecause | None
    recorded_by_row: strawberry.Private[UUID | None]
    external_id: str | None = strawberry.field(description="The sender's own id.")
    recorded_at: datetime
    version: int

    @asks("Whom it was for.", students_by_id)
    async def student(self, info: Info) -> Student | None:
        return await student_of(info.context, self.student_row)

    @asks("Who recorded it, where a person did.", staff_by_id)
    async def recorded_by(self, info: Info) -> Staff | None:
        return await staff_of(info.context, self.recorded_by_row)

    @classmethod
    def of(cls, row: models.Session) -> "Session":
        """The shape of a row."""
        return cls(
            id=shown("session", row.id),
            support_id=shown("support", row.support_id),
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


@strawberry.type(description="Minutes lost for one reason.")
class Lost:
    """A reason and its minutes."""

    because: LostBecause
    minutes: int


@strawberry.type(description="A week's sessions and minutes; the known minutes are of the sessions that have a record.")
class DosageWeek:
    """A week."""

    monday: date
    planned_sessions: int
    delivered_sessions: int
    unknown_sessions: int
    planned_minutes: int
    known_minutes: int
    delivered_minutes: int


@strawberry.type(
    description="Delivered against planned, over days that both count. The shares rest on the sessions with a record, "
    "and are null where fewer than half of the planned ones have one: then the dosage is unknown."
)
class Dosage:
    """A dosage."""

    since: date
    until: date
    planned_sessions: int
    delivered_sessions: int
    unknown_sessions: int
    planned_minutes: int
    known_minutes: int
    delivered_minutes: int
    share: float | None = strawberry.field(description="The lesser of both shares.")
    session_share: float | None
    minute_share: float | None
    lost: list[Lost]
    weeks: list[DosageWeek]

    @classmethod
    def of(cls, found: doses.Dosage) -> "Dosage":
        """The shape of a dosage."""
        names = [name for name in cls.__annotations__ if name not in ("lost", "weeks")]
        weeks = [
            DosageWeek(**{name: getattr(week, name) for name in doses.DosageWeek.__slots__}) for week in found.weeks
        ]
        lost = [Lost(because=LostBecause(because), minutes=minutes) for because, minutes in found.lost.items()]
        return cls(**{name: getattr(found, name) for name in names}, lost=lost, weeks=weeks)


@strawberry.input(description="A session as a sender gives it. The same session sent again changes nothing.")
class NewSessionInput:
    """As `NewSession`."""

    held_on: date
    attended: bool
    number: int = 1
    planned_minutes: int | None = strawberry.field(
        default=None, description="As the phase plans, where it is not given; 0 for one that makes up for another."
    )
    delivered_minutes: int | None = None
    lost_because: LostBecause | None = None
    external_id: str | None = strawberry.field(
        default=None, description="The sender's own id, by which it is upserted."
    )


@strawberry.input(description="1 to 500 sessions of one support.")
class RecordSessionsInput:
    """Sessions of a support."""

    support: strawberry.ID
    sessions: list[NewSessionInput]


@strawberry.type(description="What became of one session; a refused one has its problems.")
class SessionResult:
    """A result."""

    outcome: SessionOutcome
    session: Session | None
    problems: list[Problem]


@strawberry.type(description="A result for each session, in order; `problems` are of the input as a whole.")
class RecordSessionsPayload:
    """A payload."""

    results: list[SessionResult]
    problems: list[Problem]


@strawberry.type
class SessionQueries:
    """The sessions' part of the query root."""

    @asks("One session.", queries.session)
    async def session(self, info: Info, id: strawberry.ID) -> Session | None:
        session_id = named("session", id)
        row = None if session_id is None else await info.context.found(queries.session, session_id)
        return None if row is None else Session.of(row)


@strawberry.type
class SessionMutations:
    """The sessions' part of the mutation root."""

    @asks("Records sessions of a support, each by itself: one that is no good is refused alone.", record_sessions)
    async def record_sessions(self, info: Info, input: RecordSessionsInput) -> RecordSessionsPayload | None:
        new = [_new(one) for one in input.sessions]
        if problems := check_lengths(_texts(new)):
            return RecordSessionsPayload(results=[], problems=problems)
        support_id = named("support", input.support)
        if support_id is None:
            missing = NotFound("support")
            told = Problem(code=missing.code, pointer="/support", detail=missing.detail)
            return RecordSessionsPayload(results=[], problems=[told])
        taken, problems = await run_command(info.context, record_sessions, support_id, new)
        results = [
            SessionResult(
                outcome=SessionOutcome(one.outcome),
                session=None if one.session is None else Session.of(one.session),
                problems=to_problems(one.violations),
            )
            for one in taken or []
        ]
        return RecordSessionsPayload(results=results, problems=problems)


def _texts(sessions: list[NewSession]) -> Iterator[tuple[str, str | None, int, int]]:
    for position, one in enumerate(sessions):
        yield f"/sessions/{position}/external_id", one.external_id, 1, 200


def _new(one: NewSessionInput) -> NewSession:
    return NewSession(
        held_on=one.held_on,
        attended=one.attended,
        number=one.number,
        planned_minutes=one.planned_minutes,
        delivered_minutes=one.delivered_minutes,
        lost_because=None if one.lost_because is None else one.lost_because.value,
        external_id=one.external_id,
    )
