"""Measures the rules for counts and percentages in a separate simulated year.

`python -m bench.response.counts`
"""

from __future__ import annotations

import argparse

import numpy as np

from app.response.rules.choose import RULES
from app.response.rules.series import Observation, Series
from app.response.rules.verdict import NonresponseKind, State

WEEKS, BEFORE, WANTED = 18, (4.0, 12.0), 0.4
"""The number of weeks, the range of weekly incidents before the support, and the goal as a part of a student's own
number.

The incidents before the support are uniformly distributed.
"""


RISES, FALLS = 3, (7, 12)
"""The number of weeks in which a responder reaches the goal, and the range of weeks in which a collapse begins."""
COURSES = ("responds", "between", "never", "collapses")
"""The courses that the students take, a quarter of the students each.

They move a little beyond the goal, half of the way, nowhere, or to the goal and then back.
"""


def main() -> None:
    ask = argparse.ArgumentParser(prog="python -m bench.response.counts", description=__doc__)
    ask.add_argument("--students", type=int, default=4_000)
    ask.add_argument("--seed", type=int, default=1)
    options = ask.parse_args()
    rng = np.random.default_rng(options.seed)
    print(
        "| rule | measure | FAR | between | N8 | N12 | never, by week 18 | collapse: before it | by its third score | "
        "by its fifth | by week 18 | called stopped |\n|---|---|---|---|---|---|---|---|---|---|---|---|"
    )
    for kind in ("count", "percentage", "yes/no"):
        for rule in ("level-change", "criterion") if kind != "yes/no" else ("criterion",):
            rows: dict[str, list[tuple[int, int, bool]]] = {course: [] for course in COURSES}
            for n in range(options.students):
                course, begins = COURSES[n % len(COURSES)], int(rng.integers(FALLS[0], FALLS[1] + 1))
                week, stopped = first(rule, *scores(kind, course, begins, rng))
                rows[course].append((week, begins, stopped))
            print(f"| {rule} | {kind} | " + " | ".join(f"{share:.3f}" for share in shares(rows)) + " |")


def shares(rows: dict[str, list[tuple[int, int, bool]]]) -> list[float]:
    """Returns the figures in a row of the table: shares of simulated students with an alarm of the rule.

    For students with a collapse of scores, the figures leave out those with an alarm before the collapse.
    """
    flags = {course: np.array([week for week, _, _ in rows[course]]) for course in COURSES}
    never, collapses = flags["never"], flags["collapses"]
    begins = np.array([begin for _, begin, _ in rows["collapses"]])
    stopped = np.array([stopped for _, _, stopped in rows["collapses"]])
    early = (collapses > 0) & (collapses < begins)
    scores_until = np.where(collapses > 0, collapses - begins + 1, 2 * WEEKS)[~early]
    return [
        *(float(np.mean(flags[course] > 0)) for course in ("responds", "between")),
        *(float(np.mean((never > 0) & (never <= week))) for week in (8, 12, WEEKS)),
        float(np.mean(early)),
        *(float(np.mean(scores_until <= number)) for number in (3, 5, WEEKS)),
        float(np.mean(stopped[~early][scores_until <= WEEKS])),
    ]


def scores(kind: str, course: str, begins: int, rng: np.random.Generator) -> tuple[float, float, np.ndarray]:
    """Returns the baseline, the goal and the scores of one simulated student.

    With the course `collapses`, the student loses all progress in the week `begins`.
    """
    week = np.arange(1, WEEKS + 1)
    reached = {"responds": 1.0, "between": 0.5, "never": 0.0, "collapses": 1.0}[course]
    moved = reached * np.minimum(week / RISES, 1)
    if course == "collapses":
        moved[week >= begins] = 0.0
    if kind == "count":
        usual = rng.uniform(*BEFORE)
        mean = usual * (1 - moved * (1 - 0.8 * WANTED))
        # The counts are over-dispersed: a student's weeks differ by a gamma of shape 4.
        observed = rng.poisson(mean * rng.gamma(4, 1 / 4, WEEKS)).astype(float)
        base = rng.poisson(usual * rng.gamma(4, 1 / 4, 3))
        baseline = max(float(np.median(base)), 1.0)
        return baseline, WANTED * baseline, observed
    if kind == "yes/no":
        usual = rng.uniform(0.05, 0.3)
        return 0.0, 1.0, rng.binomial(1, usual + moved * (0.9 - usual)).astype(float)
    usual = rng.uniform(0.3, 0.6)
    level = usual + moved * (0.88 - usual)
    observed = 100 * rng.binomial(20, np.clip(level + 0.06 * rng.normal(size=WEEKS), 0, 1)) / 20
    percent_before = 100 * rng.binomial(20, np.full(3, usual)) / 20
    return min(float(np.median(percent_before)), 75.0), 80.0, observed


def first(rule: str, baseline: float, goal: float, seen: np.ndarray) -> tuple[int, bool]:
    """Returns the first week in which the rule concludes "not responding", and whether it then names the kind
    `stopped`.

    The week is 0 if the rule never does.
    """
    direction = "down" if goal < baseline else "up"
    for week in range(1, WEEKS + 1):
        observations = tuple(Observation(w + 1, float(seen[w])) for w in range(week))
        series = Series(observations, baseline, goal, WEEKS, direction)  # type: ignore[arg-type]  # "up" or "down"
        verdict = RULES[rule].judge(series)
        if verdict.state is State.NOT_RESPONDING:
            return week, verdict.kind is NonresponseKind.STOPPED
    return 0, False


if __name__ == "__main__":
    main()
