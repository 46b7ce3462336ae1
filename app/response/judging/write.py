"""Owns what judging writes: verdicts, each support's present state, and what is told of a change. Never judges.

A verdict is appended where it says something else than the one that holds; a state is written where it differs.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from functools import cache
from typing import Any
from uuid import UUID

from sqlalchemy import Select, Uuid, any_, bindparam, cast, insert, select, true
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.orm import aliased

from app.access.permission import Can
from app.access.work import Work, needs
from app.core.clock import now
from app.core.db import lateral_lookup
from app.core.ids import new_id
from app.events.catalogue import (
    PROBE_REQUESTED,
    RESPONSE_NEVER,
    RESPONSE_RECOVERED,
    RESPONSE_RETRACTED,
    RESPONSE_STOPPED,
    RESPONSE_UNDER_DELIVERED,
    EventType,
)
from app.events.outbox import record
from app.response.judging.alerts import AlertSignal, ConclusionOfWeek, advance, as_json, from_json
from app.response.judging.cohort import Judgement
from app.response.models import ResponseState, VerdictRow
from app.response.rules.verdict import NonresponseKind
from app.roster.lookup import IdList
from app.support.phase import student_columns, support_event

CONTENT = (
    *("phase_id", "state", "kind", "because", "sentence", "statistic", "threshold", "rate", "rate_low", "rate_high"),
    *("odds", "stated_far", "required_rate", "change_week", "rule", "rule_version", "parameters", "score_ids"),
    *("playbook_version_id", "calibration_id", "sem"),
)
"""What a verdict says and rests on: equal in all of it, two verdicts are one."""

TOLD: dict[AlertSignal, EventType] = {
    AlertSignal.RECOVERED: RESPONSE_RECOVERED,
    AlertSignal.RETRACTED: RESPONSE_RETRACTED,
    AlertSignal.UNDER_DELIVERED: RESPONSE_UNDER_DELIVERED,
    AlertSignal.PROBE: PROBE_REQUESTED,
}


@dataclass(frozen=True, slots=True)
class CurrentVerdict:
    """What holds for a support before it is judged: its last verdict, its state, the week of the alert that stands."""

    verdict: VerdictRow
    since: Any
    memory: dict[str, Any]
    alert_id: UUID | None
    alert_week: int | None
    settled_on: date | None

    def by_other_rules(self, judged: Judgement) -> bool:
        """Whether it was judged by another rule, or with other parameters, estimates or SEM, in the same phase."""
        was, verdict = self.verdict, judged.verdict
        rules = (was.rule, was.rule_version, was.parameters, was.calibration_id, was.sem)
        sem = judged.followed.line.measure.sem
        are = (verdict.rule, verdict.rule_version, dict(verdict.parameters), judged.calibration_id, sem)
        return was.phase_id == judged.followed.phase.id and rules != are

    def alerting(self, phase_id: UUID) -> bool:
        """Whether an alert of this phase stands."""
        return self.alert_id is not None and self.memory.get("phase") == str(phase_id)


@dataclass(frozen=True, slots=True)
class VerdictStep:
    """A verdict on its way to be written, with what alerts need to know of it.

    `earlier`: what other rules than those of the verdict that holds would have said then.
    """

    judged: Judgement
    holding: CurrentVerdict | None
    settled_on: date | None = None
    quiet: bool = False
    undone: bool = False
    loud: bool = False
    earlier: Judgement | None = None


@needs(Can.JUDGE)
async def current_verdicts(work: Work, support_ids: Collection[UUID]) -> dict[UUID, CurrentVerdict]:
    """What holds for these supports; nothing for one that was never judged."""
    rows = await work.db.execute(_held(), {"district": work.district_id, "supports": list(support_ids)})
    return {row[0].support_id: CurrentVerdict(*row) for row in rows}


@cache
def _held() -> Select[Any]:
    district = bindparam("district", type_=Uuid())
    verdicts = select(VerdictRow).where(VerdictRow.district_id == district)
    verdict = aliased(VerdictRow, lateral_lookup(verdicts.where(VerdictRow.id == ResponseState.verdict_id), "verdict"))
    alert = lateral_lookup(verdicts.where(VerdictRow.id == ResponseState.alert_id), "alert")
    state = ResponseState
    return (
        select(verdict, state.since, state.memory, state.alert_id, alert.c.last_week, state.settled_on)
        .select_from(state)
        .join(verdict, true())
        .outerjoin(alert, true())
        .where(state.district_id == district, state.support_id == any_(cast(bindparam("supports"), IdList)))
    )


@needs(Can.JUDGE)
async def write(work: Work, steps: Sequence[VerdictStep]) -> int:
    """Writes what differs, by two statements; how many verdicts were appended."""
    rows = [_step(work, step) for step in steps]
    verdicts = [verdict for verdict, _ in rows if verdict is not None]
    states = [state for _, state in rows if state is not None]
    # With nulls written out all rows go as one; else the mapper makes a statement of each run of rows empty alike.
    as_one = {"render_nulls": True}
    if verdicts:
        await work.db.execute(insert(VerdictRow), verdicts, execution_options=as_one)
    if states:
        added = upsert(ResponseState)
        names = ("verdict_id", "state", "kind", "since", "alert_id", "memory", "settled_on")
        changed = {name: added.excluded[name] for name in names}
        keys = [ResponseState.district_id, ResponseState.support_id]
        upsert_all = added.on_conflict_do_update(index_elements=keys, set_=changed)
        await work.db.execute(upsert_all, states, execution_options=as_one)
    return len(verdicts)


def _step(work: Work, step: VerdictStep) -> tuple[dict[str, Any] | None, dict[str, Any] | None]:
    support, phase = step.judged.followed.support, step.judged.followed.phase
    verdict, holding = step.judged.verdict, step.holding
    memory = from_json(holding.memory if holding else None, str(phase.id))
    ended: tuple[AlertSignal, ...] = ()
    if step.earlier is not None:
        # New rules raise nothing, and may end an alert; only the scores since then raise one.
        memory, ended = advance(memory, ConclusionOfWeek(step.earlier.verdict.state, step.earlier.week, quiet=True))
    said = ConclusionOfWeek(
        verdict.state,
        step.judged.week,
        settled=step.settled_on is not None,
        quiet=step.quiet,
        undone=step.undone,
        loud=step.loud,
    )
    kept, tells = advance(memory, said)
    row = _row(step.judged, 1 if holding is None else holding.verdict.number + 1)
    retracted = memory.alert.stands and not kept.alert.stands and (step.undone or not memory.before.alert.on)
    retracted = retracted or AlertSignal.RETRACTED in ended
    if retracted and holding is not None and holding.alert_id is not None:
        row["retracts"] = holding.alert_id
    same = holding is not None and all(getattr(holding.verdict, name) == row[name] for name in CONTENT)
    appended = not same or row["retracts"] is not None
    verdict_id = row["id"] if appended or holding is None else holding.verdict.id
    for tell in (*ended, *tells):
        kind = RESPONSE_STOPPED if verdict.kind is NonresponseKind.STOPPED else RESPONSE_NEVER
        record(work, support_event(TOLD.get(tell, kind), support, {"verdict": verdict_id}))
    alert_id = holding.alert_id if holding is not None and memory.alert.stands else None
    if kept.alert.stands and (alert_id is None or AlertSignal.ALERT in tells):
        # Also one that was laid quietly can be taken back; one that is told later is the one that was told.
        alert_id = verdict_id
    kept_on = holding.settled_on if holding is not None and step.settled_on is None else step.settled_on
    now_is = {
        **student_columns(support),
        "support_id": support.id,
        "verdict_id": verdict_id,
        "state": row["state"],
        "kind": row["kind"],
        "since": row["judged_at"] if holding is None or _turned(holding, row) else holding.since,
        "alert_id": alert_id if kept.alert.stands else None,
        "memory": as_json(kept),
        "settled_on": kept_on,
    }
    unchanged = holding is not None and not appended and _stands(holding, now_is)
    return row if appended else None, None if unchanged else now_is


def _turned(holding: CurrentVerdict, row: Mapping[str, Any]) -> bool:
    return (holding.verdict.state, holding.verdict.kind) != (row["state"], row["kind"])


def _stands(holding: CurrentVerdict, state: Mapping[str, Any]) -> bool:
    return (holding.alert_id, holding.memory, holding.settled_on) == (
        state["alert_id"],
        state["memory"],
        state["settled_on"],
    )


def _row(judged: Judgement, number: int) -> dict[str, Any]:
    followed, verdict = judged.followed, judged.verdict
    known = followed.line.scores.upto(judged.week)
    change = verdict.change_week
    return {
        **student_columns(followed.support),
        "id": new_id(),
        "support_id": followed.support.id,
        "phase_id": followed.phase.id,
        "number": number,
        **{name: getattr(verdict, name) for name in CONTENT if hasattr(verdict, name)},
        "state": verdict.state.value,
        "kind": verdict.kind.value if verdict.kind else None,
        "because": [reason.as_json() for reason in verdict.because],
        "parameters": dict(sorted(verdict.parameters.items())),
        "score_ids": list(verdict.scores),
        "change_on": None if change is None else followed.line.monday_of_week(change),
        "last_on": known.days[-1] if known else None,
        "last_week": judged.week if known else None,
        "playbook_version_id": followed.chosen.playbook_version_id,
        "calibration_id": judged.calibration_id,
        "sem": followed.line.measure.sem,
        "retracts": None,
        "judged_at": now(),
    }
