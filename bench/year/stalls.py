"""Checks the core stalls that the product suggests in the simulated year.

A core stall is a grade in which the share of students at the benchmark fell between two screening windows. Only
students with a level in both windows are compared.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Final

from bench.year.records import StallRecord
from bench.year.roster import GRADE, SCHOOL
from bench.year.state import BEGINS, Year
from bench.year.windows import LASTS, MEASURE, SEASONS

POINTS: Final = 5
"""The fall in percentage points from which on the rule of the played district suggests a core stall."""
AFTER_WINDOW: Final = timedelta(days=60)
"""How long after its window a core stall is suggested."""
LEAST: Final = 10
"""The smallest number of children on each side of the benchmark in either window."""
Key = tuple[int, str | None]
"""The week in which a window opens, and the school, or None for the whole district."""


def publish_rule(year: Year) -> None:
    """Publishes the rule for core stalls, after a preview has shown that it would not suggest any grade yet."""
    rule = {"code": "core-stall", "kind": "core_stall", "measure": MEASURE, "points": POINTS}
    preview = year.caller.post("/v1/signal-rules/preview", rule)
    year.require(preview["grades"] == 0, "the rule core_stall would suggest grades before the year begins")
    year.caller.post("/v1/signal-rules", rule)


def follow_stalls(year: Year) -> None:
    """Compares the suggested core stalls with the scores. Then accepts the stall of the school and dismisses that of
    the district.

    A core stall is a grade in which the share of students at the benchmark fell.
    """
    settled = {each.key for each in year.stalls if each.state in ("accepted", "dismissed")}
    expected = {key: falls for key, falls in _falls(year) if key not in settled}
    listed = {_key_of(year, each): each for each in year.caller.all("/v1/core-stalls", state="suggested")}
    for key in sorted(listed.keys() ^ expected.keys(), key=str):
        words = "no core stall" if key in expected else "a core stall that the scores do not bear out"
        year.require(False, f"there is {words} of {key[1] or 'the district'} in the window of week {key[0]}")
    for key in sorted(listed.keys() & expected.keys(), key=str):
        stall, falls = listed[key], expected[key]
        year.require(stall["grade"] == GRADE, f"a core stall is of the grade {stall['grade']}")
        year.require(stall["fell_by"] in falls, f"a core stall fell by {stall['fell_by']} instead of {falls} points")
        counted, least = len(_counted(year, *key)), stall["counted_at_least"]
        year.require(least <= counted and not least % 10, f"{least} of {counted} children are said to be counted")
        state, body = ("accept", {}) if key[1] else ("dismiss", {"because": "The school has it on its agenda."})
        settled_stall = year.caller.post(f"/v1/core-stalls/{stall['id']}/{state}", body)
        year.stalls.append(StallRecord(stall["id"], key, stall["seen_on"], settled_stall["state"]))


def ask_about_stalls(year: Year) -> tuple[set[tuple[str, str]], set[tuple[str, str]], set[tuple[str, str]]]:
    """Returns three sets with the ids and the states of core stalls: as expected, from REST and from GraphQL.

    A core stall is a grade in which the share of students at the benchmark fell.
    """
    read = year.caller.get("/v1/core-stalls", limit=200)["items"]
    queried = year.caller.query("{ coreStalls(first: 200) { edges { node { id state } } } }")["coreStalls"]["edges"]
    return (
        {(each.id, each.state) for each in year.stalls},
        {(each["id"], each["state"]) for each in read},
        {(edge["node"]["id"], edge["node"]["state"].lower()) for edge in queried},
    )


def _falls(year: Year) -> Iterator[tuple[Key, set[int]]]:
    """Yields each window and school in which the share of students at the benchmark fell by `POINTS` or more.

    The school is None for the whole district. Each pair comes with the falls that the product may state, in percentage
    points. There can be two: the fall when it was suggested, and the fall after later scores.
    """
    for opened in sorted(year.screened)[1:]:
        if year.today < BEGINS + timedelta(weeks=opened + LASTS) + AFTER_WINDOW:
            for school in (SCHOOL, None):
                falls = {
                    fall
                    for scores in (year.screened[opened], year.screened_first.get(opened, year.screened[opened]))
                    if (fall := _fall(year, opened, school, scores)) is not None
                }
                if (_fall(year, opened, school, year.screened[opened]) or 0) >= POINTS:
                    yield (opened, school), falls


def _fall(year: Year, opened: int, school: str | None, scores: dict[str, float]) -> int | None:
    """Returns by how many percentage points the share of students at the benchmark fell.

    Returns None if the grade cannot be compared: too few students are above or below the benchmark, or too few were
    screened in both windows.
    """
    before, counted = _before(year, opened), _counted(year, opened, school)
    reached_before = sum(year.screened[before][name] >= SEASONS[before].benchmark for name in counted)
    reached = sum(scores[name] >= SEASONS[opened].benchmark for name in counted)
    leveled = [name for name in year.screened[before] if _is_at(year, name, school)]
    sides = (reached_before, len(counted) - reached_before, reached, len(counted) - reached)
    if min(sides) < LEAST or 2 * len(counted) < len(leveled):
        return None
    return 100 * (reached_before - reached) // len(counted)


def _counted(year: Year, opened: int, school: str | None) -> list[str]:
    """Returns the children of a school who were screened both in this window and in the window before it."""
    before = year.screened[_before(year, opened)]
    return [name for name in year.screened[opened] if name in before and _is_at(year, name, school)]


def _before(year: Year, opened: int) -> int:
    return max(week for week in year.screened if week < opened)


def _is_at(year: Year, student: str, school: str | None) -> bool:
    return school is None or student not in year.roster.moved


def _key_of(year: Year, stall: dict[str, object]) -> Key:
    opened = next(week for week in SEASONS if year.ids[f"window {week}"] == stall["window"])
    return opened, None if stall["school"] is None else SCHOOL
