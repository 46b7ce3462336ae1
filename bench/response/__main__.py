"""`python -m bench.response`: every rule in the simulated year, as used and at the same false-alarm rate."""

from __future__ import annotations

import argparse
import time
import warnings
from dataclasses import dataclass

import numpy as np

from bench.response.classic import RULES
from bench.response.figures import NAMES, Figures, figures, first_flag, threshold_for
from bench.response.monitor import told_apart, watch
from bench.response.world import World, simulate

GRID = (0.01, 0.02, 0.05, 0.10, 0.15, 0.20, 0.25, 0.30, 0.40, 0.50)


def main() -> None:
    ask = argparse.ArgumentParser(prog="python -m bench.response", description=__doc__)
    ask.add_argument("--students", type=int, default=20_000)
    ask.add_argument("--pairs", type=int, default=5, help="pairs of seeds: one sets thresholds, one is scored")
    ask.add_argument("--seed", type=int, default=1)
    ask.add_argument("--far", type=float, default=0.10)
    ask.add_argument("--rule", action="append", help="only these rules")
    given = ask.parse_args()
    warnings.simplefilter("ignore", RuntimeWarning)
    print("| rule | threshold | " + " | ".join(NAMES) + " |\n" + "|---" * (len(NAMES) + 2) + "|")
    notes = []
    for rule in given.rule or [*RULES, "monitor", "monitor, forms as they are"]:
        began = time.perf_counter()
        runs = [one_pair(rule, given.students, given.seed + 2 * pair, given.far) for pair in range(given.pairs)]
        if not rule.startswith("monitor"):
            print(row(f"{rule}, as used", "", [run.used for run in runs]))
        threshold = np.mean([run.thresholds[given.far] for run in runs])
        print(row(f"{rule}, FAR {given.far:.2f}", f"{threshold:.3f}", [run.equal for run in runs]), flush=True)
        grid = {far: round(float(np.mean([run.thresholds[far] for run in runs])), 3) for far in runs[0].thresholds}
        notes.append(f"{rule}: thresholds by FAR {grid}; {time.perf_counter() - began:.0f} s")
        if runs[0].told:
            told = {name: round(float(np.mean([run.told[name] for run in runs])), 3) for name in runs[0].told}
            fars = ", ".join(f"{run.equal.value['FAR']:.3f}" for run in runs)
            notes.append(f"{rule}: told apart {told}; FAR of each pair {fars}")
    print("\n" + "\n".join(notes))


@dataclass(frozen=True, slots=True)
class Run:
    """One pair of populations: the rule as used, at the stated FAR, its thresholds by FAR, kinds told apart."""

    used: Figures
    equal: Figures
    thresholds: dict[float, float]
    told: dict[str, float]


def one_pair(rule: str, students: int, seed: int, far: float) -> Run:
    """Thresholds from the population of `seed`, figures from that of `seed + 1`."""
    setting, scored = (simulate(World(), students, s) for s in (seed, seed + 1))
    told: dict[str, float] = {}
    if rule.startswith("monitor"):
        before, after = (watch(year, adjust=rule == "monitor") for year in (setting, scored))
        first, second = before.statistic, after.statistic
        told = told_apart(after, scored, threshold_for(first, setting, far))
    else:
        first, second = RULES[rule](setting), RULES[rule](scored)
    thresholds = {f: threshold_for(first, setting, f) for f in sorted({*GRID, far})}
    equal = figures(first_flag(second, thresholds[far]), scored)
    return Run(figures(first_flag(second, 0.0), scored), equal, thresholds, told)


def row(name: str, threshold: str, runs: list[Figures]) -> str:
    """The mean over the pairs, with its standard error over them in thousandths."""
    cells = []
    for figure in NAMES:
        values = np.array([run.value[figure] for run in runs])
        digits = 1 if figure == "delay" else 3
        error = values.std(ddof=1) / np.sqrt(len(values)) if len(values) > 1 else 0.0
        cells.append(f"{values.mean():.{digits}f} ±{error:.{digits}f}")
    return f"| {name} | {threshold} | " + " | ".join(cells) + " |"


if __name__ == "__main__":
    main()
