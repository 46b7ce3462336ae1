"""Measures the verdicts on supports that were delivered only in part.

`python -m bench.response.dosage`

* `restored`: half of the planned dose is delivered until week 6, and the whole dose from week 7 on. The goal requires
  growth of 1.5 words a week. From week 7 on, the students grow 1.7 words a week. Before, they grow in proportion to the
  dose, or not at all.
* `thin`: a part of the sessions takes place in every week, and growth is reduced in proportion. The students would keep
  pace if everything were delivered.
* `thin, never`: the same, for students who would grow under half of the required rate if everything were delivered.
"""

from __future__ import annotations

import argparse
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from app.response.rules.monitor.bulk import STATES, states
from app.response.rules.monitor.calibration import PUBLISHED
from app.response.rules.monitor.panel import judge_weeks
from app.response.rules.verdict import State
from bench.response.monitor import FIRST_WEEK, panel
from bench.response.world import NEVER, RESPONDER, World, Year, simulate

Array = NDArray[np.float64]

DELIVERED = 0.6
"""The probability with which each of three weekly sessions takes place in the worlds `thin`."""

RESTORED_IN = 6
"""The last week of the world `restored` in which only half of the dose is delivered."""

FAR = 0.10


def restored(students: int, seed: int, *, early: float) -> tuple[Year, Array]:
    """Simulates students who get half of the planned sessions until week 6 and all of them afterwards.

    With all sessions, they grow 1.7 words a week. With half of the sessions, this growth is multiplied by `early`.
    Returns the students, and the delivered shares by student and week.
    """
    world = World(growth=(1.7, 0.0), stopping=0.0)
    year = simulate(world, students, seed)
    share = np.ones(year.scores.shape)
    share[:, :RESTORED_IN] = 0.5
    rate = np.where(share < 1, early * year.rate, year.rate)
    return slowed(year, rate), share


def thin(students: int, seed: int) -> tuple[Year, Array]:
    """Simulates students who get only a random part of their sessions.

    Returns the students, and the delivered share of the sessions for each student and week.
    """
    year = simulate(World(stopping=0.0), students, seed)
    share = np.random.default_rng([seed, 2]).binomial(3, DELIVERED, year.scores.shape) / 3
    return slowed(year, share * year.rate), share


def slowed(year: Year, rate: Array) -> Year:
    """Returns the same students with the same errors, but with another growth in each week."""
    return replace(year, scores=np.maximum(year.scores + np.cumsum(rate - year.rate, axis=1), 0.0), rate=rate)


def verdicts(year: Year, share: Array | None) -> NDArray[np.int8]:
    """Returns the state of each student in each week, as an index of STATES.

    `share` has the delivered share of each student's planned dose in each week. None means that everything was
    delivered.
    """
    given = replace(panel(year), delivered=None if share is None else share.T)
    weeks = judge_weeks(given, PUBLISHED.prior, range(1, year.scores.shape[1] + 1))
    table = np.stack([states(week, PUBLISHED, FAR) for week in weeks], axis=1)
    table[:, : FIRST_WEEK - 1] = STATES.index(State.INSUFFICIENT_DATA)
    return table


def report(label: str, table: NDArray[np.int8]) -> str:
    """Returns a row of the table, which has shares of students.

    The first share is that of the students who ever had an alarm. The others are those of the students who ever had a
    given verdict.

    The last cell has the largest number of first alarms in one week, and the number of this week.
    """
    shares = [(table == STATES.index(state)).any(axis=1).mean() for state in SHOWN]
    alarm = np.isin(table, [STATES.index(state) for state in SHOWN[:2]])
    first = np.bincount(alarm.argmax(axis=1)[alarm.any(axis=1)], minlength=1)
    cells = [f"{alarm.any(axis=1).mean():.3f}", *(f"{share:.3f}" for share in shares[1:])]
    return f"| {label} | " + " | ".join(cells) + f" | {int(first.max())} in week {int(first.argmax()) + 1} |"


SHOWN = (State.OFF_TRACK, State.NOT_RESPONDING, State.UNDER_DELIVERED)


def main() -> None:
    ask = argparse.ArgumentParser(prog="python -m bench.response.dosage", description=__doc__)
    ask.add_argument("--students", type=int, default=4_000)
    ask.add_argument("--seed", type=int, default=301)
    options = ask.parse_args()
    print("| world | off_track or not_responding | not_responding | under_delivered | most first alarms |")
    print("|---|---|---|---|---|")
    for early, label in ((0.5, "restored, in proportion before"), (0.0, "restored, no growth before")):
        year, share = restored(options.students, options.seed, early=early)
        alone = replace(year, cohort=np.arange(len(year.cohort)))
        for judged, place in ((alone, "alone"), (year, "in cohorts of such students")):
            print(report(f"{label}, {place}", verdicts(judged, share)))
            print(report(f"{label}, {place}; as if all were delivered", verdicts(judged, None)), flush=True)
    year, share = thin(options.students, options.seed)
    for group, label in ((RESPONDER, "thin"), (NEVER, "thin, never")):
        chosen = year.group == group
        print(report(label, verdicts(year, share)[chosen]))
        print(report(f"{label}; as if all were delivered", verdicts(year, None)[chosen]), flush=True)


if __name__ == "__main__":
    main()
