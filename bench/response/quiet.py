"""Measures how soon slow beginning readers are flagged, if their scores vary much less than the measure's usual SEM.

`python -m bench.response.quiet`

The goal requires growth of 1.5 words a week. The simulated readers begin at 20 words and grow .5 words a week. Their
scores vary with a standard deviation of 3.5 words. Other simulated readers, who grow as required, show how often an
alarm is false. Both groups are judged with an SEM of 8, and with the published SEM of their level. Each reader is
judged together with a cohort of 25 such readers, and alone.
"""

from __future__ import annotations

import argparse
from dataclasses import replace

import numpy as np

from app.playbook.defaults import SEMS
from app.playbook.measures.noise import NewSemRange, ranges_as_stored, sem_for
from app.response.rules.monitor.calibration import PUBLISHED
from app.response.rules.monitor.panel import judge_weeks
from bench.response.figures import first_flag
from bench.response.monitor import FIRST_WEEK, panel
from bench.response.world import RESPONDER, World, Year, simulate

LEVEL, NOISE, GROWTH = (20.0, 5.0), 3.5, (0.5, 0.0)
USUAL_SEM, FAR = 8.0, 0.10


def published_sem() -> float:
    """Returns the published SEM of oral reading for a third grader who begins at the level of the simulated readers."""
    sem = sem_for(USUAL_SEM, ranges_as_stored(NewSemRange(*each) for each in SEMS["orf"]), "03", LEVEL[0])
    if sem is None:
        raise RuntimeError("The published values have an SEM for this level.")
    return sem


def first_weeks(year: Year, *, adjust: bool) -> np.ndarray[tuple[int, ...], np.dtype[np.int64]]:
    """Returns the week of each student's first alarm, or 0 for none."""
    weeks = judge_weeks(panel(year), PUBLISHED.prior, range(FIRST_WEEK, year.world.weeks + 1), adjust=adjust)
    first = first_flag(np.stack([week.statistic for week in weeks], axis=1), PUBLISHED.threshold_at(FAR))
    return np.where(first > 0, first + FIRST_WEEK - 1, 0)


def main() -> None:
    ask = argparse.ArgumentParser(prog="python -m bench.response.quiet", description=__doc__)
    ask.add_argument("--students", type=int, default=3_000)
    ask.add_argument("--seed", type=int, default=901)
    options = ask.parse_args()
    print("| SEM | judged | median week of the first flag | flagged by week 9 | responders ever flagged |")
    print("|---|---|---|---|---|")
    for sem in (USUAL_SEM, published_sem()):
        world = World(level=LEVEL, noise=NOISE, growth=GROWTH, stated_sem=sem, stopping=0.0)
        slow = simulate(world, options.students, options.seed)
        usual = simulate(replace(world, growth=World().growth), options.students, options.seed + 1)
        for adjust in (True, False):
            first = first_weeks(slow, adjust=adjust)
            wrong = (first_weeks(usual, adjust=adjust) > 0)[usual.group == RESPONDER].mean()
            median = np.median(np.where(first == 0, world.weeks + 1, first))
            label = "in cohorts" if adjust else "alone"
            early = ((first > 0) & (first <= 9)).mean()
            print(f"| {sem:g} | {label} | {median:.0f} | {early:.3f} | {wrong:.3f} |", flush=True)


if __name__ == "__main__":
    main()
