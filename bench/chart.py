"""Measures how long the service takes to compute and to draw the chart of a support.

The support has a school year's scores, two phases and sessions, generated from a seed. The benchmark uses one process
and no database: `python -m bench.chart`.
"""

import random
import statistics
import time
from datetime import date, timedelta
from uuid import uuid4

from app.evidence.models import Score
from app.playbook.models import Measure
from app.response.chart import picture
from app.response.models import VerdictRow
from app.rest.picture import svg
from app.support.dosage import DosageWeek
from app.support.models import Phase, Support

RUNS, WEEKS, BEGINS = 500, 34, date(2026, 1, 5)
OFF = frozenset(BEGINS + timedelta(weeks=week) for week in (6, 7, 15, 16, 17))


def main() -> None:
    """Prints the median times in milliseconds: the time of the processor, which does not depend on other programs, and
    the elapsed time.
    """
    for width in (320, 1000):
        worked, took, size = [], [], 0
        for _ in range(RUNS):
            began, at = time.process_time(), time.perf_counter()
            size = len(_draw(width))
            worked.append(1000 * (time.process_time() - began))
            took.append(1000 * (time.perf_counter() - at))
        medians = f"{statistics.median(worked):.2f} ms of the processor, {statistics.median(took):.2f} ms by the clock"
        print(f"{width} pixels: {medians}; {size / 1024:.0f} kB")


def _draw(width: int) -> str:
    seeded = random.Random(7)
    middle = BEGINS + timedelta(weeks=18)
    phases = [
        Phase(id=uuid4(), number=1, begins_on=BEGINS, ends_on=middle, baseline=40.0, goal=80.0, goal_on=middle),
        Phase(id=uuid4(), number=2, begins_on=middle, baseline=55.0, goal=85.0, goal_on=BEGINS + timedelta(weeks=40)),
    ]
    scores = [
        Score(id=uuid4(), taken_on=day, value=40 + week + seeded.gauss(0, 5), purpose="progress")
        for week in range(1, WEEKS)
        if (day := BEGINS + timedelta(weeks=week, days=2)) - timedelta(days=2) not in OFF
    ]
    outcome = {"state": "not_responding", "kind": "stopped", "sentence": "Growth has stopped.", "rate": 0.2}
    of = {"phase_id": phases[1].id, "score_ids": [score.id for score in scores[-12:]]}
    verdict = VerdictRow(
        id=uuid4(), because=[], rate_low=-0.3, rate_high=0.7, change_on=BEGINS + timedelta(weeks=25), **outcome, **of
    )
    return svg(
        picture(
            Support(id=uuid4(), starts_on=BEGINS, school_ids=[]),
            Measure(id=uuid4(), name="Oral reading", unit="words", direction="up", lowest=0.0, highest=300.0),
            phases,
            scores,
            verdict,
            off=OFF,
            sessions=[DosageWeek(BEGINS + timedelta(weeks=week), 3, 3, 0, 90, 90, 75) for week in range(WEEKS)],
            today=BEGINS + timedelta(weeks=WEEKS),
        ),
        width,
    )


if __name__ == "__main__":
    main()
