"""Tests records and syncs under load: no row keeps a former school, no deadlock occurs, and no sync fails."""

from pathlib import Path

import pytest
from fastapi import FastAPI

from tests.records.races import race
from tests.town import Town

pytestmark = pytest.mark.long


@pytest.mark.parametrize(("writers", "moved", "syncs"), [(3, 30, 2), (4, 18, 3)])
async def test_writers_and_syncs_do_not_meet(
    app: FastAPI, north: Town, tmp_path: Path, writers: int, moved: int, syncs: int
) -> None:
    """If syncs move students while both APIs write rows about them, all rows have the new schools at the end.

    No deadlock occurs, and no sync fails.
    """
    outcome = await race(north, app, tmp_path, writers=writers, moved=moved, syncs=syncs)
    assert (outcome.out_of_step, outcome.deadlocks, outcome.syncs) == ({}, 0, {"applied": syncs}), outcome
    taken = {name for name in outcome.written if " " not in name}
    assert len(taken) > 3, outcome.written
    assert not {name for name in outcome.written if " 5" in name or name.startswith("failed")}, outcome.written
