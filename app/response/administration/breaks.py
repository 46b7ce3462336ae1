"""Owns what follows from a break: the series of the schools whose weeks it changes are judged anew, quietly.

The roster keeps breaks and weeks. A break that changes no week (a day, a week outside of the school's year) asks for
nothing.
"""

from __future__ import annotations

from uuid import UUID

from app.access.permission import Can
from app.access.work import Work, needs
from app.response.judging import finalize
from app.roster.breaks import NewBreak, SavedBreak, delete_break, save_break


@needs(Can.PUBLISH_PLAYBOOK)
async def declare_break(work: Work, new: NewBreak) -> SavedBreak:
    """Keeps a break of a school or of the whole district; said again it stays as it is, with the name said last.

    The worker judges shortly what it changes; that raises no alerts. Raises `Invalid` with everything that is wrong.
    """
    return await _judged_anew(work, await save_break(work, new))


@needs(Can.PUBLISH_PLAYBOOK)
async def remove_break(work: Work, break_id: UUID) -> SavedBreak:
    """Takes a break back; what it changes is judged as in `declare_break`. Raises `NotFound`, `Forbidden`."""
    return await _judged_anew(work, await delete_break(work, break_id))


async def _judged_anew(work: Work, laid: SavedBreak) -> SavedBreak:
    if laid.schools:
        async with work.as_district("breaks"):
            await finalize.schedule_rules(work, quiet=True, school_ids=laid.schools)
    return laid
