"""Measures every decision rule in the simulated year: as it is commonly used, and with the threshold that gives all
rules the same false-alarm rate.

`python -m bench.response`
"""

from __future__ import annotations

import argparse
import os
import time
import warnings
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from app.response.rules import choose
from bench.response.classic import RULES
from bench.response.figures import NAMES, Figures, figures, first_flag, threshold_for
from bench.response.monitor import MonitorResults, calibration_error, kind_accuracy, odds_by_bin, run_monitor
from bench.response.world import RESPONDER, World, simulate

GRID = (0.01, 0.02, 0.05, 0.10, 0.15, 0.20, 0.25, 0.30, 0.40, 0.50)

TARGET_MARGIN = 0.0025
"""The amount by which a threshold's target rate is below the stated rate.

It is needed because the threshold is itself an estimate.
"""


@dataclass(frozen=True, slots=True)
class Pair:
    """The results of a rule in two populations of students.

    The first population gives the threshold for each false-alarm rate (FAR), the second gives the figures.
    """

    thresholds: dict[float, float]
    statistic: NDArray[np.float64]
    watched: MonitorResults | None
    seed: int


def main() -> None:
    options = _arguments()
    print("| rule | threshold | " + " | ".join(NAMES) + " |\n" + "|---" * (len(NAMES) + 2) + "|")
    notes: list[str] = []
    with ProcessPoolExecutor(options.processes) as pool:
        for rule in options.rule or [*RULES, "monitor", "monitor, forms left in"]:
            began = time.perf_counter()
            seeds = range(options.seed, options.seed + 2 * options.pairs, 2)
            pairs = list(pool.map(partial(one_pair, rule, options.students, options.far), seeds))
            notes += report(rule, pairs, options.students, options.far)
            notes.append(f"{rule}: {time.perf_counter() - began:.0f} s")
    print("\n" + "\n".join(notes))


def _arguments() -> argparse.Namespace:
    ask = argparse.ArgumentParser(prog="python -m bench.response", description=__doc__)
    ask.add_argument("--students", type=int, default=20_000)
    ask.add_argument("--pairs", type=int, default=5, help="pairs of seeds: one sets thresholds, one is scored")
    ask.add_argument("--seed", type=int, default=1)
    ask.add_argument("--far", type=float, default=0.10)
    ask.add_argument("--processes", type=int, default=os.cpu_count())
    ask.add_argument("--rule", action="append", help="only these rules")
    return ask.parse_args()


def one_pair(rule: str, students: int, far: float, seed: int) -> Pair:
    """Returns a rule's thresholds in the population of `seed`, and its figures in the population of `seed + 1`."""
    warnings.simplefilter("ignore", RuntimeWarning)  # the rules divide by a spread of no weeks in the first weeks
    setting, scored = (simulate(World(), students, s) for s in (seed, seed + 1))
    watched = None
    if rule.startswith("monitor"):
        keep = setting.group == RESPONDER
        first = np.full(setting.scores.shape, -np.inf)
        first[keep] = run_monitor(setting, adjust=rule == "monitor", only=keep).statistic
        watched = run_monitor(scored, adjust=rule == "monitor")
        second = watched.statistic
    else:
        first, second = RULES[rule](setting), RULES[rule](scored)
    thresholds = {f: threshold_for(first, setting, max(f - TARGET_MARGIN, f / 2)) for f in sorted({*GRID, far})}
    return Pair(thresholds, second, watched, seed + 1)


def report(rule: str, pairs: list[Pair], students: int, far: float) -> list[str]:
    """Prints the result rows of a rule, and returns further notes.

    The threshold is the mean of the thresholds of the pairs of populations.
    """
    thresholds = {f: float(np.mean([pair.thresholds[f] for pair in pairs])) for f in pairs[0].thresholds}
    years = [simulate(World(), students, pair.seed) for pair in pairs]
    both = list(zip(pairs, years, strict=True))
    if not rule.startswith("monitor"):
        print(row(f"{rule}, as used", "", [figures(first_flag(pair.statistic, 0.0), year) for pair, year in both]))
    equal = [figures(first_flag(pair.statistic, thresholds[far]), year) for pair, year in both]
    print(row(f"{rule}, FAR {far:.2f}", f"{thresholds[far]:.3f}", equal), flush=True)
    notes = [f"{rule}: thresholds by FAR { ({f: round(value, 3) for f, value in thresholds.items()}) }"]
    each = ", ".join(f"{run.value['FAR']:.3f}" for run in equal)
    notes.append(f"{rule}: FAR of each pair {each}")
    kinds = [kind_accuracy(pair.watched, year, thresholds[far]) for pair, year in both if pair.watched is not None]
    if kinds:
        means = {name: round(float(np.mean([pair_[name] for pair_ in kinds])), 3) for name in kinds[0]}
        notes.append(f"{rule}: at the first flag {means}")
    watched = [(pair.watched, year) for pair, year in both if pair.watched is not None]
    if watched and rule == "monitor":
        stated = [
            figures(first_flag(pair.statistic, choose.RULES[rule].threshold_at(far)), year) for pair, year in both
        ]
        print(
            row(f"{rule}, as stated for {far:.2f}", f"{choose.RULES[rule].threshold_at(far):.3f}", stated), flush=True
        )
        each = ", ".join(f"{run.value['FAR']:.3f}" for run in stated)
        notes.append(f"{rule}: FAR of each population at the stated threshold {each}")
        errors = [calibration_error(monitor, year) for monitor, year in watched]
        notes.append(f"{rule}: expected calibration error of P(slow) {', '.join(f'{e:.4f}' for e in errors)}")
        bins = zip(*odds_by_bin(*watched[0]), strict=True)
        notes += [f"  stated {stated:.3f}, true {true:.3f}, cases {number:.0f}" for number, stated, true in bins]
    return notes


def row(name: str, threshold: str, runs: list[Figures]) -> str:
    """Returns one row of the table: the mean of each figure over the runs, with its standard error."""
    cells = []
    for figure in NAMES:
        values = np.array([run.value[figure] for run in runs])
        digits = 1 if figure == "delay" else 3
        error = values.std(ddof=1) / np.sqrt(len(values)) if len(values) > 1 else 0.0
        cells.append(f"{values.mean():.{digits}f} ±{error:.{digits}f}")
    return f"| {name} | {threshold} | " + " | ".join(cells) + " |"


if __name__ == "__main__":
    main()
