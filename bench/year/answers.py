"""What the teams of the simulated year answer to each kind of item on their agendas."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from bench.year import decisions, notes, tasks
from bench.year.caseload import accept_and_plan, dismiss_concern, plan_for_unserved, resolve_concern
from bench.year.moves import hand_over
from bench.year.records import ALARMS, SupportRecord, TeamRecord
from bench.year.roster import external
from bench.year.state import Year
from bench.year.truth import Expected

LAST_WEEK_OF_PLANS: Final = 28
"""The last week in which a team plans new supports."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """The team's answer to an item of an agenda, and the body of the request that sends it."""

    state: str
    body: Mapping[str, Any]


@dataclass
class Sitting:
    """A meeting in progress, with the items of its agenda, and what was agreed and decided so far."""

    year: Year
    team: TeamRecord
    entries: list[dict[str, Any]]
    actions: list[str] = field(default_factory=list)
    decided: dict[str, str | None] = field(default_factory=dict)

    def record(self, support: str) -> SupportRecord:
        """Returns the record of a support."""
        return next(each for each in self.year.supports if each.id == support)


def answer(sitting: Sitting, entry: dict[str, Any], item: Expected) -> Outcome | None:
    """Returns the team's answer to an agenda item. None leaves the item for the next meeting."""
    return ANSWERS[item.kind](sitting, entry, item)


def _discussed(minutes: str, decision: str | None = None) -> Outcome:
    return Outcome("discussed", {"minutes": minutes} | ({} if decision is None else {"decision": decision}))


def _unserved(sitting: Sitting, _: dict[str, Any], item: Expected) -> Outcome:
    year = sitting.year
    for record in year.supports:
        if record.concern == item.subject and not record.is_ended:
            return Outcome("carried", {"minutes": f"It begins in week {record.child.plan.joins}."})
    if year.week > LAST_WEEK_OF_PLANS:
        return _discussed("There is no time for it this year: the next grade begins with it.")
    plan_for_unserved(year, [each["subject"] for each in sitting.entries if each["kind"] == "unserved"])
    return _discussed("The support is planned for Monday.")


def _alarm(sitting: Sitting, entry: dict[str, Any], item: Expected) -> Outcome:
    """Answers an alarm about a support with a decision.

    If there was a decision about the support before, the problem-solving team makes the next one.
    """
    year, record = sitting.year, sitting.record(item.subject)
    others = year.teams["problem-solving"]
    answers = [kind for _, kind in record.decisions if kind in ("intensify", "change", "continue")]
    if item.subject not in sitting.decided and sitting.team is not others and answers:
        if record.student not in others.named:
            year.caller.post(f"/v1/teams/{others.id}/scopes", {"student": external(record.student)})
            others.named.add(record.student)
        return Outcome("dropped", {"because": "The problem-solving team has it."})
    if item.subject not in sitting.decided:
        sitting.decided[item.subject] = decisions.answer_alarm(year, record)
        sitting.actions.append(tasks.agree(year, sitting.team, entry["item"], record))
        if not answers:
            tasks.propose(year, record)
            notes.write(year, sitting.team, entry["item"], record.student, "She reads to her grandmother.")
    return _discussed("Growth is too slow.", sitting.decided[item.subject])


def _under_delivered(sitting: Sitting, _: dict[str, Any], item: Expected) -> Outcome:
    record = sitting.record(item.subject)
    decision = decisions.decide(sitting.year, record, "restore_fidelity", {"because": "A provider is found."})
    return _discussed("Sessions were lost.", decision)


def _unled(sitting: Sitting, _: dict[str, Any], item: Expected) -> Outcome:
    if sitting.record(item.subject).unled_since is not None:
        hand_over(sitting.year)
    return _discussed("The specialist leads it now.")


def _date_passed(sitting: Sitting, _: dict[str, Any], item: Expected) -> Outcome:
    record = sitting.record(item.subject)
    act = decisions.review if record.goal_on is None else decisions.answer_date
    return _after_end(sitting, record, act(sitting.year, record), "The day has come.")


def _success(sitting: Sitting, _: dict[str, Any], item: Expected) -> Outcome:
    record = sitting.record(item.subject)
    if record.is_ended or record.child.plan.measures[0].measure != "orf":
        return _discussed("Well done.")
    return _after_end(sitting, record, decisions.answer_success(sitting.year, record), "Well done.")


def _after_end(sitting: Sitting, record: SupportRecord, decision: str | None, minutes: str) -> Outcome:
    if record.is_ended:
        resolve_concern(sitting.year, record.concern)
    return _discussed(minutes, decision)


def _signal(sitting: Sitting, _: dict[str, Any], item: Expected) -> Outcome:
    if sitting.year.signals[item.subject].state == "suggested":
        shown = [each["subject"] for each in sitting.entries if each["kind"] == "signal"]
        tasks.answer_signals(sitting.year, shown)
    return _discussed(f"It is {sitting.year.signals[item.subject].state}.")


def _ready_to_fade(sitting: Sitting, _: dict[str, Any], item: Expected) -> Outcome:
    signal = sitting.year.signals[item.subject]
    if signal.state == "suggested":
        tasks.answer_success(sitting.year, signal)
    return _discussed(f"It is {signal.state}.")


def _hypothesis(sitting: Sitting, _: dict[str, Any], item: Expected) -> Outcome:
    outcome = tasks.close_hypothesis(sitting.year, item.subject)
    return _discussed(f"The hypothesis is {outcome}.")


def _action(sitting: Sitting, _: dict[str, Any], item: Expected) -> Outcome:
    return _discussed(tasks.close_action(sitting.year, item.subject))


def _new_concern(sitting: Sitting, _: dict[str, Any], item: Expected) -> Outcome:
    if sitting.year.week > LAST_WEEK_OF_PLANS // 2:
        dismiss_concern(sitting.year, item.subject)
        return _discussed("It has passed.")
    accept_and_plan(sitting.year, item.subject)
    return _discussed("The team agrees, and plans a support.")


def _core_stall(sitting: Sitting, entry: dict[str, Any], _: Expected) -> Outcome:
    notes.write(sitting.year, sitting.team, entry["item"], None, "All classes read in pairs for ten minutes a day.")
    return _discussed("What all children are taught is changed, and looked at again after the next window.")


def _own(sitting: Sitting, entry: dict[str, Any], item: Expected) -> Outcome:
    own = next(each for each in sitting.team.own if each.text == item.subject)
    own.carried += 1
    notes.write(sitting.year, sitting.team, entry["item"], own.student, "The office knows more on Friday.")
    return _discussed("It is clear now.") if own.carried > 1 else Outcome("carried", {})


ANSWERS: Final[Mapping[str, Callable[[Sitting, dict[str, Any], Expected], Outcome | None]]] = {
    "unserved": _unserved,
    "decision_due": _alarm,
    **dict.fromkeys(ALARMS, _alarm),
    "under_delivered": _under_delivered,
    "unled": _unled,
    "goal_passed": _date_passed,
    "goal_due": lambda *_: _discussed("The day comes; the last scores are taken."),
    "hypothesis_due": _hypothesis,
    "action_due": _action,
    "new_concern": _new_concern,
    "signal": _signal,
    "core_stall": _core_stall,
    "check_overdue": lambda *_: _discussed("The teacher takes a score this week."),
    "goal_met": _success,
    "ready_to_fade": _ready_to_fade,
    "own": _own,
}
