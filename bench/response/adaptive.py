"""Measures the response monitor when students take as many extra scores as it asks for.

`python -m bench.response.adaptive`
"""

from __future__ import annotations

import argparse
import os
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from app.response.rules.monitor.calibration import PUBLISHED
from app.response.rules.monitor.estimate import summarize
from app.response.rules.monitor.panel import Panel, parts_of, prepare
from app.response.rules.monitor.rule import scores_to_request
from bench.response.figures import Figures, figures, first_flag, threshold_for
from bench.response.world import BASELINES, World, Year, further_scores, simulate

Array = NDArray[np.float64]
MAX_PROBES = 3  # scores a week that the rule asks for at most


@dataclass(frozen=True, slots=True)
class ProbeResults:
    """The monitor's statistic, and the number of scores that it asked for, by student and week."""

    statistic: Array
    requested: Array


def probe(year: Year, seed: int, threshold: float) -> ProbeResults:
    """Returns the results of a population that takes as many scores each week as the monitor asks for.

    Each score is on a form of its own.
    """
    students, weeks = year.scores.shape
    extra = further_scores(year, seed, MAX_PROBES - 1)
    times = np.r_[np.zeros(BASELINES, np.int64), np.repeat(np.arange(1, weeks + 1), MAX_PROBES)]
    values = np.full((len(times), students), np.nan)
    values[:BASELINES] = year.baseline.T
    sem, g = year.world.stated_sem, np.full(students, year.world.goal_rate / year.world.stated_sem)
    whole = Panel(times, values / sem, g, year.cohort, np.ones(len(times)))
    statistic, requested = np.zeros((students, weeks)), np.ones((students, weeks), np.int64)
    scores = np.concatenate([year.scores[None], extra]).transpose(2, 0, 1) / sem
    for part in parts_of(whole):
        students_part = whole.part(part)
        requests = np.ones(len(students_part.g), np.int64)
        posteriors = prepare(students_part, PUBLISHED.prior, range(1, weeks + 1))
        for week in range(weeks):
            requested[part, week] = requests
            for n in range(MAX_PROBES):
                receiving = requests > n
                students_part.values[BASELINES + MAX_PROBES * week + n, receiving] = scores[week, n, part][receiving]
            reading = summarize(next(posteriors).posterior(PUBLISHED.prior))
            statistic[part, week] = reading.statistic
            flagged = (statistic[part, : week + 1] > threshold).any(axis=1)
            requests = np.where(flagged, 1, scores_to_request(reading.statistic, threshold))
    return ProbeResults(statistic, requested)


def probe_seed(students: int, threshold: float, seed: int) -> tuple[ProbeResults, Year]:
    year = simulate(World(), students, seed)
    return probe(year, seed, threshold), year


def main() -> None:
    ask = argparse.ArgumentParser(prog="python -m bench.response.adaptive", description=__doc__)
    ask.add_argument("--students", type=int, default=5_000)
    ask.add_argument("--seed", type=int, default=1)
    ask.add_argument("--pairs", type=int, default=1)
    ask.add_argument("--far", type=float, default=0.10)
    ask.add_argument("--processes", type=int, default=os.cpu_count())
    options = ask.parse_args()
    threshold = PUBLISHED.threshold_at(options.far, adaptive=True)
    seeds = range(options.seed, options.seed + 2 * options.pairs)
    with ProcessPoolExecutor(options.processes) as pool:
        years = list(pool.map(partial(probe_seed, options.students, threshold), seeds))
    own = [threshold_for(probed.statistic, year, options.far) for probed, year in years]
    thresholds = ", ".join(f"{value:.2f}" for value in own)
    print(f"threshold for {options.far:.3f}: {np.mean(own):.3f} (each {thresholds}); stated {threshold}")
    rows: list[Figures] = []
    for probed, year in years:
        rows.append(figures(first_flag(probed.statistic, threshold), year))
        value = " ".join(f"{name} {number:.3f}" for name, number in rows[-1].value.items())
        print(f"scores a week {probed.requested.mean():.3f}; {value}")
    for name in rows[0].value:
        values = np.array([row.value[name] for row in rows])
        print(f"{name} {values.mean():.3f} ±{values.std(ddof=1) / np.sqrt(len(values)) if len(values) > 1 else 0:.3f}")


if __name__ == "__main__":
    main()
