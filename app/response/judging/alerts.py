"""Decides when a verdict opens an alert, when the alert gets the name "not responding", and when it is closed.

Uses no database. An alert is opened once, and it ends only after calm verdicts in two successive weeks (hysteresis).
The decision depends only on successive verdicts, not on scores. What must be remembered between two verdicts is a
`Memory`, which is stored as JSON.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from app.response.rules.verdict import ALARMS, State

RECOVERED = frozenset({State.RESPONDING, State.GOAL_MET})
"""The states that count towards the end of an alert.

`below_pace` is not one of them, because the goal will then be missed.
"""

CALM = RECOVERED | {State.BELOW_PACE}
"""The states that count towards the end of a watch, which is an early sign below the threshold of an alert.

`uncertain` is not one of them: it is between the thresholds of the watch and of the alert, and changes nothing.
"""

CALM_WEEKS = 2
"""How many calm weeks in a row end an alert, unless the rule needs more (`DecisionRule.calm_weeks`)."""

REST_WEEKS = 4
"""The number of instructional weeks from a recovery to the first week in which another alert can be opened."""


class AlertSignal(StrEnum):
    """A signal that a verdict gives about an alert, or about a watch (an early sign below an alert).

    Each signal becomes an event.
    """

    ALERT = "alert"
    NAMED = "named"
    RECOVERED = "recovered"
    RETRACTED = "retracted"
    UNDER_DELIVERED = "under_delivered"
    PROBE = "probe"


@dataclass(frozen=True, slots=True)
class Latch:
    """A switch that a verdict turns on, and that calm verdicts in successive weeks turn off.

    The arguments of `step` state whether a verdict turns the switch on, and whether it is calm. Weeks without a
    verdict are ignored. `calm_week` is the latest calm week, and `calm_weeks` is the number of calm weeks in a row.
    """

    on: bool = False
    calm_week: int | None = None
    calm_weeks: int = 0

    def step(self, *, raised: bool, calm: bool, week: int, needed: int = CALM_WEEKS) -> Latch:
        """Returns the `Latch` after a verdict of the week `week`. Applying the same verdict again changes nothing.

        `needed` is the number of calm weeks in a row that turn the switch off.
        """
        if raised:
            return Latch(True)
        if not self.on or not calm:
            return Latch(self.on)
        if self.calm_week is None:
            return Latch(True, week, 1)
        # A memory that was stored without the number has one calm week.
        weeks = max(self.calm_weeks, 1) + (week > self.calm_week)
        return Latch() if weeks >= needed else Latch(True, week, weeks)


@dataclass(frozen=True, slots=True)
class Latches:
    """The three switches of a phase: for the alert, for the watch (an early sign), and for too little delivery."""

    alert: Latch = Latch()
    watch: Latch = Latch()
    under: Latch = Latch()

    def step(self, state: State, week: int, needed: int = CALM_WEEKS) -> Latches:
        """Returns the three switches after a verdict: for the alert, for the watch, and for too little delivery.

        `state` is the state of the verdict, `week` is its week, and `needed` the number of calm weeks that turn a
        switch off.
        """
        calm = state in CALM
        slow = state is State.UNCERTAIN or state in ALARMS
        return Latches(
            self.alert.step(raised=state in ALARMS, calm=state in RECOVERED, week=week, needed=needed),
            self.watch.step(raised=slow or state is State.UNDER_DELIVERED, calm=calm, week=week, needed=needed),
            self.under.step(raised=state is State.UNDER_DELIVERED, calm=calm or slow, week=week, needed=needed),
        )


@dataclass(frozen=True, slots=True)
class AlertRecord:
    """The record of the latest alert or watch of a phase. A watch is an early sign, below an alert.

    * `active`: the alert or watch has not ended.
    * `week`: while the alert or watch is active, the week in which it began. After its end, the week until which no new
      alert or watch may begin.
    * `quiet`: no event was sent when it began, for example because the scores came from a backfill.
    * `named`: a verdict during the alert was "not responding".
    """

    active: bool = False
    week: int = -1
    quiet: bool = False
    named: bool = False


@dataclass(frozen=True, slots=True)
class Memory:
    """The alert state of a phase, as it is stored between two verdicts.

    * `week` is the week of the latest verdict. `now` has the switches (`Latches`) after this verdict.
    * `before` has the switches as they were at the end of the week before `week`.
    * `expired` has the ids of the measures whose goal date has passed, if another measure of the support has a goal
      date in the future. The last verdict on an expired measure opens no alert and keeps no alert open.
    * `calm_weeks` is how many calm weeks in a row end an alert: the largest number that a rule of this phase needed.

    Every verdict of a week is applied to `before`, so the order in which the scores of the week arrived makes no
    difference.
    """

    phase: str
    week: int = -1
    before: Latches = Latches()
    now: Latches = Latches()
    alert: AlertRecord = AlertRecord()
    watch: AlertRecord = AlertRecord()
    under: AlertRecord = AlertRecord()
    expired: tuple[str, ...] = ()
    calm_weeks: int = CALM_WEEKS


@dataclass(frozen=True, slots=True)
class ConclusionOfWeek:
    """The facts about a verdict on which its alerts depend.

    * `finalized`: the cohort's week was complete.
    * `quiet`: the verdict results from a backfill, from old scores or from a change of rules. If it opens an alert, no
      event is sent. If it ends an alert that was not quiet, an event is sent.
    * `retractable`: with the scores that exist today, the active alert would not have been opened. This is known
      because the week of the alert was judged again.
    * `raise_alerts`: the verdict results from new rules that are to raise alerts. If an alert was opened without an
      event and the verdict confirms the alert, the event is sent now.
    * `calm_weeks`: how many weeks in a row must be calm before the rule's alert ends.
    """

    state: State
    week: int
    finalized: bool = False
    quiet: bool = False
    retractable: bool = False
    raise_alerts: bool = False
    calm_weeks: int = CALM_WEEKS


def advance(memory: Memory, conclusion: ConclusionOfWeek) -> tuple[Memory, tuple[AlertSignal, ...]]:
    """Returns the alert memory of a phase after a verdict, and the signals that the verdict gives.

    * An alert is opened once, when a series passes the rule's threshold.
    * The signal `named` is given at most once for an alert, when a verdict is "not responding".
    * An alert ends with `recovered` after enough weeks in a row (`calm_weeks`) with the state `responding` or
      `goal_met`.
    * An alert ends with `retracted` if the present scores would not have opened it: at once if scores were amended, and
      otherwise when the week of the alert is finalized or over.
    * A series does not give the same signal twice in one week.
    """
    before = memory.now if conclusion.week > memory.week else memory.before
    needed = max(memory.calm_weeks, conclusion.calm_weeks)
    now = before.step(conclusion.state, conclusion.week, needed)
    if conclusion.retractable and conclusion.state not in ALARMS:
        now = replace(now, alert=Latch())
    signals: list[AlertSignal] = []
    alert = _step_alert(memory.alert, before, now, conclusion, signals)
    may_be_under_delivered = memory.under.active or conclusion.state is State.UNDER_DELIVERED
    under = _step_watch(
        memory.under, now.under.on and may_be_under_delivered, conclusion, AlertSignal.UNDER_DELIVERED, signals
    )
    requests_scores = conclusion.state is State.UNCERTAIN and not alert.active
    watch = _step_watch(memory.watch, now.watch.on, conclusion, AlertSignal.PROBE if requests_scores else None, signals)
    memory_after = Memory(memory.phase, conclusion.week, before, now, alert, watch, under, memory.expired, needed)
    return memory_after, tuple(signals)


def _step_alert(
    record: AlertRecord, before: Latches, now: Latches, conclusion: ConclusionOfWeek, signals: list[AlertSignal]
) -> AlertRecord:
    # A pending alert of an earlier week is not raised by a verdict with another state.
    raised, named = conclusion.state in ALARMS, conclusion.state is State.NOT_RESPONDING
    if raised and record.active and record.quiet and conclusion.raise_alerts:
        signals += [AlertSignal.ALERT, AlertSignal.NAMED] if named else [AlertSignal.ALERT]
        return AlertRecord(True, conclusion.week, named=named)
    if raised and not record.active and conclusion.week > record.week:
        if not conclusion.quiet:
            signals += [AlertSignal.ALERT, AlertSignal.NAMED] if named else [AlertSignal.ALERT]
        return AlertRecord(True, conclusion.week, conclusion.quiet, named)
    if named and record.active and not record.named:
        # Whoever receives an alert also receives its name, but a backfill or new rules name it in silence.
        if not record.quiet and not conclusion.quiet:
            signals.append(AlertSignal.NAMED)
        return replace(record, named=True)
    if now.alert.on or not record.active:
        return record
    if conclusion.retractable or not before.alert.on:
        if not (conclusion.retractable or conclusion.finalized or conclusion.week > record.week):
            return record
        end = AlertSignal.RETRACTED
    else:
        end = AlertSignal.RECOVERED
    # Every receiver of an alert also receives its end, even if the ending verdict is quiet. If the alert was quiet,
    # nobody received it, and its end is not sent.
    if not record.quiet:
        signals.append(end)
    # A retracted alert was a mistake, so another one may be opened in the very next week.
    rest = REST_WEEKS - 1 if end is AlertSignal.RECOVERED else 0
    return AlertRecord(False, conclusion.week + rest, record.quiet)


def _step_watch(
    record: AlertRecord, on: bool, conclusion: ConclusionOfWeek, signal: AlertSignal | None, signals: list[AlertSignal]
) -> AlertRecord:
    if on and not record.active and conclusion.week > record.week:
        if signal is not None and not conclusion.quiet:
            signals.append(signal)
        return AlertRecord(True, conclusion.week, conclusion.quiet)
    if not on and record.active and (conclusion.finalized or conclusion.week > record.week):
        return replace(record, active=False)
    return record


def as_json(memory: Memory) -> dict[str, Any]:
    """Returns the alert memory of a phase as the JSON object that is stored."""

    def latches(group: Latches) -> list[list[Any]]:
        return [
            [latch.on, latch.calm_week, *([latch.calm_weeks] if latch.calm_weeks > 1 else [])]
            for latch in (group.alert, group.watch, group.under)
        ]

    records = {name: getattr(memory, name) for name in ("alert", "watch", "under")}
    return {
        "phase": memory.phase,
        "week": memory.week,
        "before": latches(memory.before),
        "now": latches(memory.now),
        **{name: record_as_json(record) for name, record in records.items()},
        **({"expired": list(memory.expired)} if memory.expired else {}),
        **({"calm_weeks": memory.calm_weeks} if memory.calm_weeks > CALM_WEEKS else {}),
    }


def record_as_json(record: AlertRecord) -> list[Any]:
    """Returns the record as a JSON list, as it is stored."""
    return [record.active, record.week, record.quiet, record.named]


def from_json(stored: Mapping[str, Any] | None, phase: str) -> Memory:
    """Returns the stored memory. If nothing is stored, or only a memory of another phase, returns an empty memory."""
    if not stored or stored.get("phase") != phase:
        return Memory(phase)
    before, now = (Latches(*(Latch(*latch) for latch in stored[name])) for name in ("before", "now"))
    alert, watch, under = (AlertRecord(*stored[name]) for name in ("alert", "watch", "under"))
    expired, calm_weeks = tuple(stored.get("expired", ())), stored.get("calm_weeks", CALM_WEEKS)
    return Memory(phase, stored["week"], before, now, alert, watch, under, expired, calm_weeks)
