"""Measures the time and the memory of judging a district's series at once, in arrays.

`python -m bench.response.bulk`
"""

from __future__ import annotations

import argparse
import os
import resource
import time
from concurrent.futures import ProcessPoolExecutor
from functools import partial

import numpy as np

from app.response.rules.choose import judge
from app.response.rules.monitor.bulk import Batch, judge_bulk
from app.response.rules.series import Observation, Series
from bench.response.world import World, simulate

WEEKS = 20


def batch(students: int, seed: int) -> Batch:
    year = simulate(World(weeks=WEEKS), students, seed)
    n, ones = len(year.scores), np.ones(len(year.scores))
    base = np.median(year.baseline, axis=1)
    return Batch(
        np.arange(1, WEEKS + 1), year.scores, base, 1.5 * ones, base + 39, 8 * ones, np.zeros(n, np.int64), year.cohort
    )


def measure_many(students: int, seed: int) -> tuple[float, float, float]:
    """Judges the series of this many students.

    Returns the elapsed seconds, the processor seconds, and this process's largest memory in MB.
    """
    series = batch(students, seed)
    began, used = time.perf_counter(), time.process_time()
    judge_bulk(series)
    seconds = time.perf_counter() - began, time.process_time() - used
    return *seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000


def measure_one(times: int = 200) -> float:
    """Returns the processor time in milliseconds for judging one series of 20 scores by the monitor."""
    of = batch(25, 1)
    observations = tuple(Observation(w + 1, float(v), str(w)) for w, v in enumerate(of.values[0]) if v == v)
    series = Series(observations, float(of.baseline[0]), float(of.baseline[0]) + 45, 30, "up", 8.0)
    judge("monitor", series)
    used = time.process_time()
    for _ in range(times):
        judge("monitor", series)
    return (time.process_time() - used) / times * 1000


def main() -> None:
    ask = argparse.ArgumentParser(prog="python -m bench.response.bulk", description=__doc__)
    ask.add_argument("--series", type=int, default=1_000_000)
    ask.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    ask.add_argument("--part", type=int, default=50_000, help="series given to a process at a time")
    options = ask.parse_args()
    parts = max(options.series // options.part, 1)
    began = time.perf_counter()
    with ProcessPoolExecutor(options.processes) as pool:
        results = list(pool.map(partial(measure_many, min(options.part, options.series)), range(parts)))
    wall = time.perf_counter() - began
    walls, used, memory = zip(*results, strict=True)
    seconds = sum(walls) / options.processes
    print(f"{options.series} series of {WEEKS} weeks, forms and all, {options.processes} processes: {seconds:.1f} s")
    print(f"processor {sum(used):.1f} s; with making the scores up {wall:.1f} s")
    print(f"memory {options.processes} x {max(memory):.0f} MB; one series alone {measure_one():.2f} ms of processor")


if __name__ == "__main__":
    main()
