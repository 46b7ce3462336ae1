"""Tests the worker as a process: it delivers, ends cleanly on a signal, and refuses an unsuitable database role."""

import asyncio
import json
import signal
from pathlib import Path

import pytest

from app.core import ids
from app.core.log import FIELDS
from app.settings import Settings
from tests.rooms.webhook_town import (
    end_leases,
    happen,
    log_of,
    receiving,
    register,
    sessions_end,
    start_worker,
)
from tests.town import Town

pytestmark = pytest.mark.long


async def test_the_process_delivers_and_ends_when_told(north: Town, tmp_path: Path) -> None:
    """On SIGTERM, the process records its running deliveries and ends with 0. Its log is JSON and names no person."""
    with receiving(tmp_path) as receiver, start_worker(north.settings) as worker:
        try:
            made = await register(north, receiver)
            await happen(north)
            await receiver.news(0)
            worker.send_signal(signal.SIGTERM)
            out, err = await asyncio.to_thread(worker.communicate, timeout=120)
        finally:
            worker.kill()
    assert (worker.returncode, err) == (0, "")
    lines = [json.loads(line) for line in out.splitlines()]
    assert [line["event"] for line in lines][:1] == ["worker.started"]
    (attempt,) = [line for line in lines if line["event"] == "webhooks.attempt"]
    assert (attempt["status"], attempt["job"]) == (204, "webhooks")
    assert attempt["district"] == ids.format_id("district", north.district_id)
    assert attempt["trace_id"]
    assert all(set(FIELDS) <= line.keys() for line in lines)
    assert str(north.students["amy"]) not in out
    (logged,) = await log_of(north, made)
    assert [attempt.status for attempt in logged.attempts] == [204]


async def test_a_killed_worker_loses_nothing(north: Town, tmp_path: Path) -> None:
    """After SIGKILL, claimed deliveries are sent when their leases end, with the same id."""
    with receiving(tmp_path) as receiver:
        made = await register(north, receiver)
        ids = [await happen(north) for _ in range(20)]
        with start_worker(north.settings) as first:
            await receiver.news(0)
            first.kill()
        # The server may still commit what the killed process sent last; then its sessions are gone.
        await sessions_end(north.settings)
        await end_leases(north)
        with start_worker(north.settings) as second:
            try:
                while count := receiver.count():
                    if len({one["webhook-id"] for one in receiver.at(made)}) == len(ids):
                        break
                    await receiver.news(count)
            finally:
                second.kill()
        assert all(one["verified"] for one in receiver.at(made))


def test_a_role_that_passes_row_level_security_is_refused(settings: Settings) -> None:
    """If the worker's database role can bypass row-level security, the worker prints one line and exits with code 1."""
    worker = start_worker(settings, AIMLINE_WORKER_DATABASE_URL=settings.database_url)
    _, err = worker.communicate(timeout=120)
    assert worker.returncode == 1
    assert "passes row-level security" in err
    assert len(err.splitlines()) == 1
