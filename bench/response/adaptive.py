"""Measures how the response monitor performs if students take as many extra scores as it requests.

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
from app.response.rules.wording import NAMED
from bench.response.figures import threshold_for
from bench.response.monitor import FIRST_WEEK
from bench.response.shares import flagged, kind_shares
from bench.response.world import BASELINES, World, Year, further_scores, simulate

Array = NDArray[np.float64]
MAX_PROBES = 3  # scores a week that the rule asks for at most


@dataclass(frozen=True, slots=True)
class ProbeResults:
    """The results of the monitor for each student in each week.

    `slow` and `stopped` are the probabilities that growth is too slow and that it has stopped. `requested` is the
    number of scores that the monitor requested.
    """

    statistic: Array
    slow: Array
    stopped: Array
    requested: Array


def probe(year: Year, seed: int, threshold: float) -> ProbeResults:
    """Returns the monitor's results for simulated students who take as many scores each week as it requests.

    Each score is on a different form (version of the test).
    """
    students, weeks = year.scores.shape
    extra = further_scores(year, seed, MAX_PROBES - 1)
    times = np.r_[np.zeros(BASELINES, np.int64), np.repeat(np.arange(1, weeks + 1), MAX_PROBES)]
    values = np.full((len(times), students), np.nan)
    values[:BASELINES] = year.baseline.T
    sem, g = year.world.stated_sem, np.full(students, year.world.goal_rate / year.world.stated_sem)
    whole = Panel(times, values / sem, g, year.cohort, np.ones(len(times)))
    statistic, slow, stopped = np.zeros((3, students, weeks))
    requested = np.ones((students, weeks), np.int64)
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
            statistic[part, week], slow[part, week] = reading.statistic, reading.slow
            stopped[part, week] = reading.stopped
            # An alert that was raised stays, and one that was named needs no further scores.
            alarm = statistic[part, : week + 1] > threshold
            is_named = (alarm & (slow[part, : week + 1] >= NAMED)).any(axis=1)
            reached = np.where(alarm.any(axis=1), np.inf, reading.statistic)
            requests = np.where(is_named, 1, scores_to_request(reached, threshold, reading.slow))
    return ProbeResults(statistic, slow, stopped, requested)


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
    rows: list[dict[str, dict[str, float]]] = []
    for probed, year in years:
        alarm = probed.statistic > threshold
        alarm[:, : FIRST_WEEK - 1] = False
        is_named = alarm & (probed.slow >= NAMED)
        names = flagged(is_named, year, year.world.goal_rate / 2) | kind_shares(is_named, probed.stopped, year)
        rows.append({"off_track": flagged(alarm, year, year.world.goal_rate), "not_responding": names})
        rows[-1]["scores"] = {"a week": float(probed.requested.mean())}
    for verdict in rows[0]:
        print(f"\n{verdict}, mean (least, most) of {len(rows)} populations of {options.students} students")
        for figure in rows[0][verdict]:
            values = [row[verdict][figure] for row in rows]
            print(f"  {figure:8} {np.mean(values):.4f} ({min(values):.4f}, {max(values):.4f})")


if __name__ == "__main__":
    main()
