"""Lets clients write records about students while syncs move these students to other schools.

A seed determines the course of each run. At the end, each row must have the schools of its student, and no deadlock may
have occurred.
"""

import random
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from app.main import build
from tests.faults.machine import Machine
from tests.records.races import Outcome, race
from tests.town import found_town

SHAPES = ((3, 30, 6, 0.0), (4, 18, 11, 0.0), (2, 18, 12, 0.2))
"""The sizes of races: writers, students who move, syncs, and a writer's pause in seconds."""


async def play(machine: Machine, seed: int, folder: Path) -> Outcome:
    """Runs the writers and syncs that the seed determines, and checks the result.

    Raises `AssertionError`, with the seed in its message, if the result is wrong.
    """
    north = await found_town("north", machine.engine, machine.worker_engine, machine.settings)
    writers, moved, syncs, pause = SHAPES[random.Random(seed).randrange(len(SHAPES)) if seed >= 3 else seed]
    app = build(machine.settings)
    try:
        outcome = await race(north, app, folder, writers=writers, moved=moved, syncs=syncs, seed=seed, pause=pause)
    finally:
        await app.state.services.engine.dispose()
    faulty = [name for name in outcome.written if " 5" in name or name.startswith("failed")]
    is_sound = not outcome.out_of_step and not outcome.deadlocks and set(outcome.syncs) == {"applied"} and not faulty
    assert is_sound, f"seed {seed}: {outcome}"
    return outcome


def summary(outcomes: Sequence[Outcome]) -> str:
    """Returns a summary of all runs: the numbers of applied syncs, repeated requests and written rows."""
    written: Counter[str] = sum((one.written for one in outcomes), Counter())
    put_off: Counter[str] = sum((one.put_off for one in outcomes), Counter())
    return "\n".join(
        [
            f"{len(outcomes)} schedules: all hold.",
            f"syncs applied {sum(one.syncs['applied'] for one in outcomes)}, rows out of step 0, deadlocks 0",
            f"put off by a 503 and sent again {put_off.total():,}",
            f"written {written.total():,}: " + ", ".join(f"{name} {count:,}" for name, count in written.most_common()),
        ]
    )
