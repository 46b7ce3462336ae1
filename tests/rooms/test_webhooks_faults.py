"""Seeded schedules of faults: real worker processes are killed at points that they log, and the receiver fails first.

What must hold is read from the receiver's own log and the committed rows alone. Two hundred of them:
`AIMLINE_FAULT_SCHEDULES=200 python -m pytest tests/rooms/test_webhooks_faults.py`
"""

import asyncio
import json
import os
import random
import subprocess
from collections import defaultdict
from pathlib import Path

import pytest

from app.core.ids import show
from app.core.page import keyset
from app.events.feed import events_after
from app.worker import drain
from tests.rooms.webhook_town import (
    end_leases,
    lay,
    make_due,
    receiving,
    register,
    sessions_end,
    start_worker,
)
from tests.town import Town

SCHEDULES = int(os.environ.get("AIMLINE_FAULT_SCHEDULES", "3"))
POINTS = ("webhooks.claimed", "webhooks.attempt", "webhooks.recorded")
KILLS = 2


class RolledBack(Exception):
    """A transaction that fails after it has laid its event."""


def _read_until(worker: subprocess.Popen[str], point: str) -> None:
    """Reads the worker's log until it says that it is at this point."""
    assert worker.stdout is not None
    for line in worker.stdout:
        if json.loads(line)["event"] == point:
            return
    raise AssertionError(f"The worker ended before it came to {point}.")


async def _commit(town: Town, count: int) -> set[str]:
    async with town.unit() as work:
        return {show("event", lay(work, town)) for _ in range(count)}


async def _roll_back(town: Town) -> str:
    laid = ""
    try:
        async with town.unit() as work:
            laid = show("event", lay(work, town))
            await work.finish()
            raise RolledBack
    except RolledBack:
        return laid


async def _kill_at(town: Town, point: str) -> None:
    """Starts a worker and kills it where its log says that it is there; then time goes by."""
    with start_worker(town.settings) as worker:
        try:
            await asyncio.to_thread(_read_until, worker, point)
        finally:
            worker.kill()
    # The server may still commit what the killed process sent last; then its sessions are gone.
    await sessions_end(town.settings)
    await end_leases(town)
    await make_due(town)


async def _feed(town: Town) -> set[str]:
    async with town.unit() as work:
        page = await events_after(work, keyset(town.district_id, "events", {}, None, 200))
    return {show("event", event.id) for event in page.rows}


@pytest.mark.parametrize("seed", range(SCHEDULES))
async def test_nothing_is_lost_and_nothing_is_made_up(seed: int, north: Town, south: Town, tmp_path: Path) -> None:
    """Lost 0, phantom 0, same id same bytes, every delivery verifies, repeats are bounded, nothing across districts."""
    dice = random.Random(seed)
    fails = dice.randint(0, 3)
    with receiving(tmp_path, "--fail-first", str(fails)) as receiver:
        made, of_south = await register(north, receiver), await register(south, receiver)
        committed, rolled_back = set(), set()
        for _ in range(KILLS):
            committed |= await _commit(north, dice.randint(1, 12))
            rolled_back.add(await _roll_back(north))
            await _kill_at(north, dice.choice(POINTS))
        committed |= await _commit(north, 1)
        only = {north.district_id, south.district_id}
        while await drain(north.settings, only):
            await make_due(north)
        came = receiver.at(made)
        acknowledged = {one["webhook-id"] for one in came if one["answered"] == 204}
        assert acknowledged == committed
        assert not {one["webhook-id"] for one in came} & rolled_back
        assert all(one["verified"] for one in came)
        assert receiver.at(of_south) == []
        _same_bytes_and_few_repeats(came, fails)
    assert await _feed(north) == committed


def _same_bytes_and_few_repeats(came: list[dict[str, object]], fails: int) -> None:
    by_id = defaultdict(list)
    for one in came:
        by_id[one["webhook-id"]].append((one["size"], one["body"]))
    for bodies in by_id.values():
        assert all(body == bodies[0] for body in bodies)
        # One for each worker that died over it, one for each failing answer, and the one that is taken.
        assert len(bodies) <= 1 + KILLS + fails
