"""Simulates every school week of the year: sessions, scores, and what the product concludes from them."""

from __future__ import annotations

from typing import Any

from bench.year.beginning import TAUGHT_WEEKDAYS, progress_score, send_scores
from bench.year.observing import read_states
from bench.year.roster import external
from bench.year.state import Year
from bench.year.truth import is_active

HARDNESS = 3.0
"""The standard deviation of the difficulty of a week's passage."""
LOST_SESSIONS = 0.06


def record_week(year: Year) -> None:
    """Records the sessions and the scores of a week on its Friday, and reads the verdicts."""
    _record_lessons(year)
    _record_sessions(year)
    read_states(year)
    _record_scores(year)
    read_states(year)
    year.installation.jobs.finish()
    read_states(year)


def _record_lessons(year: Year) -> None:
    """Records each session of each group in one call, with the attendance of all members."""
    for name, group in year.groups.items():
        members = [each for each in year.present() if each.group == name and is_active(year, each)]
        for weekday in TAUGHT_WEEKDAYS if members else ():
            absent = [each for each in members if year.random.random() < LOST_SESSIONS]
            attendance = [{"student": external(each.student), "attended": False} for each in absent]
            lesson: dict[str, Any] = {"held_on": year.day(weekday).isoformat(), "attendance": attendance}
            if len(absent) == len(members):
                lesson = {"held_on": lesson["held_on"], "delivered_minutes": 0, "lost_because": "schedule"}
            with year.caller.counting("group lessons"):
                results = year.caller.post(f"/v1/groups/{group}/sessions", {"lessons": [lesson]})["results"]
            year.lessons += 1
            year.require(results[0]["outcome"] == "recorded", f"a lesson is refused: {results[0]['violations']}")


def _record_sessions(year: Year) -> None:
    """Records the week's sessions of each support outside of groups in one call."""
    for record in year.present():
        if record.group is not None or not is_active(year, record):
            continue
        plan, sessions = record.child.plan, []
        for number, weekday in enumerate(TAUGHT_WEEKDAYS):
            is_lost = year.random.random() < LOST_SESSIONS
            if year.taught <= plan.delivered_until and number % 2 == 0:
                is_lost = True
            session: dict[str, Any] = {"held_on": year.day(weekday).isoformat(), "attended": not is_lost}
            sessions.append(session | ({"lost_because": "no_provider"} if is_lost else {}))
        with year.caller.counting("sessions"):
            results = year.caller.post(f"/v1/supports/{record.id}/sessions", {"sessions": sessions})["results"]
        codes = sorted({each["code"] for result in results for each in result["violations"]})
        year.require(not codes, f"sessions of {record.key!r} are refused: {codes}")


def _record_scores(year: Year) -> None:
    """Records the week's scores of all students in one call; each measure has one form a week."""
    hardness, scores = year.random.gauss(0, HARDNESS), []
    for record in year.present():
        record.child.grow(year.taught)
        if not is_active(year, record):
            continue
        for followed in record.child.plan.measures:
            value = record.child.score(followed, year.taught, hardness)
            if value is not None:
                scores.append(progress_score(record, followed, year.day(4), value, f"week {year.week}"))
    send_scores(year, scores)
