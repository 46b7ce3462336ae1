"""The screening windows of the played year, the signals that follow, and the concerns that nobody serves.

After each window, and at each meeting, the product's answers are compared with what the script knows.
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import Final

from bench.year.roster import GRADE, external
from bench.year.state import Year

FALL, WINTER, SPRING = 2, 19, 33
"""The week in which each window opens; each lasts for two weeks."""
LASTS: Final = 2
MEASURE: Final = "orf"


@dataclass(frozen=True, slots=True)
class Season:
    """A season: the level of the grade's readers, and the published benchmark under which a score is a signal."""

    name: str
    middle: float
    benchmark: float


SEASONS: Final = {FALL: Season("fall", 62, 49), WINTER: Season("winter", 88, 78), SPRING: Season("spring", 102, 94)}
SCATTER, ABSENT = 22.0, 0.04
"""The standard deviation of the readers' scores, and the share of students who are absent in a window."""


def schedule(year: Year) -> None:
    """Schedules the windows of the year, and publishes the rule that turns scores under the benchmark into signals."""
    windows = [
        {
            "season": season.name,
            "opens_on": year.day(7 * week).isoformat(),
            "closes_on": year.day(7 * (week + LASTS)).isoformat(),
            "expected": [{"measure": MEASURE, "grades": [GRADE]}],
        }
        for week, season in SEASONS.items()
    ]
    for week, window in zip(SEASONS, windows, strict=True):
        year.ids[f"window {week}"] = year.caller.post("/v1/screening-windows", window)["id"]
    year.caller.post("/v1/signal-rules", {"code": "benchmark", "kind": "screening_under_cut", "measure": MEASURE})


def screen(year: Year) -> None:
    """Screens the grade on the Friday of the window's first week, in one call."""
    season, random = SEASONS[year.week], Random(f"{year.seed}/{year.week}")
    year.screened = {}
    for number in range(year.roster.students):
        name, value = year.roster.student(number), float(max(round(random.gauss(season.middle, SCATTER)), 0))
        if name not in year.roster.gone and random.random() >= ABSENT:
            year.screened[name] = value
    scores = [
        {
            "student": external(name),
            "measure": MEASURE,
            "taken_on": year.today.isoformat(),
            "value": value,
            "purpose": "screening",
            "attempt": 3,
        }
        for name, value in year.screened.items()
    ]
    results = year.caller.post("/v1/scores/bulk", {"scores": scores})["results"]
    refused = {each["code"] for result in results for each in result["violations"]}
    year.require(not refused, f"screening scores are refused: {refused}")


def close(year: Year) -> None:
    """Compares the kept results of a closed window, and the signals, with the scores; the team answers the signals."""
    opened = year.week - LASTS
    season = SEASONS[opened]
    scores = {year.student_ids[name]: value for name, value in year.screened.items()}
    under = {student for student, value in scores.items() if value < season.benchmark}
    path = f"/v1/screening-windows/{year.ids[f'window {opened}']}/report"
    report = year.caller.get(path, show="all", limit=200)
    results = report["results"]
    while report["next"] is not None:
        report = year.caller.get(path, show="all", limit=200, after=report["next"])
        results += report["results"]
    year.require(report["state"] == "closed", f"the {season.name} window is {report['state']} after its last day")
    shown = {each["student"]: each["value"] for each in results if each["value"] is not None}
    year.require(shown == scores, f"the {season.name} report has other scores: {len(shown)} of {len(scores)}")
    reported = {each["student"] for each in results if each["under_cut"]}
    year.require(reported == under, f"{len(reported)} instead of {len(under)} are reported under the benchmark")
    missing = {each["student"] for each in results if each["value"] is None}
    present = {year.student_ids[year.roster.student(number)] for number in range(year.roster.students)}
    absent = present - {year.student_ids[name] for name in year.roster.gone & year.student_ids.keys()} - scores.keys()
    year.require(missing == absent, f"{len(missing)} instead of {len(absent)} students are reported as not screened")
    _answer_signals(year, opened, under)


def _answer_signals(year: Year, opened: int, under: set[str]) -> None:
    """Dismisses the signals but one, which becomes a concern that nobody serves yet."""
    window = year.ids[f"window {opened}"]
    signals = [
        signal
        for signal in year.caller.all("/v1/signals", state="suggested", kind="screening_under_cut")
        if signal["window"] == window
    ]
    year.require({each["student"] for each in signals} == under, f"{len(signals)} signals instead of {len(under)}")
    for position, signal in enumerate(sorted(signals, key=lambda each: str(each["id"]))):
        path = f"/v1/signals/{signal['id']}"
        if position == 0:
            year.unserved.add(year.caller.post(f"{path}/accept", {})["concern"])
        else:
            year.caller.post(f"{path}/dismiss", {"because": "The team knows, and has planned."})


def check_unserved(year: Year) -> None:
    """Compares the list of unserved concerns with the concerns that the script knows to have no active support."""
    listed = {concern["id"] for concern in year.caller.all("/v1/concerns", unserved="true")}
    expected = year.unserved | {
        record.concern
        for record in year.supports
        if record.concern and record.student not in year.away and record.last.get("state") != "active"
    }
    wrong, missing = len(listed - expected), len(expected - listed)
    year.require(not wrong, f"{wrong} concerns are listed as unserved although they are served")
    year.require(not missing, f"{missing} unserved concerns are not listed")
