"""The decisions of the teams in the simulated year: after an alarm, after a met goal, and at a goal or review date."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any, Final

from bench.year.children import GOAL_WEEKS
from bench.year.observing import read_states
from bench.year.records import SupportRecord
from bench.year.roster import OTHER_TEACHER, SPECIALIST, external
from bench.year.state import Year

PHASES: Final = ("raise_goal", "intensify", "change", "fade", "restore_fidelity")
"""The decisions after which a new phase begins."""


def answer_alarm(year: Year, record: SupportRecord) -> str | None:
    """Answers an alarm: intensifies the support the first time, continues the second, and changes it the third time.

    Returns the id of the decision, or None if it was refused.
    """
    answers = [kind for _, kind in record.decisions if kind in ("intensify", "change", "continue")]
    if not answers:
        change = {"because": "Growth is too slow.", "minutes_per_session": 45, "sessions_per_week": 4}
        if decision := decide(year, record, "intensify", change):
            record.child.helped_from = year.taught + 1
            return decision
    elif not len(answers) % 2:
        change = {"because": "Another way.", "intervention": "Phonics in small steps"}
        if decision := decide(year, record, "change", change):
            return decision
    return decide(year, record, "continue", None)


def answer_success(year: Year, record: SupportRecord) -> str | None:
    """Decides after a success: first to raise the goal, then to make the support less intensive, finally to end it.

    Returns the id of the decision, or None if it was refused.
    """
    kinds = [kind for _, kind in record.decisions]
    if "fade" in kinds:
        return decide(year, record, "exit", None)
    if "raise_goal" not in kinds:
        goal = record.last["phases"][-1]["goal"] + 8
        return decide(year, record, "raise_goal", {"because": "The goal is met.", "goal": goal, "confirm_rate": True})
    change = {"because": "The goal is met again.", "sessions_per_week": 2, "level": 1, "confirm_rate": True}
    return decide(year, record, "fade", change | {"goal": record.last["phases"][-1]["goal"] + 12})


def answer_date(year: Year, record: SupportRecord) -> str | None:
    """Sets a new goal if the rest of the year is long enough for it, and otherwise ends the support.

    Returns the id of the decision, or None if it was refused.
    """
    weeks = GOAL_WEEKS + 4 - year.week
    if weeks < 8:
        return decide(year, record, "exit", None)
    goal_on = year.today + timedelta(weeks=weeks)
    measure = record.child.plan.measures[0].measure
    last = [value for code, _, value in record.scores if code == measure][-1]
    change = {"because": "The date has passed.", "goal": last + weeks, "goal_on": goal_on.isoformat()}
    return decide(year, record, "change", change)


def review(year: Year, record: SupportRecord) -> str | None:
    """Continues a support without a measure, with a review in ten weeks.

    Returns the id of the decision, or None if it was refused.
    """
    return decide(year, record, "continue", None, review_on=year.today + timedelta(weeks=10))


def decide(
    year: Year, record: SupportRecord, kind: str, change: dict[str, Any] | None, review_on: date | None = None
) -> str | None:
    """Records a decision and returns its id, or None if it was refused. If the goal is refused as unrealistic, sends
    the proposed goal instead.
    """
    body: dict[str, Any] = {"kind": kind, "support": record.id, "note": "The team met."}
    if change is not None:
        body["change"] = change
    if review_on is not None:
        body["review_on"] = review_on.isoformat()
    member = external(OTHER_TEACHER if record.student in year.roster.moved else SPECIALIST)
    answer = year.caller.ask("POST", "/v1/decisions", json=body, act_for=member)
    if answer.status_code == 422 and answer.json()["code"] == "goal.unrealistic":
        year.proposed_goals += 1
        figures = answer.json()["violations"][0]["figures"]
        body["change"] = {**(change or {}), "goal": figures["proposed_goal"]}
        answer = year.caller.ask("POST", "/v1/decisions", json=body, act_for=member)
    if not answer.is_success:
        codes = [violation["code"] for violation in answer.json().get("violations", [])]
        year.notes.append(f"week {year.week}: {kind} of {record.key!r} was refused: {codes or answer.json()['code']}")
        return None
    _keep(year, record, kind, body)
    read_states(year)
    return str(answer.json()["id"])


def _keep(year: Year, record: SupportRecord, kind: str, body: dict[str, Any]) -> None:
    """Updates the record of a support after a decision: its decisions, level, dates, and whether it has ended."""
    record.decisions.append((year.week, kind))
    record.decided_tick = year.tick()
    year.by_kind[kind] += 1
    change = body.get("change") or {}
    if kind in PHASES:
        record.phase_begins = year.today
    if kind == "exit":
        record.is_ended = True
    record.level = change.get("level", record.level)
    if "goal_on" in change:
        record.goal_on = date.fromisoformat(change["goal_on"])
    if "review_on" in body:
        record.review_on = date.fromisoformat(body["review_on"])
