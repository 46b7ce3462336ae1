"""Measures how often the rules blame a support that would work but was not delivered.

`python -m bench.response.dosage`
"""

from __future__ import annotations

import argparse
from dataclasses import replace

import numpy as np

from app.response.rules.choose import RULES
from app.response.rules.monitor.panel import STOPPED
from app.response.rules.monitor.rule import DOSAGE, MIN_DELIVERY_WEEKS
from app.response.rules.series import DeliveredMinutes
from bench.response.monitor import run_monitor
from bench.response.world import RESPONDER, World, simulate

DELIVERED = 0.6
"""The probability with which each of three weekly sessions takes place; growth is reduced to the same share."""


def main() -> None:
    ask = argparse.ArgumentParser(prog="python -m bench.response.dosage", description=__doc__)
    ask.add_argument("--students", type=int, default=4_000)
    ask.add_argument("--seed", type=int, default=301)
    options = ask.parse_args()
    whole = World(stopping=0.0)
    slowed = replace(
        whole, growth=(DELIVERED * whole.growth[0], DELIVERED * whole.growth[1]), goal_rate=DELIVERED * whole.goal_rate
    )
    year = simulate(slowed, options.students, options.seed)
    works = year.group == RESPONDER
    watched = run_monitor(replace(year, world=whole), only=works)
    rng = np.random.default_rng(options.seed)
    students, weeks = watched.statistic.shape
    delivered = 30.0 * rng.binomial(3, DELIVERED, (students, weeks))
    over = watched.statistic > RULES["monitor"].threshold_at(0.10)
    flagged = over.any(axis=1)
    blamed = np.zeros(students, np.bool_)
    for student, week in np.argwhere(over):
        change = int(watched.change[student, week])
        since = change if watched.stopped[student, week] > STOPPED else 0
        dosage = DeliveredMinutes((90.0,) * weeks, tuple(delivered[student]))
        share = dosage.share(min(since, max(week + 1 - MIN_DELIVERY_WEEKS, 0)), week + 1)
        blamed[student] |= share is not None and share >= DOSAGE
    print(
        f"{students} students who keep pace where all is delivered, at {DELIVERED:.0%}: ever over the threshold ",
        end="",
    )
    print(f"{flagged.mean():.3f}, ever said not to respond {blamed.mean():.3f}")


if __name__ == "__main__":
    main()
