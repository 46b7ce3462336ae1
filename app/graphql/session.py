"""Defines the mutation that records sessions."""

from collections.abc import Iterator
from datetime import date
from enum import StrEnum

import strawberry

from app.core.errors import NotFound
from app.graphql.door import Info, guarded_field
from app.graphql.node import parse_id
from app.graphql.problems import Problem, check_lengths, run_command, to_problems
from app.graphql.written import row_of
from app.response.service import record_sessions
from app.support import models
from app.support.delivery import LostBecause, SessionResource
from app.support.session import NewSession


@strawberry.enum(description="The result for a session that was sent.")
class SessionOutcome(StrEnum):
    """The possible outcomes of recording a session, as in `app.support.session`."""

    RECORDED = "recorded"
    AMENDED = "amended"
    UNCHANGED = "unchanged"
    REFUSED = "refused"


@strawberry.input(description="A session to be recorded. Sending the same session again changes nothing.")
class NewSessionInput:
    """One session of `recordSessions`, which is converted to a `NewSession`."""

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
    session: models.Session | None = row_of(SessionResource)
    problems: list[Problem]


@strawberry.type(description="A result for each session, in order; `problems` concern the input as a whole.")
class RecordSessionsPayload:
    """The payload of `recordSessions`."""

    results: list[SessionResult]
    problems: list[Problem]


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
                session=result.session,
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
