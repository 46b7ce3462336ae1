"""Tests that the weeks which the nightly sync creates follow the district's breaks.

A sync must never turn a week of a break into a week with instruction.
"""

import asyncio
from datetime import date, timedelta
from pathlib import Path

from app.core import ids
from app.response.administration.breaks import declare_break, remove_break
from app.roster.breaks import NewBreak
from tests.sis.roster_zip import Export, ask, row_id, sync
from tests.town import Town

MONDAY = date(2026, 12, 21)
LATER = date(2027, 3, 15)
WEEK = timedelta(days=4)


async def off(town: Town, sourced_id: str) -> list[date]:
    """Returns the Mondays of a school's weeks without instruction."""
    rows = await ask(
        town,
        "SELECT monday FROM school_week WHERE district_id = :district AND school_id = :id AND NOT instructional "
        "ORDER BY monday",
        id=await row_id(town, "org", sourced_id),
    )
    return [row[0] for row in rows]


async def test_a_sync_keeps_breaks_and_lays_new_weeks_by_them(north: Town, tmp_path: Path) -> None:
    """A sync applies the district's breaks to the weeks of each new school, and keeps the breaks of other schools."""
    async with north.unit() as work:
        await declare_break(work, NewBreak(MONDAY, MONDAY + timedelta(weeks=1) + WEEK, name="Winter"))
    await sync(north, Export(), tmp_path)
    winter = [MONDAY, MONDAY + timedelta(weeks=1)]
    assert await off(north, "south") == winter
    south = ids.format_id("org", await row_id(north, "org", "south"))
    async with north.unit() as work:
        snow = await declare_break(work, NewBreak(LATER, LATER + WEEK, south))
    assert snow.schools
    export = Export()
    export.rows["orgs"].append({**export.row("orgs", "south"), "sourcedId": "west", "name": "West", "identifier": ""})
    assert (await sync(north, export, tmp_path)).state == "applied"
    assert (await off(north, "south"), await off(north, "west")) == ([*winter, LATER], winter)
    async with north.unit() as work:
        assert (await remove_break(work, snow.row.id)).schools == snow.schools
    await sync(north, export, tmp_path)
    assert await off(north, "south") == winter


async def someone_waits(town: Town) -> bool:
    """Returns whether a transaction waits for the lock of breaks and weeks."""
    waits = """SELECT 1 FROM pg_locks AS l JOIN pg_stat_activity AS a ON a.pid = l.pid
        WHERE a.datname = current_database() AND l.locktype IN ('transactionid', 'tuple') AND NOT l.granted"""
    return bool(await ask(town, waits))


async def test_a_sync_that_meets_a_break_lays_its_weeks_by_it(north: Town, tmp_path: Path) -> None:
    """If another transaction has not committed a break yet, a sync waits for it.

    The sync then applies the break also to the weeks of a new school.
    """
    await sync(north, Export(), tmp_path)
    export = Export()
    export.rows["orgs"].append({**export.row("orgs", "south"), "sourcedId": "west", "name": "West", "identifier": ""})
    async with north.unit() as work:
        await declare_break(work, NewBreak(LATER, LATER + WEEK))
        syncing = asyncio.create_task(sync(north, export, tmp_path))
        while not await someone_waits(north):
            assert not syncing.done()
    assert (await syncing).state == "applied"
    assert (await off(north, "south"), await off(north, "west")) == ([LATER], [LATER])


async def test_two_breaks_that_share_a_week_are_laid_in_turn(north: Town, tmp_path: Path) -> None:
    """If two breaks that share a week are saved at the same time, both count."""
    await sync(north, Export(), tmp_path)

    async def second() -> None:
        async with north.unit() as work:
            await declare_break(work, NewBreak(LATER + timedelta(days=2), LATER + WEEK))

    async with north.unit() as work:
        await declare_break(work, NewBreak(LATER, LATER + timedelta(days=1)))
        waiting = asyncio.create_task(second())
        while not await someone_waits(north):
            assert not waiting.done()
    await waiting
    assert await off(north, "south") == [LATER]
