"""Saves and removes school breaks. The affected series are then judged again, without alerts.

Breaks and school weeks are stored by the roster. Only the series of schools whose weeks changed are affected. A break
that changes no week (a single day, or a week outside of the school's year) affects no series.
"""

from __future__ import annotations

from uuid import UUID

from app.access.permission import Can
from app.access.work import Work, needs
from app.response.judging import finalize
from app.roster.breaks import NewBreak, SavedBreak, delete_break, save_break


@needs(Can.PUBLISH_PLAYBOOK)
async def declare_break(work: Work, new: NewBreak) -> SavedBreak:
    """Saves a break of a school or of the whole district. If the break exists already, only its name changes.

    A worker judges the affected series shortly afterwards, without raising alerts. Raises `Invalid` with every
    violation.
    """
    return await _schedule_judging(work, await save_break(work, new))


@needs(Can.PUBLISH_PLAYBOOK)
async def remove_break(work: Work, break_id: UUID) -> SavedBreak:
    """Removes a break. A worker then judges the affected series again. Raises `NotFound` and `Forbidden`."""
    return await _schedule_judging(work, await delete_break(work, break_id))


async def _schedule_judging(work: Work, saved: SavedBreak) -> SavedBreak:
    if saved.schools:
        async with work.as_district("breaks"):
            await finalize.schedule_rules(work, quiet=True, school_ids=saved.schools)
    return saved
