"""Owns how commands find a support and its phases. Opens no session itself: the caller's permission holds."""

from uuid import UUID

from sqlalchemy import select

from app.access.work import Work
from app.core.errors import NotFound
from app.playbook.lookup import level_by_id
from app.support.models import Phase, Support


async def locked(work: Work, support_id: UUID) -> Support:
    """The support, locked until the commit, for a command of this room or of one above."""
    support = await work.db.scalar(
        select(Support).where(Support.district_id == work.district_id, Support.id == support_id).with_for_update()
    )
    if support is None:
        raise NotFound("support")
    work.disclose("support", [support.student_id])
    return support


async def current_phase(work: Work, support: Support) -> Phase:
    """The phase that is running, or the last one."""
    phase = await work.db.scalar(
        select(Phase)
        .where(Phase.district_id == work.district_id, Phase.support_id == support.id)
        .order_by(Phase.number.desc())
        .limit(1)
    )
    if phase is None:
        raise NotFound("phase")
    return phase


async def level_rank(work: Work, support: Support) -> int:
    """The rank of the support's present level."""
    return (await level_by_id(work, support.level_id)).rank
