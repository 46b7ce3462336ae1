"""The screening windows of the simulated year. Their reports are compared with the scores of the benchmark."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import Any, Final

from bench.year.roster import GRADE, external
from bench.year.state import Year

FALL, WINTER, SPRING = 2, 19, 33
"""The week in which each window opens; each lasts for two weeks."""
LASTS: Final = 2
MEASURE, AREA = "orf", "ela.fluency"


@dataclass(frozen=True, slots=True)
class Season:
    """The values of a screening window: the typical level of the grade's readers, the benchmark, and a lower limit.

    A score under this limit (`risk`) suggests the third level. Benchmark and limit are published figures.
    """

    name: str
    middle: float
    benchmark: float
    risk: float


SEASONS: Final = {
    FALL: Season("fall", 62, 49, 29),
    WINTER: Season("winter", 84, 78, 59),
    SPRING: Season("spring", 102, 94, 77),
}
SCATTER, ABSENT = 22.0, 0.04
"""The standard deviation of the readers' scores, and the share of students who are absent in a window."""
AGAIN: Final = 2
"""How many of those under the benchmark are screened again a week later, and read better then."""


def schedule(year: Year) -> None:
    """Schedules the windows of the year."""
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


def screen(year: Year) -> None:
    """Screens the grade on the Friday of the window's first week, in one call."""
    season, random = SEASONS[year.week], Random(f"{year.seed}/{year.week}")
    concerned = {concern.student for concern in year.concerns.values() if concern.id in year.suggested}
    scores = year.screened[year.week] = {}
    for number in range(year.roster.students):
        name, value = year.roster.student(number), float(max(round(random.gauss(season.middle, SCATTER)), 0))
        # A student who became a concern by an earlier screening still reads under the benchmark.
        value = min(value, season.benchmark - 1) if name in concerned else value
        if name not in year.roster.gone and (random.random() >= ABSENT or name in concerned):
            scores[name] = value
    _send(year, scores)


def screen_again(year: Year) -> None:
    """Screens again some students who were under the benchmark, so that their signals lapse."""
    opened = year.week - 1
    season, scores = SEASONS[opened], year.screened[opened]
    concerned = {concern.student for concern in year.concerns.values() if concern.id in year.suggested}
    under = [name for name, value in scores.items() if value < season.benchmark and name not in concerned]
    better = dict.fromkeys(sorted(under, key=lambda name: -scores[name])[:AGAIN], season.benchmark + 5)
    _send(year, better)
    year.screened_first[opened] = dict(scores)
    scores |= better


def _send(year: Year, scores: dict[str, float]) -> None:
    screened = [
        {
            "student": external(name),
            "measure": MEASURE,
            "taken_on": year.today.isoformat(),
            "value": value,
            "purpose": "screening",
            "attempt": 3,
        }
        for name, value in scores.items()
    ]
    if screened:
        results = year.caller.post("/v1/scores/bulk", {"scores": screened})["results"]
        refused = {each["code"] for result in results for each in result["violations"]}
        year.require(not refused, f"screening scores are refused: {refused}")


def levels_before(year: Year, opened: int) -> dict[str, int]:
    """Returns each student's level from the student's last screening before the window of week `opened`."""
    levels: dict[str, int] = {}
    for week in sorted(week for week in year.screened if week < opened):
        levels |= {name: level_of(SEASONS[week], value) for name, value in year.screened[week].items()}
    return levels


def level_of(season: Season, value: float) -> int:
    """Returns the level that a score suggests."""
    return 1 + (value < season.benchmark) + (value < season.risk)


def close(year: Year) -> None:
    """Compares the stored results of a closed screening window with the scores."""
    opened = year.week - LASTS
    season = SEASONS[opened]
    year.served_at_close[opened] = served_in_reading(year)
    year.away_at_close = set(year.away)
    scores = {year.student_ids[name]: value for name, value in year.screened[opened].items()}
    results = read_report(year, opened, show="all")
    shown = {each["student"]: each["value"] for each in results if each["value"] is not None}
    year.require(shown == scores, f"the {season.name} report has other scores: {len(shown)} of {len(scores)}")
    wrong = [each for each in results if each["value"] is not None and each["level"] != level_of(season, each["value"])]
    year.require(not wrong, f"{len(wrong)} students of the {season.name} window are at another level than their scores")
    missing = {each["student"] for each in results if each["value"] is None}
    present = {year.student_ids[year.roster.student(number)] for number in range(year.roster.students)}
    absent = present - {year.student_ids[name] for name in year.roster.gone & year.student_ids.keys()} - scores.keys()
    year.require(missing == absent, f"{len(missing)} instead of {len(absent)} students are reported as not screened")


def served_in_reading(year: Year) -> set[str]:
    """Returns the students for whom a support in reading fluency is planned or given."""
    records = [each for each in year.present() if each.child.plan.area == AREA and not each.is_ended]
    return {each.student for each in records}


def read_report(year: Year, opened: int, **parameters: str) -> list[dict[str, Any]]:
    """Reads all pages of a window's report and returns the results. Checks that the window is open until its last day
    and closed afterwards.
    """
    path, state = f"/v1/screening-windows/{year.ids[f'window {opened}']}/report", "open"
    if year.week >= opened + LASTS:
        state = "closed"
    results: list[dict[str, Any]] = []
    after: dict[str, str] = {}
    while True:
        report = year.caller.get(path, limit=200, **parameters, **after)
        results += report["results"]
        year.require(report["state"] == state, f"the window of week {opened} is {report['state']} instead of {state}")
        if report["next"] is None:
            return results
        after = {"after": report["next"]}
