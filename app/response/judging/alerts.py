"""Owns when a verdict is told: once a transition, with hysteresis, and when what was told is taken back. Pure.

Never looks at a score: it steps from verdict to verdict. What it keeps is a value, `Memory`, as JSON.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from app.response.rules.verdict import State

CALM = frozenset({State.RESPONDING, State.BELOW_PACE, State.GOAL_MET})
"""States that speak against an alert. `uncertain` lies between the watch and the alert threshold: it keeps things."""


class AlertSignal(StrEnum):
    """What is to be told."""

    ALERT = "alert"
    RECOVERED = "recovered"
    RETRACTED = "retracted"
    UNDER_DELIVERED = "under_delivered"
    PROBE = "probe"


@dataclass(frozen=True, slots=True)
class Latch:
    """Goes on at once, and off only when two different weeks in a row were calm. `told`: last week of telling."""

    on: bool = False
    calm_since: int | None = None

    def step(self, *, raised: bool, calm: bool, week: int) -> Latch:
        """After a week's verdict. The same verdict again changes nothing."""
        if raised:
            return Latch(True)
        if not self.on or not calm:
            return Latch(self.on)
        if self.calm_since is not None and week > self.calm_since:
            return Latch()
        return Latch(True, week if self.calm_since is None else self.calm_since)


@dataclass(frozen=True, slots=True)
class Latches:
    """The three things that can stand: an alert, the watch for one, and a support that was not delivered."""

    alert: Latch = Latch()
    watch: Latch = Latch()
    under: Latch = Latch()

    def step(self, state: State, week: int) -> Latches:
        """After a week's verdict."""
        calm = state in CALM
        slow = state in (State.UNCERTAIN, State.NOT_RESPONDING)
        return Latches(
            self.alert.step(raised=state is State.NOT_RESPONDING, calm=calm, week=week),
            self.watch.step(raised=slow or state is State.UNDER_DELIVERED, calm=calm, week=week),
            self.under.step(raised=state is State.UNDER_DELIVERED, calm=calm or slow, week=week),
        )


@dataclass(frozen=True, slots=True)
class AlertRecord:
    """Whether something stands as told, in which week it was told last, and whether without an event."""

    stands: bool = False
    week: int = -1
    quiet: bool = False


@dataclass(frozen=True, slots=True)
class Memory:
    """What is kept of a phase from verdict to verdict.

    `before`: the latches at the end of the week before `week`; `now`: after the latest verdict of `week`. A week's
    verdicts each start from `before`, so that the order in which its scores came leaves no trace.
    """

    phase: str
    week: int = -1
    before: Latches = Latches()
    now: Latches = Latches()
    alert: AlertRecord = AlertRecord()
    watch: AlertRecord = AlertRecord()
    under: AlertRecord = AlertRecord()


@dataclass(frozen=True, slots=True)
class ConclusionOfWeek:
    """A verdict as alerts see it.

    `settled`: the cohort's week was in. `quiet`: a backfill or a change of rules, that raises nothing, and may end what
    was raised. `undone`: the alert that stands, judged again as of its own week, would not be raised. `loud`: new rules
    that are to raise alerts, also where one was laid quietly.
    """

    state: State
    week: int
    settled: bool = False
    quiet: bool = False
    undone: bool = False
    loud: bool = False


def advance(memory: Memory, said: ConclusionOfWeek) -> tuple[Memory, tuple[AlertSignal, ...]]:
    """The memory after a verdict, and what is to be told.

    An alert is raised at the rule's threshold and once a transition; it recovers after two calm weeks, and is
    retracted where it would not be raised again: on amended scores at once, on more scores of its own week when
    that week is settled or over. Nothing is told twice in a week of a series.
    """
    before = memory.now if said.week > memory.week else memory.before
    now = before.step(said.state, said.week)
    if said.undone and said.state is not State.NOT_RESPONDING:
        now = replace(now, alert=Latch())
    tells: list[AlertSignal] = []
    alert = _alert(memory.alert, before, now, said, tells)
    anew = memory.under.stands or said.state is State.UNDER_DELIVERED
    under = _once(memory.under, now.under.on and anew, said, AlertSignal.UNDER_DELIVERED, tells)
    asks = said.state is State.UNCERTAIN and not alert.stands
    watch = _once(memory.watch, now.watch.on, said, AlertSignal.PROBE if asks else None, tells)
    kept = Memory(memory.phase, said.week, before, now, alert, watch, under)
    return kept, tuple(tells)


def _alert(
    told: AlertRecord, before: Latches, now: Latches, said: ConclusionOfWeek, tells: list[AlertSignal]
) -> AlertRecord:
    # What stands over from another week is not told on a verdict that says something else.
    raised = said.state is State.NOT_RESPONDING
    if raised and told.stands and told.quiet and said.loud:
        tells.append(AlertSignal.ALERT)
        return AlertRecord(True, said.week)
    if raised and not told.stands and said.week > told.week:
        if not said.quiet:
            tells.append(AlertSignal.ALERT)
        return AlertRecord(True, said.week, said.quiet)
    if now.alert.on or not told.stands:
        return told
    if said.undone or not before.alert.on:
        if not (said.undone or said.settled or said.week > told.week):
            return told
        back = AlertSignal.RETRACTED
    else:
        back = AlertSignal.RECOVERED
    # Who heard of an alert hears of its end, also of one that comes quietly; what was never told ends untold.
    if not told.quiet:
        tells.append(back)
    # A week in which an alert was taken back raises no other: what still holds is told in the next.
    return replace(told, stands=False, week=said.week)


def _once(
    told: AlertRecord, on: bool, said: ConclusionOfWeek, tell: AlertSignal | None, tells: list[AlertSignal]
) -> AlertRecord:
    if on and not told.stands and said.week > told.week:
        if tell is not None and not said.quiet:
            tells.append(tell)
        return AlertRecord(True, said.week, said.quiet)
    if not on and told.stands and (said.settled or said.week > told.week):
        return replace(told, stands=False)
    return told


def as_json(memory: Memory) -> dict[str, Any]:
    """As it is stored."""

    def latches(one: Latches) -> list[list[Any]]:
        return [[latch.on, latch.calm_since] for latch in (one.alert, one.watch, one.under)]

    told = {name: getattr(memory, name) for name in ("alert", "watch", "under")}
    return {
        "phase": memory.phase,
        "week": memory.week,
        "before": latches(memory.before),
        "now": latches(memory.now),
        **{name: [one.stands, one.week, one.quiet] for name, one in told.items()},
    }


def from_json(stored: Mapping[str, Any] | None, phase: str) -> Memory:
    """As it was stored; empty where there is none of this phase: a phase line begins anew."""
    if not stored or stored.get("phase") != phase:
        return Memory(phase)
    before, now = (Latches(*(Latch(*one) for one in stored[name])) for name in ("before", "now"))
    alert, watch, under = (AlertRecord(*stored[name]) for name in ("alert", "watch", "under"))
    return Memory(phase, stored["week"], before, now, alert, watch, under)
