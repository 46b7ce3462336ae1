"""Runs a short schedule of faults against webhooks for each kind of fault except the slowest kind."""

import pytest

from tests.faults.machine import Machine
from tests.faults.webhooks import FAULTS, play

pytestmark = pytest.mark.long


# The lease that ends in mid-send is shown by the whole command only: it waits for a sender to give up.
@pytest.mark.parametrize("seed", range(len(FAULTS) - 1))
async def test_nothing_is_lost_and_nothing_is_made_up(seed: int, ours: Machine) -> None:
    """After faults, no event is lost or invented, a repeated delivery has the same bytes, and no event reaches another
    district.
    """
    outcome = await play(ours, seed, faults=1, slow=False)
    assert outcome.committed
