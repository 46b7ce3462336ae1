"""Measures how many milliseconds it takes to judge one new score together with its classmates' scores.

`python -m bench.response.one`
"""

from __future__ import annotations

import argparse
import gc
import statistics
import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import date, timedelta
from uuid import UUID

from app.playbook.models import Measure
from app.playbook.queries import ChosenRule
from app.response.judging.cohort import judge_series
from app.response.judging.series import MonitoredSeries, Scores, ScoreSeries
from app.support.models import Phase, Support
from bench.response.world import World, simulate

BEGINS = date(2025, 9, 1)
MEASURE = Measure(id=UUID(int=1), code="orf", kind="growth", direction="up", sem=8.0)
COHORT = MEASURE.id, UUID(int=3), "03"
RULE = ChosenRule("monitor", {}, UUID(int=2))


def make_series(classmates: int, weeks: int, seed: int) -> list[MonitoredSeries]:
    """Returns the series of a student and of classmates in the form in which a request loads them.

    Each has one score a week, and each week has one form.
    """
    size = classmates + 1
    year = simulate(World(weeks=weeks, cohort=size), size, seed)
    series = []
    for row in range(size):
        base = float(sorted(year.baseline[row])[1])
        # No two classmates have the same goal, so that no computation for one of them serves another.
        goal = base + 39 * (0.8 + 0.4 * row / size)
        weeks_with_score = [week for week, value in enumerate(year.scores[row].tolist(), 1) if value == value]
        scores = Scores(
            ids=tuple(UUID(int=row * 1000 + week) for week in weeks_with_score),
            days=tuple(BEGINS + timedelta(weeks=week) for week in weeks_with_score),
            weeks=tuple(weeks_with_score),
            values=tuple(year.scores[row, week - 1].item() for week in weeks_with_score),
            forms=tuple(f"F{week}" for week in weeks_with_score),
        )
        line = ScoreSeries(UUID(int=10_000 + row), 1, BEGINS, base, goal, 26, MEASURE, COHORT, scores, {})
        series.append(MonitoredSeries(line, Support(id=line.series_id), Phase(id=UUID(int=20_000 + row)), RULE))
    return series


def truncate(monitored: MonitoredSeries, week: int) -> MonitoredSeries:
    """Returns the same series as it was at the end of the given week."""
    return replace(
        monitored, score_series=replace(monitored.score_series, scores=monitored.score_series.scores.upto(week))
    )


def medians(cohorts: Sequence[Sequence[MonitoredSeries]]) -> tuple[float, float]:
    """Judges the first series of each cohort. Returns the median processor time and the median elapsed time, in
    milliseconds.
    """
    used, took = [], []
    for mine, *others in cohorts:
        cohort_lines = [other.score_series for other in others]
        worked, began = time.process_time(), time.perf_counter()
        judge_series([mine], cohort_lines)
        used.append(1000 * (time.process_time() - worked))
        took.append(1000 * (time.perf_counter() - began))
    return statistics.median(used), statistics.median(took)


def report(*, classmates: int, weeks: int, times: int) -> None:
    """Prints how many milliseconds it takes to judge one score, together with its classmates' scores and without
    them.
    """
    cohorts = [make_series(classmates, weeks, seed) for seed in range(times)]
    later = [[truncate(monitored, weeks - 1) for monitored in cohort] for cohort in cohorts[:20]]
    # A request's garbage collector does not have to examine the data made for the measurement.
    gc.freeze()
    medians(later)
    worked, took = medians(cohorts)
    label = f"one score, {classmates} classmates, {weeks} weeks, median of {times}"
    print(f"{label}: {worked:.2f} ms of the processor, {took:.2f} ms by the clock")
    worked, took = medians([cohort[:1] for cohort in cohorts])
    print(f"the same with nobody beside it: {worked:.2f} ms of the processor, {took:.2f} ms by the clock")


def main() -> None:
    ask = argparse.ArgumentParser(prog="python -m bench.response.one", description=__doc__)
    ask.add_argument("--classmates", type=int, default=24)
    ask.add_argument("--weeks", type=int, default=20)
    ask.add_argument("--times", type=int, default=300)
    options = ask.parse_args()
    report(classmates=options.classmates, weeks=options.weeks, times=options.times)


if __name__ == "__main__":
    main()
