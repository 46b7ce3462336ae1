"""Moves the test clock of a sandbox district, so that partners can try a whole school year in minutes.

The clock moves only the date that the district takes for today. Tokens, leases, retries, limits and all recorded
instants keep real time. What is due on the new date is done shortly afterwards.
"""

from __future__ import annotations

from datetime import date
from typing import Annotated

from sqlalchemy import text, update

from app.access.models import TestClock
from app.access.permission import Can
from app.access.work import Work, needs
from app.core.clock import now
from app.core.errors import Conflict, Invalid, Violation
from app.core.inputs import About
from app.response.judging import finalize
from app.roster.lookup import forget_clock, today_of

EARLIEST, LATEST = date(2000, 1, 1), date(2100, 1, 1)
RUN_NOW = """
UPDATE task SET due = :now
WHERE district_id = :district AND kind IN ('starts', 'reminders', 'screening', 'signals') AND state = 'pending'
"""


@needs(Can.MOVE_TEST_CLOCK)
async def move_test_clock(
    work: Work,
    today: Annotated[
        date | None, About("The day that the district takes for today; null for the real one.", date(2026, 9, 14))
    ] = None,
) -> None:
    """Changes the date that the district takes for today.

    Raises `Invalid` for a day outside of this century, and `Conflict` for a district without a test clock.
    """
    if today is not None and not EARLIEST <= today < LATEST:
        raise Invalid([Violation("/today", "date.unlikely", "The day must be between 2000 and 2099.")])
    moved = (
        update(TestClock)
        .where(TestClock.district_id == work.district_id)
        .values(today=today, moved_at=now())
        .returning(TestClock.district_id)
    )
    if (await work.db.execute(moved)).one_or_none() is None:
        detail = "This district has no test clock. Only a district created with --sandbox has one."
        raise Conflict(detail, code="test_clock.missing")
    forget_clock(work)
    async with work.as_district("test clock"):
        await finalize.end_waits(work, await today_of(work))
        await work.db.execute(text(RUN_NOW), {"district": work.district_id, "now": now()})
