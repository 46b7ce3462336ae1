"""What happens in every school week of the played year: sessions, scores, and what the product says about them."""

from __future__ import annotations

from typing import Any

from bench.year.beginning import TAUGHT_WEEKDAYS, progress_score, send_scores
from bench.year.roster import external
from bench.year.state import SupportRecord, Year

HARDNESS = 3.0
"""The standard deviation of the difficulty of a week's passage."""
LOST_SESSIONS = 0.06


def record_week(year: Year) -> None:
    """Records the sessions and the scores of a week on its Friday, and reads the verdicts."""
    _record_lessons(year)
    _record_sessions(year)
    _record_scores(year)
    year.installation.jobs.finish()
    read_states(year)


def _record_lessons(year: Year) -> None:
    """Records each lesson of each group in one call, with the attendance of all members."""
    for name, group in year.groups.items():
        members = [each for each in year.present() if each.group == name and _is_served(year, each)]
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


def _is_served(year: Year, record: SupportRecord) -> bool:
    plan = record.child.plan
    return plan.joins <= year.week and (plan.leaves is None or year.week < plan.leaves)


def _record_sessions(year: Year) -> None:
    """Records the week's sessions of each support outside of groups in one call."""
    for record in year.present():
        if record.group is not None or record.last.get("state") == "ended":
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
        if record.last.get("state") == "ended" or not _is_begun(year, record):
            continue
        for followed in record.child.plan.measures:
            value = record.child.score(followed, year.taught, hardness)
            if value is not None:
                scores.append(progress_score(record, followed, year.day(4), value, f"week {year.week}"))
    send_scores(year, scores)


def _is_begun(year: Year, record: SupportRecord) -> bool:
    return record.child.plan.joins <= year.week


def read_states(year: Year) -> None:
    """Reads all supports with the verdicts in force, which is one call for 200 of them."""
    with year.caller.counting("verdicts"):
        supports = {support["id"]: support for support in year.caller.all("/v1/supports")}
    for record in year.supports:
        if record.id:
            support = record.last = supports[record.id]
            verdict = support["verdict"]
            state = support["state"] if support["state"] != "active" else verdict["state"] if verdict else "no verdict"
            record.states[year.week] = state
