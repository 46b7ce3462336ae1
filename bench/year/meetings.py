"""The team's meetings of the played year: each month it decides about what the lists show."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Final

from bench.year.children import GOAL_WEEKS
from bench.year.roster import OTHER_TEACHER, SPECIALIST, external
from bench.year.state import SupportRecord, Year
from bench.year.weekly import read_states

EVERY: Final = 4
ALARMS: Final = ("off_track", "not_responding")


def meet(year: Year) -> None:
    """Decides about each support that has an alarm, was not delivered, or has met its goal or passed its date."""
    with year.caller.counting("meetings"):
        passed = {support["id"] for support in year.caller.all("/v1/supports", goal_date="passed")}
        reviewed = {support["id"] for support in year.caller.all("/v1/supports", review_by=year.today.isoformat())}
        for record in year.present():
            state = record.states.get(year.week)
            if record.id in passed:
                _after_the_date(year, record)
            elif record.id in reviewed:
                _review(year, record)
            elif state in ALARMS:
                _answer_alarm(year, record)
            elif state == "under_delivered":
                _decide(year, record, "restore_fidelity", {"because": "A provider is found."})
            elif state == "goal_met" and record.child.plan.measures[0].measure == "orf":
                _answer_success(year, record)
    year.installation.jobs.finish()
    read_states(year)


def _answer_alarm(year: Year, record: SupportRecord) -> None:
    """Intensifies a support once; the next time the team goes on, and the third time it changes the intervention."""
    answers = [kind for _, kind in record.decisions if kind in ("intensify", "change", "continue")]
    if not answers:
        change = {"because": "Growth is too slow.", "minutes_per_session": 45, "sessions_per_week": 4}
        if _decide(year, record, "intensify", change):
            record.child.helped_from = year.taught + 1
    elif len(answers) % 2:
        _decide(year, record, "continue", None)
    else:
        _decide(year, record, "change", {"because": "Another way.", "intervention": "Phonics in small steps"})


def _answer_success(year: Year, record: SupportRecord) -> None:
    kinds = [kind for _, kind in record.decisions]
    if "fade" in kinds:
        _decide(year, record, "exit", None)
    elif "raise_goal" not in kinds:
        goal = record.last["phases"][-1]["goal"] + 8
        _decide(year, record, "raise_goal", {"because": "The goal is met.", "goal": goal, "confirm_rate": True})
    else:
        change = {"because": "The goal is met again.", "sessions_per_week": 2, "level": 1, "confirm_rate": True}
        _decide(year, record, "fade", change | {"goal": record.last["phases"][-1]["goal"] + 12})


def _after_the_date(year: Year, record: SupportRecord) -> None:
    """Sets a new goal if the year is long enough for it, and otherwise ends the support."""
    weeks = GOAL_WEEKS + 4 - year.week
    if weeks < 8:
        _decide(year, record, "exit", None)
        return
    goal_on = year.today + timedelta(weeks=weeks)
    measure = record.child.plan.measures[0].measure
    last = [value for code, _, value in record.scores if code == measure][-1]
    change = {"because": "The date has passed.", "goal": last + weeks, "goal_on": goal_on.isoformat()}
    _decide(year, record, "change", change)


def _review(year: Year, record: SupportRecord) -> None:
    body = {"kind": "continue", "support": record.id, "review_on": (year.today + timedelta(weeks=10)).isoformat()}
    year.caller.post("/v1/decisions", body)
    record.decisions.append((year.week, "continue"))
    year.by_kind["continue"] += 1


def _decide(year: Year, record: SupportRecord, kind: str, change: dict[str, Any] | None) -> bool:
    """Records a decision, with the goal that a refusal proposes. Returns whether it was possible at all."""
    body: dict[str, Any] = {"kind": kind, "support": record.id, "note": "The team met."}
    if change is not None:
        body["change"] = change
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
        return False
    record.decisions.append((year.week, kind))
    year.by_kind[kind] += 1
    return True
