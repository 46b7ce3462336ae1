"""Tests syncs that are interrupted by a fault. Each of a few seeds determines where the fault occurs."""

from pathlib import Path

import pytest

from tests.faults.machine import Machine
from tests.faults.syncs import play

pytestmark = pytest.mark.long


@pytest.mark.parametrize("seed", range(10))
async def test_a_fault_leaves_the_state_before_or_after(seed: int, ours: Machine, tmp_path: Path) -> None:
    """After a fault, the database is as before the sync or as after it. The run then completes, and a further run
    changes nothing. Meanwhile writers have written records through both APIs, and every row has its student's schools.
    """
    outcome = await play(ours, seed, tmp_path, faults=1)
    assert outcome.steps
    written = {name: count for name, count in outcome.written.items() if " " not in name}
    assert len(written) >= 3, outcome.written
    assert outcome.out_of_step == {}, outcome.out_of_step
