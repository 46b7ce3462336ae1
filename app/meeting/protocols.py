"""Publishes and retires protocols. A published version never changes; a change publishes the next version."""

from dataclasses import asdict, dataclass
from typing import Annotated
from uuid import UUID

from sqlalchemy import select

from app.access.permission import Can
from app.access.work import Work, needs
from app.core import ids
from app.core.clock import now
from app.core.errors import Conflict, Invalid, NotFound, Violation
from app.core.ids import new_id
from app.core.inputs import About, AtMost, Between, Choices
from app.core.text import Text
from app.core.violations import Violations, input_violations
from app.meeting.models import Protocol
from app.meeting.rules import MAX_MINUTES, MAX_STEPS
from app.playbook.service import lock_playbook
from app.team.rules import TeamRole


@dataclass(frozen=True, slots=True)
class NewProtocolStep:
    """A step of a protocol."""

    title: Annotated[str, Text(min=1, max=200), About("The title.", "What do we see?")]
    minutes: Annotated[int, Between(0, MAX_MINUTES), About("The minutes that it takes.", 5)]
    question: Annotated[
        str | None, Text(max=1000), About("The question that it answers.", "Which scores lie under the aimline?")
    ] = None
    role: Annotated[
        TeamRole | None, Choices(TeamRole), About("The role that leads the step.", TeamRole.FACILITATOR)
    ] = None


@dataclass(frozen=True, slots=True)
class NewProtocol:
    """A protocol, or the next version of one."""

    code: Annotated[str, Text(min=1, max=60), About("The code, by which the protocol is known.", "problem-solving")]
    name: Annotated[str, Text(min=1, max=200), About("The name.", "Problem solving in 30 minutes")]
    steps: Annotated[
        tuple[NewProtocolStep, ...], AtMost(MAX_STEPS, least=1), About("The steps, in the order in which they follow.")
    ]


@needs(Can.PUBLISH_PLAYBOOK)
async def publish_protocol(work: Work, new: NewProtocol) -> Protocol:
    """Publishes the next version of a protocol, or the first version of a new one. Retires the previous version."""
    Violations(input_violations(new)).refuse()
    await lock_playbook(work)
    last = await work.db.scalar(
        select(Protocol)
        .where(Protocol.district_id == work.district_id, Protocol.code == new.code)
        .order_by(Protocol.number.desc())
        .limit(1)
    )
    protocol = Protocol(
        district_id=work.district_id,
        id=new_id(),
        code=new.code,
        number=1 if last is None else last.number + 1,
        name=new.name,
        steps=[asdict(step) for step in new.steps],
        published_by=work.principal.person_id,
        published_at=now(),
    )
    if last is not None:
        last.retired_at = last.retired_at or now()
    work.db.add(protocol)
    await work.db.flush()
    return protocol


@needs(Can.PUBLISH_PLAYBOOK)
async def retire_protocol(work: Work, protocol_id: UUID) -> Protocol:
    """Retires a version of a protocol. Meetings that already follow it keep it; new meetings cannot choose it."""
    protocol = await work.db.scalar(
        select(Protocol)
        .where(Protocol.district_id == work.district_id, Protocol.id == protocol_id)
        .with_for_update()
        .execution_options(populate_existing=True)
    )
    if protocol is None:
        raise NotFound("protocol")
    if protocol.retired_at is not None:
        raise Conflict("This version of the protocol is retired already.", code="protocol.retired")
    protocol.retired_at = now()
    await work.db.flush()
    return protocol


@needs(Can.RUN_MEETINGS)
async def locate_protocol(work: Work, name: str | None, pointer: str) -> UUID | None:
    """Returns the id of the protocol in force whose code or id is `name`; returns None if `name` is None.

    Raises `Invalid` if there is no such protocol.
    """
    if name is None:
        return None
    query = select(Protocol.id).where(Protocol.district_id == work.district_id, Protocol.retired_at.is_(None))
    if name.startswith(f"{ids.PREFIXES['protocol']}_"):
        query = query.where(Protocol.id == ids.parse_id("protocol", name, pointer))
    else:
        query = query.where(Protocol.code == name)
    protocol_id: UUID | None = await work.db.scalar(query)
    if protocol_id is None:
        raise Invalid([Violation(pointer, "protocol.unknown", "No protocol in force has this code or id.")])
    return protocol_id
