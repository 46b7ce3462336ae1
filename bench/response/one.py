"""`python -m bench.response.one`: milliseconds of judging the one score that a request brings, classmates beside it."""

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


def followed(classmates: int, weeks: int, seed: int) -> list[MonitoredSeries]:
    """A student and so many classmates of one grade, as a request finds them: a score and a form a week."""
    size = classmates + 1
    year = simulate(World(weeks=weeks, cohort=size), size, seed)
    found = []
    for row in range(size):
        base = float(sorted(year.baseline[row])[1])
        # No two classmates have the same goal: nothing that one of them costs serves another.
        goal = base + 39 * (0.8 + 0.4 * row / size)
        seen = [week for week, value in enumerate(year.scores[row].tolist(), 1) if value == value]
        scores = Scores(
            ids=tuple(UUID(int=row * 1000 + week) for week in seen),
            days=tuple(BEGINS + timedelta(weeks=week) for week in seen),
            weeks=tuple(seen),
            values=tuple(year.scores[row, week - 1].item() for week in seen),
            forms=tuple(f"F{week}" for week in seen),
        )
        line = ScoreSeries(UUID(int=10_000 + row), 1, BEGINS, base, goal, 26, MEASURE, COHORT, scores, {})
        found.append(MonitoredSeries(line, Support(id=line.support_id), Phase(id=UUID(int=20_000 + row)), RULE))
    return found


def upto(one: MonitoredSeries, week: int) -> MonitoredSeries:
    """The same series as it was at the end of a week."""
    return replace(one, score_series=replace(one.score_series, scores=one.score_series.scores.upto(week)))


def medians(cohorts: Sequence[Sequence[MonitoredSeries]]) -> tuple[float, float]:
    """Median milliseconds of the processor and by the clock, of judging the first of each cohort."""
    used, took = [], []
    for mine, *others in cohorts:
        beside = [one.score_series for one in others]
        worked, began = time.process_time(), time.perf_counter()
        judge_series([mine], beside)
        used.append(1000 * (time.process_time() - worked))
        took.append(1000 * (time.perf_counter() - began))
    return statistics.median(used), statistics.median(took)


def report(*, classmates: int, weeks: int, times: int) -> None:
    """Prints what one score costs with its classmates, and alone."""
    cohorts = [followed(classmates, weeks, seed) for seed in range(times)]
    later = [[upto(one, weeks - 1) for one in cohort] for cohort in cohorts[:20]]
    # What was made up for the measurement is no work of a request's collector.
    gc.freeze()
    medians(later)
    worked, took = medians(cohorts)
    said = f"one score, {classmates} classmates, {weeks} weeks, median of {times}"
    print(f"{said}: {worked:.2f} ms of the processor, {took:.2f} ms by the clock")
    worked, took = medians([cohort[:1] for cohort in cohorts])
    print(f"the same with nobody beside it: {worked:.2f} ms of the processor, {took:.2f} ms by the clock")


def main() -> None:
    ask = argparse.ArgumentParser(prog="python -m bench.response.one", description=__doc__)
    ask.add_argument("--classmates", type=int, default=24)
    ask.add_argument("--weeks", type=int, default=20)
    ask.add_argument("--times", type=int, default=300)
    given = ask.parse_args()
    report(classmates=given.classmates, weeks=given.weeks, times=given.times)


if __name__ == "__main__":
    main()
