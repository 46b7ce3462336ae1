"""Tests screening, attendance, handovers and notes on agendas under load and during syncs.

Afterwards every row has the present school of its student, and no deadlock has occurred.
"""

from pathlib import Path

import pytest
from fastapi import FastAPI

from tests.records.care_writers import CareWriters
from tests.records.races import race
from tests.town import Town

pytestmark = pytest.mark.long


async def test_care_and_syncs_do_not_meet(app: FastAPI, north: Town, tmp_path: Path) -> None:
    """Commands of every package, the worker's tasks and syncs lock rows in one order when they run at the same time.

    No deadlock occurs, and no command is refused because of a conflict.
    """
    outcome = await race(north, app, tmp_path, writers=4, moved=12, syncs=3, of=CareWriters)
    assert (outcome.out_of_step, outcome.deadlocks, outcome.syncs) == ({}, 0, {"applied": 3}), outcome
    refused = (" 5", " 409 conflict")
    assert not {name for name in outcome.written if any(each in name for each in refused)}, outcome.written
    assert not {name for name in outcome.written if name.startswith("failed")}, outcome.written
