"""Does what the teams of the simulated year do about hypotheses, action items and signals."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Final

from bench.year.children import CONDUCT
from bench.year.records import (
    ActionRecord,
    ConcernRecord,
    HypothesisRecord,
    OwnItem,
    SignalRecord,
    SupportRecord,
    TeamRecord,
)
from bench.year.roster import SPECIALIST, external
from bench.year.state import Year

INCONCLUSIVE: Final = ("insufficient_data", "uncertain")
"""The states of a verdict by which nobody is asked about a hypothesis."""
ACCEPTED: Final = 2
"""How many signals of a window the team accepts."""
DUE_IN: Final = timedelta(days=14)


def agree(year: Year, team: TeamRecord, item: str, record: SupportRecord) -> str:
    """Creates an action item for an agenda item, to call the family of the student. Returns the id of the action item.

    The owner is the lead of the support or, if the lead is not in the team or has left, the specialist.
    """
    owner = record.lead if record.lead in team.members and record.lead not in year.roster.gone else SPECIALIST
    due_on = year.today + DUE_IN
    body = {"text": "Call the family.", "due_on": due_on.isoformat(), "owner": external(owner)}
    path = f"/v1/agenda-items/{item}/action-items"
    action = str(year.caller.post(path, body, act_for=external(SPECIALIST))["id"])
    year.actions.append(ActionRecord(action, team.id, record.student, owner, due_on))
    return action


def close_action(year: Year, action_id: str) -> str:
    """Closes an action item, sometimes as not done. If its owner has left, another member gets it first."""
    action = next(each for each in year.actions if each.id == action_id)
    path = f"/v1/action-items/{action.id}"
    if action.owner in year.roster.gone:
        action.owner, action.due_on = SPECIALIST, year.today + timedelta(days=7)
        year.caller.post(f"{path}/reassign", {"owner": external(SPECIALIST), "due_on": action.due_on.isoformat()})
        return "The specialist does it."
    number = year.actions.index(action)
    action.state = "not_done" if number % 5 == 4 else "done"
    because = {"because": "Nobody was at home."} if action.state == "not_done" else {}
    year.caller.post(f"{path}/close", {"outcome": action.state, **because})
    return f"It is {action.state.replace('_', ' ')}."


def propose(year: Year, record: SupportRecord) -> None:
    """Proposes a hypothesis about the concern of a support, and starts its test with this support."""
    verdict = record.last["verdict"]
    body = {
        "concern": record.concern,
        "kind": "motivation" if record.child.plan.area == CONDUCT else "skill",
        "statement": "Long words take the child out of the text.",
        "refuted_if": "Growth stays as it is with more time.",
        "evidence_for": [verdict["id"]] if verdict else [],
    }
    hypothesis = year.caller.post("/v1/hypotheses", body, act_for=external(SPECIALIST))["id"]
    year.caller.post(f"/v1/hypotheses/{hypothesis}/test", {"support": record.id})
    year.hypotheses.append(HypothesisRecord(hypothesis, record, SPECIALIST, record.state_of_verdict))


def follow_hypotheses(year: Year, before: set[str]) -> None:
    """Records which hypotheses are due after a day has begun, and compares them with the product's list.

    `before` has the hypotheses that had a reason to be reviewed on the day before. The product may notice a reason a
    day late: if the verdict changed on the day itself, or if the student was locked when the hourly task ran.
    """
    with year.caller.counting("questions"):
        listed = {each["id"]: each["due_because"] for each in year.caller.all("/v1/hypotheses", due="true")}
    for each in year.hypotheses:
        if each.state == "testing" and each.due_because is None:
            because = _reason(each)
            is_late = each.is_awaited and each.id in before and because is not None
            each.due_because = because if is_late else listed.get(each.id)
            each.is_awaited = each.due_because is None and because is not None
            is_right = each.due_because is None or each.due_because == because or each.id in before
            year.require(is_right, f"the hypothesis {each.id} is due because of {each.due_because}, not of {because}")
    expected = {each.id: each.due_because for each in year.hypotheses if each.due_because is not None}
    visible = {key: because for key, because in expected.items() if key in listed or _is_here(year, key)}
    for key in listed.keys() | visible.keys():
        words = f"the hypothesis {key} is due because of {listed.get(key)} instead of {visible.get(key)}"
        year.require(listed.get(key) == visible.get(key), words)


def _is_here(year: Year, hypothesis: str) -> bool:
    record = next(each.record for each in year.hypotheses if each.id == hypothesis)
    return record.student not in year.away


def with_reason(year: Year) -> set[str]:
    """Returns the hypotheses under test that have a reason to be reviewed now."""
    return {each.id for each in year.hypotheses if _reason(each) is not None}


def _reason(hypothesis: HypothesisRecord) -> str | None:
    if hypothesis.state != "testing":
        return None
    state = hypothesis.record.state_of_verdict
    if hypothesis.record.is_ended:
        return "support_ended"
    return "verdict_turned" if state not in (*INCONCLUSIVE, None, hypothesis.verdict) else None


def close_hypothesis(year: Year, hypothesis_id: str) -> str:
    """Closes a hypothesis with the outcome that follows from its support's verdict, and returns the outcome."""
    hypothesis = next(each for each in year.hypotheses if each.id == hypothesis_id)
    state = hypothesis.record.state_of_verdict
    outcome = {"responding": "supported", "goal_met": "supported", "not_responding": "refuted", "off_track": "refuted"}
    hypothesis.state, hypothesis.due_because = outcome.get(str(state), "unclear"), None
    body = {"outcome": hypothesis.state, "because": "The scores say so."}
    closed = year.caller.post(f"/v1/hypotheses/{hypothesis.id}/close", body)
    year.require(closed["verdict"] is not None and closed["dosage"] is not None, "a closed hypothesis has no verdict")
    return hypothesis.state


def add_own(year: Year, text: str, student: str | None = None) -> None:
    """Lets a member add an item to the next agenda of the grade's team."""
    team = year.teams["grade"]
    body = {"team": team.id, "text": text} | ({} if student is None else {"student": external(student)})
    year.caller.post("/v1/agenda-items", body, act_for=external(SPECIALIST))
    team.own.append(OwnItem(text, year.today, student))


def answer_signals(year: Year, shown: list[str]) -> None:
    """Answers all suggested signals of an agenda.

    Screening signals about the lowest readers are accepted and become concerns. A screening signal about a student with
    an accepted signal is merged into that signal. All other signals are dismissed.
    """
    signals = [year.signals[each] for each in shown if year.signals[each].state == "suggested"]
    screened = [each for each in signals if each.key.kind == "screening_under_cut"]
    accepted = {each.key.student: each for each in year.signals.values() if each.state == "accepted" and each.concern}
    for signal in [each for each in screened if each.key.student in accepted]:
        year.caller.post(f"/v1/signals/{signal.id}/merge", {"into": accepted[signal.key.student].id})
        signal.state = "merged"
    served = {record.student for record in year.supports} | set(year.away)
    new = [each for each in screened if each.state == "suggested" and each.key.student not in served]
    new.sort(key=lambda each: (year.screened[int(each.key.occasion.split()[1])][each.key.student], each.key.student))
    _accept(year, new[:ACCEPTED])
    rest = [each for each in signals if each.state == "suggested"]
    if rest:
        because = "The team knows, and has planned."
        body = {"signals": [{"signal": each.id, "because": because} for each in rest]}
        _require_all(year, year.caller.post("/v1/signals/dismiss", body), "recorded")
    for signal in rest:
        signal.state = "dismissed"


def _accept(year: Year, signals: list[SignalRecord]) -> None:
    if not signals:
        return
    results = year.caller.post("/v1/signals/accept", {"signals": [{"signal": each.id} for each in signals]})
    _require_all(year, results, "recorded")
    for signal in signals:
        read = year.caller.get(f"/v1/signals/{signal.id}")
        signal.state, signal.concern = "accepted", read["concern"]
        concern = ConcernRecord(read["concern"], signal.key.student, "ela.fluency", "accepted", year.today, year.today)
        year.concerns[concern.id] = concern
        year.suggested.add(concern.id)


def _require_all(year: Year, answer: Any, outcome: str) -> None:
    outcomes = {each["outcome"] for each in answer["results"]}
    year.require(outcomes == {outcome}, f"signals are {outcomes} instead of {outcome}")


def answer_success(year: Year, signal: SignalRecord) -> None:
    """Answers a signal `ready_to_fade`, after merging the student's signals `ahead_of_goal` into it.

    The signal is accepted if its support is not in a group, and dismissed otherwise.
    """
    path = f"/v1/signals/{signal.id}"
    others = [
        each
        for each in year.signals.values()
        if each.key.kind == "ahead_of_goal" and each.key.student == signal.key.student and each.state == "suggested"
    ]
    for other in others:
        year.caller.post(f"/v1/signals/{other.id}/merge", {"into": signal.id})
        other.state = "merged"
    if signal.support is not None and signal.support.group is None:
        year.caller.post(f"{path}/accept", {})
        signal.state = "accepted"
    else:
        year.caller.post(f"{path}/dismiss", {"because": "The group goes on until the goal is met."})
        signal.state = "dismissed"
