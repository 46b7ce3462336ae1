"""Raises, accepts, dismisses and resolves concerns."""

from dataclasses import dataclass
from datetime import date
from typing import Annotated
from uuid import UUID

from sqlalchemy import select

from app.access.permission import Can
from app.access.work import Work, needs
from app.concern.models import Concern
from app.concern.rules import ConcernState, next_state
from app.core.clock import now
from app.core.errors import Invalid, NotFound, Violation
from app.core.ids import new_id
from app.core.inputs import About
from app.core.text import Text
from app.core.violations import Violations, input_violations
from app.events.catalogue import (
    CONCERN_ACCEPTED,
    CONCERN_DISMISSED,
    CONCERN_RAISED,
    CONCERN_RESOLVED,
    EventType,
)
from app.events.outbox import record, student_event
from app.playbook.lookup import locate_area_in_force, secured_code
from app.roster.lookup import resolve_actor, today_of
from app.roster.student_lock import lock_student, lock_student_of


@dataclass(frozen=True, slots=True)
class NewConcern:
    """A concern to be raised about one student in one area."""

    student: Annotated[
        str,
        About("The student: an id, or an external id `sis:<source>:<sourcedId>`.", "stu_01jq4n6d9zf3vbs0x5k2m7e8ta"),
    ]
    area: Annotated[str, About("The area: a code or an id.", "ela.fluency")]
    description: Annotated[
        str,
        Text(min=1, max=4000),
        About(
            "The observation that worries the person who raises the concern.",
            "Reads 40 words a minute, far below the class.",
        ),
    ]
    raised_by: Annotated[
        str | None,
        About(
            "An id or an external id; by default, the person that the request acts for.",
            "per_01jq4n6d9zf3vbs0x5k2m7e8tb",
        ),
    ] = None
    raised_on: Annotated[
        date | None, About("The day on which the concern was raised; by default, today.", date(2026, 9, 14))
    ] = None


BECAUSE = Text(max=4000)
"""The length limits of a reason for accepting, dismissing or resolving a concern."""


@needs(Can.RAISE_CONCERN)
async def raise_concern(work: Work, new: NewConcern) -> Concern:
    """Raises a concern about one student in one area.

    If the latest concern about this student in this area was dismissed, the new one is linked to it.
    """
    violations = Violations(input_violations(new))
    with violations:
        student = await lock_student(work, new.student, "/student")
    with violations:
        area = await locate_area_in_force(work, new.area, "/area")
    today = await today_of(work)
    with violations:
        if new.raised_on is not None and new.raised_on > today:
            raise Invalid([Violation("/raised_on", "concern.in_the_future", "A concern is raised today or before.")])
    with violations:
        raised_by = await resolve_actor(work, new.raised_by, "/raised_by")
    violations.refuse()
    concern = Concern(
        district_id=work.district_id,
        id=new_id(),
        student_id=student.id,
        school_ids=student.school_ids,
        secured_area=await secured_code(work, area),
        area_id=area.id,
        state="raised",
        description=new.description,
        raised_by=raised_by,
        raised_by_client=work.principal.client_id,
        raised_on=new.raised_on or today,
        repeats_id=await _dismissed_before(work, student.id, area.id),
        created_at=now(),
        version=1,
    )
    work.db.add(concern)
    await work.db.flush()
    _emit(work, CONCERN_RAISED, concern)
    return concern


async def _dismissed_before(work: Work, student_id: UUID, area_id: UUID) -> UUID | None:
    """Returns the id of the latest concern about a student in an area if that concern was dismissed, otherwise None."""
    row = (
        await work.db.execute(
            select(Concern.id, Concern.state)
            .where(
                Concern.district_id == work.district_id, Concern.student_id == student_id, Concern.area_id == area_id
            )
            .order_by(Concern.id.desc())
            .limit(1)
        )
    ).first()
    return row[0] if row is not None and row[1] == ConcernState.DISMISSED else None


@needs(Can.SETTLE_CONCERN)
async def accept_concern(
    work: Work,
    concern_id: UUID,
    because: Annotated[
        str | None, BECAUSE, About("The reason for the change of state.", "Screening confirms it.")
    ] = None,
) -> Concern:
    """Accepts a concern, which means that a team takes it up."""
    return await _transition(work, concern_id, "accept", because, CONCERN_ACCEPTED)


@needs(Can.SETTLE_CONCERN)
async def dismiss_concern(
    work: Work,
    concern_id: UUID,
    because: Annotated[
        str | None, BECAUSE, About("The reason for the change of state.", "Screening confirms it.")
    ] = None,
) -> Concern:
    """Dismisses a concern, with a reason."""
    return await _transition(work, concern_id, "dismiss", because, CONCERN_DISMISSED)


@needs(Can.SETTLE_CONCERN)
async def resolve_concern(
    work: Work,
    concern_id: UUID,
    because: Annotated[
        str | None, BECAUSE, About("The reason for the change of state.", "Screening confirms it.")
    ] = None,
) -> Concern:
    """Resolves an accepted concern."""
    return await _transition(work, concern_id, "resolve", because, CONCERN_RESOLVED)


async def _transition(work: Work, concern_id: UUID, verb: str, because: str | None, type_: EventType) -> Concern:
    BECAUSE.require(because, "/because")
    concern = await lock_student_of(work, Concern, Concern.id, concern_id)
    if concern is None:
        raise NotFound("concern")
    work.disclose("concern", [concern.student_id])
    concern.state = next_state(concern.state, verb)
    concern.settled_by = work.principal.person_id
    concern.settled_at = now()
    concern.settled_because = because
    # A concern that is accepted just now has no support, because supports answer accepted concerns only.
    concern.unserved_since = await today_of(work) if concern.state == ConcernState.ACCEPTED else None
    concern.version += 1
    await work.db.flush()
    _emit(work, type_, concern)
    return concern


def _emit(work: Work, type_: EventType, concern: Concern) -> None:
    record(work, student_event(type_, concern))
