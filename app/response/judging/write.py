"""Writes the results of judging: verdicts, the current state of each support, and an event if the state changes.

Judges nothing. A verdict is added if it differs from the current one, and a state is written if it changes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any
from uuid import UUID

from app.access.permission import Can
from app.access.work import Work, needs
from app.core.clock import now
from app.core.db import json_text
from app.core.ids import new_id
from app.events.catalogue import (
    PROBE_REQUESTED,
    RESPONSE_NEVER,
    RESPONSE_OFF_TRACK,
    RESPONSE_RECOVERED,
    RESPONSE_RETRACTED,
    RESPONSE_STOPPED,
    RESPONSE_UNDER_DELIVERED,
    EventType,
)
from app.events.outbox import record
from app.response.judging.alerts import AlertSignal, ConclusionOfWeek, advance, as_json, from_json
from app.response.judging.cohort import Judgement
from app.response.judging.load import CurrentVerdict
from app.response.rules.verdict import ALARMS, NonresponseKind
from app.response.rules.wording import label
from app.roster.lookup import today_of
from app.support.phase import student_columns, support_event

CONTENT = (
    *("phase_id", "state", "kind", "because", "sentence", "statistic", "threshold", "rate", "rate_low", "rate_high"),
    *("odds", "slow", "short", "on_pace", "label", "stated_far", "required_rate", "change_week"),
    *("rule", "rule_version", "parameters", "score_ids", "playbook_version_id", "calibration_id", "sem"),
)
"""The columns that make up the content of a verdict. Two verdicts are equal if they agree in all of these columns."""

WRITE_VERDICTS = "SELECT app.write_verdicts($1, $2, $3, $4, $5, $6)"

EVENT_BY_SIGNAL: dict[AlertSignal, EventType] = {
    AlertSignal.ALERT: RESPONSE_OFF_TRACK,
    AlertSignal.RECOVERED: RESPONSE_RECOVERED,
    AlertSignal.RETRACTED: RESPONSE_RETRACTED,
    AlertSignal.UNDER_DELIVERED: RESPONSE_UNDER_DELIVERED,
    AlertSignal.PROBE: PROBE_REQUESTED,
}


@dataclass(frozen=True, slots=True)
class VerdictStep:
    """A judgement to be written, with the facts on which its alerts depend.

    `earlier` is set if the rules changed. It is the judgement that the new rules give as of the week of the current
    verdict.
    """

    judgement: Judgement
    current: CurrentVerdict | None
    settled_on: date | None = None
    quiet: bool = False
    retractable: bool = False
    raise_alerts: bool = False
    earlier: Judgement | None = None


@needs(Can.JUDGE)
async def write(work: Work, steps: Sequence[VerdictStep], written: Mapping[UUID, date] | None = None) -> int:
    """Writes the verdicts and states that differ from the current ones. Returns the number of new verdicts.

    One statement writes all of them, and the days and times by which lists of supports and students are sorted.
    `written`, if given, has the day of the last score that was written now, by student. This is then the last statement
    of a block of `Work.as_district`.
    """
    today = await today_of(work)
    rows = [_to_rows(work, step, today) for step in steps]
    verdicts = [verdict for verdict, _ in rows if verdict is not None]
    states = [state for _, state in rows if state is not None]
    supports = {row["support_id"]: row["judged_at"] for row in verdicts}
    students: dict[UUID, dict[str, Any]] = {
        student_id: {"last_score_on": day} for student_id, day in (written or {}).items()
    }
    for row in verdicts:
        # The order of a list must not reveal records that its reader may not see.
        if row["secured_area"] is None:
            students.setdefault(row["student_id"], {})["last_verdict_at"] = row["judged_at"]
    if verdicts or states or students:
        parts = (
            verdicts,
            states,
            [{"id": support_id, "last_verdict_at": at} for support_id, at in supports.items()],
            [{"id": student_id, **last} for student_id, last in students.items()],
        )
        principal = None if written is None else work.end_district_step()
        await work.run(WRITE_VERDICTS, (work.district_id, *(json_text(part) for part in parts), principal))
    return len(verdicts)


def _to_rows(work: Work, step: VerdictStep, today: date) -> tuple[dict[str, Any] | None, dict[str, Any] | None]:
    support, phase = step.judgement.monitored.support, step.judgement.monitored.phase
    verdict, current = step.judgement.verdict, step.current
    memory = from_json(current.memory if current else None, str(phase.id))
    end_signals: tuple[AlertSignal, ...] = ()
    if step.earlier is not None:
        # New rules may end an alert but raise none; only later scores raise one.
        memory, end_signals = advance(
            memory, ConclusionOfWeek(step.earlier.verdict.state, step.earlier.week, quiet=True)
        )
    conclusion = ConclusionOfWeek(
        verdict.state,
        step.judgement.week,
        finalized=step.settled_on is not None,
        quiet=step.quiet,
        retractable=step.retractable,
        raise_alerts=step.raise_alerts,
    )
    memory_after, signals = advance(memory, conclusion)
    row = _verdict_row(step.judgement, 1 if current is None else current.verdict.number + 1)
    retracted = (
        memory.alert.active and not memory_after.alert.active and (step.retractable or not memory.before.alert.on)
    )
    retracted = retracted or AlertSignal.RETRACTED in end_signals
    if retracted and current is not None and current.alert_id is not None:
        row["retracts"] = current.alert_id
    is_same = current is not None and all(getattr(current.verdict, name) == row[name] for name in CONTENT)
    appended = not is_same or row["retracts"] is not None
    verdict_id = row["id"] if appended or current is None else current.verdict.id
    alert_id = current.alert_id if current is not None and current.memory.get("phase") == str(phase.id) else None
    if memory_after.alert.active and (not memory.alert.active or alert_id is None or AlertSignal.ALERT in signals):
        # An alert that was raised quietly can be retracted too; if it is raised openly later, the later verdict is the
        # alert.
        alert_id = verdict_id
    for signal in (*end_signals, *signals):
        kind = RESPONSE_STOPPED if verdict.kind is NonresponseKind.STOPPED else RESPONSE_NEVER
        event = EVENT_BY_SIGNAL.get(signal, kind)
        ids = {"verdict": verdict_id, "alert": alert_id or verdict_id}
        record(work, support_event(event, support, {name: ids[name] for name in ids if name in event.required_ids}))
    finalized_on = current.settled_on if current is not None and step.settled_on is None else step.settled_on
    since, since_on = row["judged_at"], today
    if current is not None and not _state_changed(current, row):
        since, since_on = current.since, current.since_on
    state_row = {
        **student_columns(support),
        "support_id": support.id,
        "verdict_id": verdict_id,
        "state": row["state"],
        "kind": row["kind"],
        "since": since,
        "since_on": since_on,
        "alert_id": alert_id if memory_after.alert.active else None,
        "memory": as_json(memory_after),
        "settled_on": finalized_on,
    }
    unchanged = current is not None and not appended and _is_unchanged(current, state_row)
    return row if appended else None, None if unchanged else state_row


def _state_changed(current: CurrentVerdict, row: Mapping[str, Any]) -> bool:
    """Returns whether the state differs from the current one.

    An alarm that is named, or loses its name, counts as the same state, which began with the alarm.
    """
    if current.verdict.state in ALARMS and row["state"] in ALARMS:
        return False
    return (current.verdict.state, current.verdict.kind) != (row["state"], row["kind"])


def _is_unchanged(current: CurrentVerdict, state_row: Mapping[str, Any]) -> bool:
    return (current.alert_id, current.memory, current.settled_on) == (
        state_row["alert_id"],
        state_row["memory"],
        state_row["settled_on"],
    )


def _verdict_row(judgement: Judgement, number: int) -> dict[str, Any]:
    monitored, verdict = judgement.monitored, judgement.verdict
    scores = monitored.score_series.scores.upto(judgement.week)
    change_week = verdict.change_week
    return {
        **student_columns(monitored.support),
        "id": new_id(),
        "support_id": monitored.support.id,
        "phase_id": monitored.phase.id,
        "number": number,
        **{name: getattr(verdict, name) for name in CONTENT if hasattr(verdict, name)},
        "state": verdict.state.value,
        "kind": verdict.kind.value if verdict.kind else None,
        "label": label(verdict.state, verdict.kind, verdict.on_pace),
        "because": [reason.as_json() for reason in verdict.because],
        "parameters": dict(sorted(verdict.parameters.items())),
        "score_ids": list(verdict.scores),
        "change_on": None if change_week is None else monitored.score_series.monday_of_week(change_week),
        "last_on": scores.days[-1] if scores else None,
        "last_week": judgement.week if scores else None,
        "playbook_version_id": monitored.chosen.playbook_version_id,
        "calibration_id": judgement.calibration_id,
        "sem": monitored.score_series.sem,
        "retracts": None,
        "judged_at": now(),
    }
