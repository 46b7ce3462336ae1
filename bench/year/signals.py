"""Computes the signals that follow from the data of the simulated year, and compares them with those of the product."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any, Final

from bench.year.incidents import RULE, answered_signals, involved_often
from bench.year.records import SignalKey, SignalRecord, SupportRecord
from bench.year.state import BEGINS, Year
from bench.year.truth import is_active
from bench.year.windows import LASTS, MEASURE, SEASONS

KINDS: Final = (
    "screening_under_cut",
    "incidents",
    "unmet_goal",
    "arrived_with_support",
    "ahead_of_goal",
    "ready_to_fade",
)
AFTER_WINDOW: Final = timedelta(days=60)
"""How long after its window a screening score is a signal."""
DAYS: Final = {"unmet_goal": 7, "arrived_with_support": 30, "ahead_of_goal": 14, "ready_to_fade": 42}
"""How long the goal's day is past, the student is here, the goal is met, or the student has responded."""


def publish_rules(year: Year) -> None:
    """Publishes a rule of each kind for scores, supports and incidents, after a preview that counts students only."""
    for kind in KINDS:
        rule: dict[str, Any] = {"code": kind.replace("_", "-"), "kind": kind}
        if kind == "screening_under_cut":
            rule["measure"] = MEASURE
        if kind == "incidents":
            rule |= RULE
        preview = year.caller.post("/v1/signal-rules/preview", rule)
        year.require(preview["students"] == 0, f"the rule {kind} would suggest students before the year begins")
        year.caller.post("/v1/signal-rules", rule)


def follow_signals(year: Year) -> None:
    """Compares the suggested signals with those that follow from the data, and records the new ones."""
    expected = {key: record for key, record in _candidates(year) if not _is_answered(year, key)}
    by_key: dict[SignalKey, dict[str, Any]] = {}
    for signal in year.caller.all("/v1/signals", state="suggested"):
        key = _key_of(year, signal)
        year.require(key not in by_key, f"{key.kind} is suggested twice")
        by_key[key] = signal
    for key in by_key.keys() - expected.keys():
        year.require(False, f"the signal {key.kind} of {key.occasion} about {key.student} is not borne out by the data")
    for key in expected.keys() - by_key.keys():
        year.require(False, f"there is no signal {key.kind} of {key.occasion} about {key.student}")
    for record in year.signals.values():
        if record.state == "suggested" and record.key not in by_key:
            record.state = "lapsed"
            state = year.caller.get(f"/v1/signals/{record.id}")["state"]
            year.require(state == "lapsed", f"a signal {record.key.kind} is {state} instead of lapsed")
    for key, signal in by_key.items():
        kept = year.signals.setdefault(signal["id"], SignalRecord(signal["id"], key, year.today))
        kept.state, kept.support = "suggested", expected.get(key)


def _is_answered(year: Year, key: SignalKey) -> bool:
    states = {signal.state for signal in year.signals.values() if signal.key == key}
    return bool(states & {"accepted", "dismissed", "merged"})


def _candidates(year: Year) -> Iterator[tuple[SignalKey, SupportRecord | None]]:
    for week, scores in year.screened.items():
        closes = BEGINS + timedelta(weeks=week + LASTS)
        if year.today < closes + AFTER_WINDOW:
            for student, value in scores.items():
                if value < SEASONS[week].benchmark and student not in year.roster.gone:
                    yield SignalKey("screening_under_cut", student, f"window {week}"), None
    for student in involved_often(year):
        yield SignalKey("incidents", student, f"answers {answered_signals(year, student)}"), None
    for record in year.present():
        yield from ((SignalKey(kind, record.student, occasion), record) for kind, occasion in _of(year, record))


def _of(year: Year, record: SupportRecord) -> Iterator[tuple[str, str]]:
    def is_past(kind: str) -> bool:
        return record.verdict_since + timedelta(days=DAYS[kind]) <= year.today

    moved_on = year.moved_on.get(record.student)
    is_new = moved_on is not None and moved_on + timedelta(days=DAYS["arrived_with_support"]) > year.today
    if is_new and not record.is_ended:
        yield "arrived_with_support", f"{record.id} {moved_on}"
    if not is_active(year, record):
        return
    state, goal_on = record.state_of_verdict, record.goal_on
    if goal_on is not None and state != "goal_met" and goal_on + timedelta(days=DAYS["unmet_goal"]) <= year.today:
        yield "unmet_goal", f"{record.id} {goal_on}"
    if goal_on is not None and state == "goal_met" and is_past("ahead_of_goal") and goal_on > year.today:
        yield "ahead_of_goal", f"{record.id} {record.verdict_since}"
    if state in ("responding", "goal_met") and is_past("ready_to_fade"):
        yield "ready_to_fade", f"{record.id} {record.verdict_since}"


def _key_of(year: Year, signal: dict[str, Any]) -> SignalKey:
    """Returns the key of a signal that was read from the product: its kind, its student and its cause.

    The cause is a screening window or an event in a support. If a signal about a support is known and still suggested,
    its recorded key is returned. Otherwise, the cause is found in the support as it is today.
    """
    student = year.names[signal["student"]]
    if signal["window"] is not None:
        week = next(week for week in SEASONS if year.ids[f"window {week}"] == signal["window"])
        return SignalKey(signal["kind"], student, f"window {week}")
    if signal["incidents"]:
        return SignalKey(signal["kind"], student, f"answers {answered_signals(year, student)}")
    kept = year.signals.get(signal["id"])
    if kept is not None and kept.state == "suggested":
        return kept.key
    record = next(each for each in year.supports if each.id == signal["support"])
    occasions = dict(_of(year, record))
    return SignalKey(signal["kind"], student, occasions.get(signal["kind"], f"{record.id} without an occasion"))
