"""`python -m bench.response.counts`: measures the rules for counts and percentages in a separate simulated year."""

from __future__ import annotations

import argparse

import numpy as np

from app.response.rules.choose import RULES
from app.response.rules.series import Observation, Series
from app.response.rules.verdict import State

WEEKS, BEFORE, WANTED = 18, (4.0, 12.0), 0.4
"""Weeks, the range of incidents a week before the support (uniform), and the goal as a part of each student's own."""


def main() -> None:
    ask = argparse.ArgumentParser(prog="python -m bench.response.counts", description=__doc__)
    ask.add_argument("--students", type=int, default=4_000)
    ask.add_argument("--seed", type=int, default=1)
    options = ask.parse_args()
    rng = np.random.default_rng(options.seed)
    print(
        "| rule | measure | FAR | N8 | N12 | flagged by week 18 of those who never respond |\n|---|---|---|---|---|---|"
    )
    for kind in ("count", "percentage"):
        for rule in ("level-change", "criterion"):
            flags: dict[bool, list[int]] = {True: [], False: []}
            for n in range(options.students):
                responds = n % 2 == 0
                flags[responds].append(first(rule, *scores(kind, responds, rng)))
            wrong, never = np.array(flags[True]), np.array(flags[False])
            first_weeks = [np.mean((never > 0) & (never <= week)) for week in (8, 12, WEEKS)]
            print(
                f"| {rule} | {kind} | {np.mean(wrong > 0):.3f} | " + " | ".join(f"{f:.3f}" for f in first_weeks) + " |"
            )


def scores(kind: str, responds: bool, rng: np.random.Generator) -> tuple[float, float, np.ndarray]:
    """Returns baseline, goal and scores of one student.

    A responder moves to a little beyond the goal in three weeks.
    """
    week = np.arange(1, WEEKS + 1)
    moved = np.minimum(week / 3, 1) if responds else np.zeros(WEEKS)
    if kind == "count":
        usual = rng.uniform(*BEFORE)
        level = usual * (1 - moved * (1 - 0.8 * WANTED))
        # The counts are over-dispersed: a student's weeks differ by a gamma of shape 4.
        seen = rng.poisson(level * rng.gamma(4, 1 / 4, WEEKS)).astype(float)
        base = rng.poisson(usual * rng.gamma(4, 1 / 4, 3))
        baseline = max(float(np.median(base)), 1.0)
        return baseline, WANTED * baseline, seen
    usual = rng.uniform(0.3, 0.6)
    level = usual + moved * (0.88 - usual)
    seen = 100 * rng.binomial(20, np.clip(level + 0.06 * rng.normal(size=WEEKS), 0, 1)) / 20
    base = 100 * rng.binomial(20, np.full(3, usual)) / 20
    return min(float(np.median(base)), 75.0), 80.0, seen


def first(rule: str, baseline: float, goal: float, seen: np.ndarray) -> int:
    """Returns the first week in which the rule concludes "not responding"; 0 for never."""
    direction = "down" if goal < baseline else "up"
    for week in range(1, WEEKS + 1):
        observations = tuple(Observation(w + 1, float(seen[w])) for w in range(week))
        series = Series(observations, baseline, goal, WEEKS, direction)  # type: ignore[arg-type]  # "up" or "down"
        if RULES[rule].judge(series).state is State.NOT_RESPONDING:
            return week
    return 0


if __name__ == "__main__":
    main()
