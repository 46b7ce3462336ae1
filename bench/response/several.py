"""Measures how often a responder who is monitored by several measures is flagged on any of them.

`python -m bench.response.several`

In the product, each measure gets an equal part of the stated false-alarm rate (Bonferroni). The table also shows what
happens if each measure gets the whole rate. Both are shown for two and for three measures, in three cases:

* independent: growth, forms and errors of one measure say nothing about those of another;
* alike in growth: the student's true level is the same on all measures, and the errors are not;
* alike in growth and errors: half of the variance of each error is common to the measures too.

Only students who keep pace on every measure are counted. The standard errors depend on the number of these students.
"""

from __future__ import annotations

import argparse
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from app.response.rules.monitor.calibration import PUBLISHED
from app.response.rules.monitor.panel import judge_weeks
from bench.response.monitor import FIRST_WEEK, panel
from bench.response.world import NEVER, RESPONDER, World, Year, further_scores, simulate

FAR, WEEK_OF_DETECTION = 0.10, 12
INDEPENDENT, GROWTH, ERRORS = "independent", "alike in growth", "alike in growth and errors"
Whole = NDArray[np.int64]


def measured(world: World, students: int, seed: int, measures: int, kind: str) -> list[Year]:
    """Returns one population for each measure.

    If the measures are independent, each population has different students. Otherwise, all have the same students.
    """
    first = simulate(world, students, seed)
    if kind == INDEPENDENT:
        return [first, *(simulate(world, students, seed + number) for number in range(1, measures))]
    others = further_scores(first, seed, measures - 1)
    if kind == ERRORS:
        common = np.where(np.isnan(first.scores), 0.0, first.scores - first.true)
        others = first.true + np.sqrt(0.5) * (others - first.true) + np.sqrt(0.5) * common
    return [first, *(replace(first, scores=scores) for scores in others)]


def first_weeks(year: Year, far: tuple[float, ...]) -> list[Whole]:
    """Returns the week of each student's first alarm, or 0 for none. There is one array for each false-alarm rate in
    `far`.
    """
    weeks = judge_weeks(panel(year), PUBLISHED.prior, range(FIRST_WEEK, year.world.weeks + 1), adjust=True)
    statistic = np.stack([week.statistic for week in weeks], axis=1)
    firsts = []
    for rate in far:
        over = statistic > PUBLISHED.threshold_at(rate)
        firsts.append(np.where(over.any(axis=1), over.argmax(axis=1) + FIRST_WEEK, 0))
    return firsts


def union(firsts: list[Whole], years: list[Year], group: int, *, by: int) -> tuple[float, int]:
    """Returns two numbers for a group: the share of its students who were flagged by any measure up to the week `by`,
    and the number of its students.

    `firsts` has, for each measure, the week of each student's first alarm. Independent measures are simulated with
    different students. The students with the same position in each simulation are treated as one student.
    """
    flags = [((first > 0) & (first <= by))[year.group == group] for first, year in zip(firsts, years, strict=True)]
    count = min(len(flag) for flag in flags)
    flagged = np.any(np.stack([flag[:count] for flag in flags]), axis=0)
    return float(flagged.mean()), count


def main() -> None:
    ask = argparse.ArgumentParser(prog="python -m bench.response.several", description=__doc__)
    ask.add_argument("--students", type=int, default=6_000)
    ask.add_argument("--seed", type=int, default=1_101)
    options = ask.parse_args()
    world = World()
    print("| measures | they are | ever flagged, each at the whole rate | each at a part | N12 | responders |")
    print("|---|---|---|---|---|---|")
    for measures in (1, 2, 3):
        for kind in (INDEPENDENT,) if measures == 1 else (INDEPENDENT, GROWTH, ERRORS):
            years = measured(world, options.students, options.seed, measures, kind)
            whole, parts = zip(*(first_weeks(year, (FAR, FAR / measures)) for year in years), strict=True)
            undivided, count = union(list(whole), years, RESPONDER, by=world.weeks)
            divided, _ = union(list(parts), years, RESPONDER, by=world.weeks)
            never, _ = union(list(parts), years, NEVER, by=WEEK_OF_DETECTION)
            error = (divided * (1 - divided) / count) ** 0.5
            print(
                f"| {measures} | {'–' if measures == 1 else kind} | {undivided:.3f} | {divided:.3f} ± {error:.3f} | "
                f"{never:.3f} | {count} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
