"""Accepts and dismisses core stalls, that is, grades whose share of students at the benchmark fell.

An accepted core stall comes up on the agendas of the teams that serve the grade.
"""

from typing import Annotated
from uuid import UUID

from sqlalchemy import select

from app.access.permission import Can
from app.access.work import Work, needs
from app.core.clock import now
from app.core.errors import NotFound
from app.core.inputs import About
from app.core.text import Text
from app.events.catalogue import CORE_STALL_ACCEPTED, CORE_STALL_DISMISSED, EventType
from app.signal.stalls.events import emit_stall_event
from app.signal.stalls.models import CoreStall
from app.signal.stalls.rules import StallState, require_open

BECAUSE = Text(min=1, max=4000)
WHY_DISMISSED = About("Why it is dismissed.", "The winter form was harder for everybody.")


@needs(Can.SETTLE_SIGNALS)
async def accept_core_stall(work: Work, core_stall_id: UUID) -> CoreStall:
    """Accepts a core stall (a smaller share of the grade's students reached the benchmark than before).

    It is then put on the next agenda of each team that serves the grade.
    """
    return await _settle(work, await _lock(work, core_stall_id), StallState.ACCEPTED, None, CORE_STALL_ACCEPTED)


@needs(Can.SETTLE_SIGNALS)
async def dismiss_core_stall(
    work: Work, core_stall_id: UUID, because: Annotated[str, BECAUSE, WHY_DISMISSED]
) -> CoreStall:
    """Dismisses a core stall, with a reason. A core stall is a grade in which the share of students at the benchmark
    fell.

    It is never suggested again for this window, measure, school and grade.
    """
    BECAUSE.require(because, "/because")
    return await _settle(work, await _lock(work, core_stall_id), StallState.DISMISSED, because, CORE_STALL_DISMISSED)


async def _lock(work: Work, core_stall_id: UUID) -> CoreStall:
    stall = await work.db.scalar(
        select(CoreStall)
        .where(CoreStall.district_id == work.district_id, CoreStall.id == core_stall_id)
        .with_for_update()
        .execution_options(populate_existing=True)
    )
    if stall is None:
        raise NotFound("core_stall")
    require_open(stall.state)
    return stall


async def _settle(work: Work, stall: CoreStall, state: StallState, because: str | None, type_: EventType) -> CoreStall:
    stall.state, stall.settled_because = state, because
    stall.settled_by, stall.settled_at = work.principal.person_id, now()
    stall.version += 1
    await work.db.flush()
    emit_stall_event(work, type_, stall)
    return stall
