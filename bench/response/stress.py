"""Measures the response monitor, at its stated threshold, in simulated years that differ from the usual one.

`python -m bench.response.stress`
"""

from __future__ import annotations

import argparse
import os
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import partial

from app.response.rules.calibrate.district import calibrate
from app.response.rules.monitor.calibration import PUBLISHED
from bench.response.figures import figures, first_flag
from bench.response.monitor import panel, run_monitor
from bench.response.world import BETWEEN, World, simulate

WORLDS: dict[str, World] = {
    "the benchmark's own": World(),
    "slower growth (mean 1.0)": World(growth=(1.0, 0.6)),
    "faster growth (mean 1.6)": World(growth=(1.6, 0.6)),
    "growth more alike (SD .3)": World(growth=(1.3, 0.3)),
    "growth less alike (SD .9)": World(growth=(1.3, 0.9)),
    "noise 25 % above the SEM": World(noise=10.0),
    "noise 25 % under the SEM": World(noise=6.0),
    "students' noise less alike": World(noise_spread=0.5),
    "errors correlated .3": World(autocorrelation=0.3),
    "errors correlated .5": World(autocorrelation=0.5),
    "5 % outliers, four times as wide": World(outliers=0.05),
    "heavier tails (t3)": World(tail=3.0),
    "forms equated (no form effect)": World(form_share=0.0),
    "forms 60 % of the variance": World(form_share=0.6),
    "baseline forms not shared": World(baseline_forms=False),
    "cohorts of 10": World(cohort=10),
    "cohorts of 5": World(cohort=5),
    "30 % missing": World(missing=0.3),
    "wobble of 1 a week": World(wobble=1.0),
    "wobble of 1.5 a week": World(wobble=1.5),
    "responders from .8 of the rate on": World(bar=0.8),
    "slow fades over 6 weeks": World(fade=6),
    "partial stops (half kept)": World(kept=0.5),
    "growth slows for all by a third in spring": World(spring=0.67),
    "nobody stops": World(stopping=0.0),
    "several at once": World(growth=(1.1, 0.5), noise=9.0, autocorrelation=0.2, cohort=12, missing=0.2, outliers=0.02),
}


COLUMNS = ("FAR", "N12", "S8", "S10", "PPV")


def main() -> None:
    ask = argparse.ArgumentParser(prog="python -m bench.response.stress", description=__doc__)
    ask.add_argument("--students", type=int, default=6_000)
    ask.add_argument("--seed", type=int, default=1001, help="students scored; calibration uses those of the next seed")
    ask.add_argument("--world", action="append", help="only these worlds")
    ask.add_argument("--processes", type=int, default=os.cpu_count())
    options = ask.parse_args()
    worlds = {name: world for name, world in WORLDS.items() if not options.world or name in options.world}
    print(
        "| world | as published: "
        + " | ".join(COLUMNS)
        + " | calibrated: "
        + " | ".join((*COLUMNS, "threshold"))
        + " |"
    )
    print("|---" * (2 + 2 * len(COLUMNS)) + "|")
    near = [0, 0]
    with ProcessPoolExecutor(options.processes) as pool:
        rows = pool.map(partial(run_world, options.students, options.seed), worlds.values())
        for name, (plain, own, threshold) in zip(worlds, rows, strict=True):
            cells = [f"{value[figure]:.3f}" for value in (plain, own) for figure in COLUMNS]
            print(f"| {name} | " + " | ".join(cells) + f" | {threshold:.2f} |", flush=True)
            near = [n + (abs(value["FAR"] - 0.10) <= 0.02) for n, value in zip(near, (plain, own), strict=True)]
    print(f"\nWithin .02 of the stated rate: {near[0]} as published, {near[1]} calibrated, of {len(worlds)}.")


def run_world(students: int, seed: int, world: World) -> tuple[dict[str, float], dict[str, float], float]:
    """Returns the monitor's figures in one simulated world, at the threshold for a false-alarm rate of .10.

    The first figures are with the published parameters, the second with parameters calibrated on other students. The
    last value is the threshold after this calibration.
    """
    own = calibrate(panel(simulate(world, students, seed + 1)))
    year = simulate(world, students, seed)
    clear_cases = year.group != BETWEEN
    scored = replace(year, group=year.group[clear_cases], stop=year.stop[clear_cases])
    values = []
    for calibration in (PUBLISHED, own):
        statistic = run_monitor(year, calibration, only=clear_cases).statistic
        values.append(figures(first_flag(statistic, calibration.threshold_at(0.10)), scored).value)
    return values[0], values[1], own.threshold_at(0.10)


if __name__ == "__main__":
    main()
