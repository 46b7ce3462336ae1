"""Writes the results of judging: verdicts, the current state of each support, and an event if the state changes.

Judges nothing. A verdict is added if it differs from the current one, and a state is written if it changes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from operator import attrgetter
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
from app.playbook.models import Measure
from app.response.aimline import Direction
from app.response.judging.alerts import (
    CALM_WEEKS,
    AlertSignal,
    ConclusionOfWeek,
    Memory,
    advance,
    as_json,
    from_json,
)
from app.response.judging.cohort import Judgement
from app.response.judging.load import compute
from app.response.judging.series import MonitoredSeries
from app.response.judging.state import CurrentState, CurrentVerdict
from app.response.rules.choose import RULES
from app.response.rules.combine import VerdictInForce, most_serious, state_for_alert, without_expired
from app.response.rules.verdict import ALARMS, NonresponseKind, State
from app.response.rules.wording import CANNOT, label, needs_more_than_scores
from app.roster.lookup import today_of
from app.support.models import Support
from app.support.phase import student_columns, support_event

CONTENT = (
    *("phase_id", "measures", "state", "kind", "because", "sentence", "statistic", "threshold", "rate", "rate_low"),
    *("rate_high", "odds", "slow", "short", "on_pace", "label", "stated_far", "required_rate", "change_week"),
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
    """A judgement to be written, with the facts that decide about the alert of its support.

    * `current` is the current verdict on the series, and `state` the current state of the support. Both are from before
      this judgement.
    * `settled_on` is the Monday of the week that this judgement makes final, or None.
    * `quiet`, `retractable` and `raise_alerts` have the same meaning as in `alerts.ConclusionOfWeek`.
    * `earlier` is the judgement by the new rules as of the week of the current verdict. It is None unless the rules
      have changed since that verdict was made.
    """

    judgement: Judgement
    current: CurrentVerdict | None
    state: CurrentState | None
    settled_on: date | None = None
    quiet: bool = False
    retractable: bool = False
    raise_alerts: bool = False
    earlier: Judgement | None = None


@needs(Can.JUDGE)
async def write(
    work: Work, steps: Sequence[VerdictStep], written: Mapping[UUID, date] | None = None, size: int = 0
) -> int:
    """Writes the verdicts and states that differ from the current ones. Returns the number of new verdicts.

    One statement writes the verdicts and states. It also updates the days and times by which lists of supports and
    students are sorted.

    `written` has, for each student with newly recorded scores, the day of the last of these scores. With `written`, a
    call inside a block of `Work.as_district` must be the last step of the block: its SQL statement also ends the block,
    so that the transaction has only the caller's own rights again.

    `size` is the number of series that were judged (see `compute`).
    """
    today = await today_of(work)
    steps_by_support: dict[UUID, list[VerdictStep]] = {}
    for step in steps:
        steps_by_support.setdefault(step.judgement.monitored.support.id, []).append(step)
    rows = [_rows_of_support(work, of_support, today) for of_support in steps_by_support.values()]
    verdicts = [verdict for new_verdicts, _ in rows for verdict in new_verdicts]
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
        texts = await compute(size, lambda: [json_text(part) for part in parts])
        await work.run(WRITE_VERDICTS, (work.district_id, *texts, principal))
    return len(verdicts)


def _rows_of_support(
    work: Work, steps: Sequence[VerdictStep], today: date
) -> tuple[list[dict[str, Any]], dict[str, Any] | None]:
    """Returns the new verdicts on the measures of one support, and the support's new state.

    `steps` has one judgement for each measure that was judged now. A support with several measures still has only one
    state and one alert. Both follow the most serious of the verdicts on its measures. In place of the state, None is
    returned if the state does not change.
    """
    support, phase = steps[0].judgement.monitored.support, steps[0].judgement.monitored.phase
    current = steps[0].state
    memory = from_json(current.memory if current else None, str(phase.id))
    in_force = _verdicts_of_others(steps, current)
    memory, end_signals = _advance_by_new_rules(memory, steps, in_force)
    rows, number = [], 1 if current is None else current.last_number + 1
    new_rows: list[dict[str, Any]] = []
    for step in steps:
        row = _verdict_row(step.judgement, number + len(new_rows))
        rows.append(row)
        verdict = None if step.current is None else step.current.verdict
        if verdict is None or any(getattr(verdict, name) != row[name] for name in CONTENT):
            new_rows.append(row)
        else:
            row["id"] = verdict.id
        in_force[row["measure_id"]] = VerdictInForce(
            row["id"], State(row["state"]), row["kind"], _place(support, row["measure_id"]), row["on_pace"]
        )
    weeks = [step.judgement.week + step.judgement.monitored.offset for step in steps]
    retractable = any(step.retractable for step in steps)
    worst = most_serious(in_force.values())
    conclusion = ConclusionOfWeek(
        state_for_alert(without_expired(in_force, memory.expired)),
        max(weeks) if len(in_force) == 1 else max(memory.week, *weeks),
        finalized=any(step.settled_on is not None for step in steps),
        quiet=all(step.quiet for step in steps),
        retractable=retractable,
        raise_alerts=any(step.raise_alerts for step in steps),
        calm_weeks=max(_calm_weeks(step.judgement) for step in steps),
    )
    memory_after, signals = advance(memory, conclusion)
    retracted = memory.alert.active and not memory_after.alert.active and (retractable or not memory.before.alert.on)
    retracted = retracted or AlertSignal.RETRACTED in end_signals
    if retracted and current is not None and current.alert_id is not None:
        # The retracting verdict is stored as a new one, even if its content is the same as that of the current one.
        place = next((place for place, step in enumerate(steps) if step.retractable or step.earlier is not None), 0)
        row = rows[place]
        if row not in new_rows:
            measure = in_force[row["measure_id"]]
            row["id"], row["number"] = new_id(), number + len(new_rows)
            new_rows.append(row)
            in_force[row["measure_id"]] = measure._replace(id=row["id"])
            worst = most_serious(in_force.values())
        row["retracts"] = current.alert_id
    alert_id = current.alert_id if current is not None and current.memory.get("phase") == str(phase.id) else None
    cause = most_serious(without_expired(in_force, memory.expired) or in_force.values())
    if memory_after.alert.active and (not memory.alert.active or alert_id is None or AlertSignal.ALERT in signals):
        # An alert that was raised quietly can be retracted too; if it is raised openly later, the later verdict is the
        # alert.
        alert_id = cause.id
    for signal in (*end_signals, *signals):
        kind = RESPONSE_STOPPED if cause.kind == NonresponseKind.STOPPED else RESPONSE_NEVER
        event = EVENT_BY_SIGNAL.get(signal, kind)
        ids = {"verdict": cause.id, "alert": alert_id or cause.id}
        record(work, support_event(event, support, {name: ids[name] for name in ids if name in event.required_ids}))
    settled_on = max((step.settled_on for step in steps if step.settled_on is not None), default=None)
    since, since_on = rows[0]["judged_at"], today
    if current is not None and not _state_changed(current, worst):
        since, since_on = current.since, current.since_on
    state_row = {
        **student_columns(support),
        "support_id": support.id,
        "verdict_id": worst.id,
        "verdict_ids": [verdict.id for verdict in sorted(in_force.values(), key=attrgetter("place"))],
        "state": worst.state.value,
        "kind": worst.kind,
        "since": since,
        "since_on": since_on,
        "alert_id": alert_id if memory_after.alert.active else None,
        "memory": as_json(memory_after),
        "settled_on": current.settled_on if current is not None and settled_on is None else settled_on,
    }
    unchanged = current is not None and not new_rows and _is_unchanged(current, state_row)
    return new_rows, None if unchanged else state_row


def _verdicts_of_others(steps: Sequence[VerdictStep], current: CurrentState | None) -> dict[UUID, VerdictInForce]:
    """Returns the verdicts in force on the support's measures that have no judgement in `steps`, keyed by measure.

    Verdicts about an earlier phase are left out.
    """
    support, phase = steps[0].judgement.monitored.support, steps[0].judgement.monitored.phase
    judged = {step.judgement.monitored.score_series.measure.id for step in steps}
    followed = {support.measure_id, *support.more_measures} - judged
    return {
        verdict.measure_id: VerdictInForce(
            verdict.id, State(verdict.state), verdict.kind, _place(support, verdict.measure_id), verdict.on_pace
        )
        for verdict in (() if current is None else current.verdicts)
        if verdict.measure_id in followed and verdict.phase_id == phase.id
    }


def _place(support: Support, measure_id: UUID) -> int:
    """Returns the position of a measure in the list of measures of its support. The first measure has position 0."""
    return [support.measure_id, *support.more_measures].index(measure_id)


def _advance_by_new_rules(
    memory: Memory, steps: Sequence[VerdictStep], others: Mapping[UUID, VerdictInForce]
) -> tuple[Memory, tuple[AlertSignal, ...]]:
    """Applies a change of the rules to a support's alert memory. Returns the new memory and the alert signals.

    * If the current verdict on a measure was made by earlier rules, its step has `earlier`: what the new rules say
      about the week of that verdict. If no step has `earlier`, the memory is unchanged and there are no signals.
    * These judgements may end the alert. They never begin an alert; only later scores can do that.
    * `others` has the verdicts on the measures that were not judged.
    """
    earlier = [(step, step.earlier) for step in steps if step.earlier is not None]
    if not earlier:
        return memory, ()
    verdicts = without_expired(others, memory.expired)
    for step, judgement in earlier:
        monitored = step.judgement.monitored
        place = _place(monitored.support, monitored.score_series.measure.id)
        new = judgement.verdict
        verdicts.append(VerdictInForce(monitored.support.id, new.state, None, place, new.on_pace))
    weeks = [judgement.week + step.judgement.monitored.offset for step, judgement in earlier]
    week = max(weeks) if len(verdicts) == 1 else max(memory.week, *weeks)
    calm_weeks = max(_calm_weeks(judgement) for _, judgement in earlier)
    return advance(memory, ConclusionOfWeek(state_for_alert(verdicts), week, quiet=True, calm_weeks=calm_weeks))


def _calm_weeks(judgement: Judgement) -> int:
    """Returns how many calm weeks in a row end an alert of the rule of a judgement."""
    verdict = judgement.verdict
    # An unusable rule, which gives this state, may have any parameters.
    if verdict.state is State.INSUFFICIENT_DATA:
        return CALM_WEEKS
    return RULES[verdict.rule].calm_weeks(verdict.parameters)


def _state_changed(current: CurrentState, worst: VerdictInForce) -> bool:
    """Returns whether the state of a support changes. `worst` is its most serious verdict, old or new.

    A change between the two alarm states, "off track" and "not responding", does not count as a change.
    """
    if current.state in ALARMS and worst.state in ALARMS:
        return False
    return (current.state, current.kind) != (worst.state, worst.kind)


def _is_unchanged(current: CurrentState, state_row: Mapping[str, Any]) -> bool:
    return (current.verdict_id, current.alert_id, current.memory, current.settled_on) == (
        state_row["verdict_id"],
        state_row["alert_id"],
        state_row["memory"],
        state_row["settled_on"],
    )


def _direction_of_growth(measure: Measure) -> Direction | None:
    """Returns the better direction of a measure that grows along a line, and None for any other measure."""
    if measure.kind != "growth":
        return None
    return "down" if measure.direction == "down" else "up"


def _sentence(monitored: MonitoredSeries, sentence: str) -> str:
    """Returns the sentence of a verdict. It begins with the name of the measure if the support has several measures."""
    return sentence if monitored.measures == 1 else f"{monitored.score_series.measure.name}: {sentence}"


def _verdict_row(judgement: Judgement, number: int) -> dict[str, Any]:
    monitored, verdict = judgement.monitored, judgement.verdict
    scores = monitored.score_series.scores.upto(judgement.week)
    change_week = verdict.change_week
    return {
        **student_columns(monitored.support),
        "id": new_id(),
        "support_id": monitored.support.id,
        "phase_id": monitored.phase.id,
        "measure_id": monitored.score_series.measure.id,
        "measures": monitored.measures,
        "number": number,
        **{name: getattr(verdict, name) for name in CONTENT if hasattr(verdict, name)},
        "state": verdict.state.value,
        "kind": verdict.kind.value if verdict.kind else None,
        "label": CANNOT
        if needs_more_than_scores(verdict.state, verdict.because)
        else label(verdict.state, verdict.kind, verdict.on_pace, _direction_of_growth(monitored.score_series.measure)),
        "sentence": _sentence(monitored, verdict.sentence),
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
