"""Tests records of teams, meetings and groups under load with syncs: no row keeps a former school, no deadlock
occurs.
"""

from pathlib import Path

import pytest
from fastapi import FastAPI

from tests.records.races import race
from tests.records.team_writers import TeamWriters
from tests.town import Town

pytestmark = pytest.mark.long


async def test_teams_and_syncs_do_not_meet(app: FastAPI, north: Town, tmp_path: Path) -> None:
    """Commands on teams, meetings, agendas, action items and groups never deadlock with each other or with syncs.

    All of them lock rows in one order.
    """
    outcome = await race(north, app, tmp_path, writers=4, moved=12, syncs=6, of=TeamWriters)
    assert (outcome.out_of_step, outcome.deadlocks, outcome.syncs) == ({}, 0, {"applied": 6}), outcome
    assert not {name for name in outcome.written if " 5" in name or name.startswith("failed")}, outcome.written
