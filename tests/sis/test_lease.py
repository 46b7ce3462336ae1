"""Tests the lease of a district's sync: one process has it, and only as long as that process renews it."""

from datetime import timedelta

import pytest

from app.core.ids import new_id
from app.sis.engine.lease import MAX_LENGTH, describe_holder, is_syncing, renew_lease, take_lease
from app.sis.engine.run import lock_district_writes
from app.sis.port import AlreadyRunning
from tests.sis.roster_zip import ask
from tests.town import Town

ENDED = "UPDATE sis_lease SET leased_until = now() - interval '1 s' WHERE district_id = :district"


async def test_a_lease_has_one_holder(north: Town, south: Town) -> None:
    """While one process has a district's lease, another one is refused. Another district has its own lease."""
    first, second = new_id(), new_id()
    async with north.house() as work:
        length = await take_lease(work, first)
        assert timedelta(0) < length <= MAX_LENGTH
    async with south.house() as work:
        assert not await is_syncing(work)
        await take_lease(work, new_id())
    with pytest.raises(AlreadyRunning):
        async with north.house() as work:
            await take_lease(work, second)
    async with north.house() as work:
        assert await is_syncing(work)
        assert "holds this district's syncs" in await describe_holder(work)
        await renew_lease(work, first, timedelta(0))
    async with north.house() as work:
        assert not await is_syncing(work)
        await take_lease(work, second)


async def test_a_dead_processs_lease_ends_and_a_late_one_renews_nothing(north: Town) -> None:
    """After a process's lease has ended, another process can take the lease, and the former holder cannot renew it."""
    dead, alive = new_id(), new_id()
    async with north.house() as work:
        length = await take_lease(work, dead)
    await ask(north, ENDED)
    async with north.house() as work:
        await take_lease(work, alive)
    async with north.house() as work:
        await renew_lease(work, dead, timedelta(0))
        await renew_lease(work, dead, length * 10)
    ((holder, is_held),) = await ask(
        north,
        "SELECT holder, leased_until BETWEEN now() AND now() + interval '31 s' FROM sis_lease "
        "WHERE district_id = :district",
    )
    assert (holder, is_held) == (alive, True)


async def test_who_still_writes_keeps_the_lease_from_being_taken(north: Town) -> None:
    """No other process can take a district's lease while its holder is frozen in the middle of a transaction.

    This holds even after the lease has ended, because the frozen transaction still holds a lock.
    """
    async with north.house() as work:
        await take_lease(work, new_id())
    await ask(north, ENDED)
    async with north.house() as frozen:
        await lock_district_writes(frozen)
        with pytest.raises(AlreadyRunning):
            async with north.house() as work:
                await take_lease(work, new_id())
        async with north.house() as work:
            assert "Another process" in await describe_holder(work)
    async with north.house() as work:
        await take_lease(work, new_id())
