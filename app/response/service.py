"""Owns the writes of verdicts, and the commands that are judged in the transaction that writes them.

A verdict is appended when it differs from the one that holds; a change of state is told once.
"""

from collections.abc import Sequence
from datetime import date
from uuid import UUID

from sqlalchemy import select, tuple_

from app.access.permission import Can
from app.access.work import Work, needs
from app.core.clock import now
from app.core.ids import new_id
from app.events.catalogue import RESPONSE_NEVER, RESPONSE_RECOVERED, RESPONSE_STOPPED, EventType, Happened
from app.events.outbox import record
from app.evidence import service as evidence
from app.evidence.service import NewScore, TakenScore
from app.response.judge import Judged, judge_phase
from app.response.models import ResponseState, VerdictRow
from app.response.rules.verdict import Verdict
from app.support import service as supports
from app.support.lookup import current_phase, locked
from app.support.models import Phase, Support
from app.support.service import Change

NOT_RESPONDING = "not_responding"
RECOVERED = ("responding", "goal_met")


@needs(Can.RECORD_SCORES)
async def record_scores(work: Work, new: Sequence[NewScore], *, at: str = "/scores") -> list[TakenScore]:
    """Takes scores as `evidence.service.record_scores` does, and judges every series that they belong to."""
    taken = await evidence.record_scores(work, new, at=at)
    touched = {
        (one.score.student_id, one.score.measure_id)
        for one in taken
        if one.score is not None and one.outcome != "unchanged"
    }
    if touched:
        async with work.as_district("judging"):
            await judge_series(work, touched)
    return taken


@needs(Can.PLAN_SUPPORT, Can.READ_SCORES)
async def start_support(work: Work, support_id: UUID, on: date | None = None) -> Support:
    """Starts a support; scores that are there already are judged."""
    support = await supports.start_support(work, support_id, on)
    await _judge_as_district(work, support)
    return support


@needs(Can.PLAN_SUPPORT, Can.READ_SCORES)
async def change_support(work: Work, support_id: UUID, change: Change) -> Phase:
    """Draws a phase line; the verdict begins anew with the phase."""
    phase = await supports.change_support(work, support_id, change)
    await _judge_as_district(work, await locked(work, support_id))
    return phase


@needs(Can.JUDGE)
async def judge_series(work: Work, touched: set[tuple[UUID, UUID]]) -> None:
    """Judges every active support that one of these measures follows, given as pairs of student and measure."""
    active = await work.db.scalars(
        select(Support)
        .where(
            Support.district_id == work.district_id,
            tuple_(Support.student_id, Support.measure_id).in_(sorted(touched)),
            Support.state == "active",
        )
        .order_by(Support.id)
        .with_for_update()
    )
    for support in active.all():
        await judge_support(work, support)


@needs(Can.JUDGE)
async def judge_support(work: Work, support: Support) -> VerdictRow:
    """Judges the running phase; appends the verdict if it says something else than the one that holds."""
    phase = await current_phase(work, support)
    judged = await judge_phase(work, support, phase)
    holding = await work.db.scalar(
        select(ResponseState).where(
            ResponseState.district_id == work.district_id, ResponseState.support_id == support.id
        )
    )
    last = await _last_verdict(work, support.id)
    if last is not None and _same(last, phase, judged):
        return last
    row = _row(support, phase, judged, number=1 if last is None else last.number + 1)
    work.db.add(row)
    await work.db.flush()
    await _hold(work, support, row, holding)
    return row


async def _judge_as_district(work: Work, support: Support) -> None:
    async with work.as_district("judging"):
        await judge_support(work, support)


async def _last_verdict(work: Work, support_id: UUID) -> VerdictRow | None:
    last: VerdictRow | None = await work.db.scalar(
        select(VerdictRow)
        .where(VerdictRow.district_id == work.district_id, VerdictRow.support_id == support_id)
        .order_by(VerdictRow.number.desc())
        .limit(1)
    )
    return last


async def _hold(work: Work, support: Support, row: VerdictRow, holding: ResponseState | None) -> None:
    before = None if holding is None else holding.state
    if holding is None:
        work.db.add(
            ResponseState(
                district_id=support.district_id,
                support_id=support.id,
                student_id=support.student_id,
                school_ids=support.school_ids,
                secured_area=support.secured_area,
                verdict_id=row.id,
                state=row.state,
                kind=row.kind,
                since=row.judged_at,
            )
        )
    else:
        if (holding.state, holding.kind) != (row.state, row.kind):
            holding.since = row.judged_at
        holding.verdict_id, holding.state, holding.kind = row.id, row.state, row.kind
    await work.db.flush()
    if row.state == NOT_RESPONDING and before != NOT_RESPONDING:
        _tell(work, RESPONSE_STOPPED if row.kind == "stopped" else RESPONSE_NEVER, support, row)
    elif row.state in RECOVERED and before == NOT_RESPONDING:
        _tell(work, RESPONSE_RECOVERED, support, row)


def _row(support: Support, phase: Phase, judged: Judged, *, number: int) -> VerdictRow:
    said = judged.verdict.as_json()
    return VerdictRow(
        district_id=support.district_id,
        id=new_id(),
        student_id=support.student_id,
        school_ids=support.school_ids,
        secured_area=support.secured_area,
        support_id=support.id,
        phase_id=phase.id,
        number=number,
        state=said["state"],
        kind=said["kind"],
        because=said["because"],
        sentence=said["sentence"],
        statistic=said["statistic"],
        threshold=said["threshold"],
        rate=said["rate"],
        required_rate=said["required_rate"],
        change_week=said["change_week"],
        rule=said["rule"],
        rule_version=said["rule_version"],
        parameters=said["parameters"],
        score_ids=[UUID(score) for score in judged.verdict.scores],
        playbook_version_id=judged.chosen.playbook_version_id,
        judged_at=now(),
    )


def _same(last: VerdictRow, phase: Phase, judged: Judged) -> bool:
    verdict: Verdict = judged.verdict
    return (
        last.phase_id == phase.id
        and last.state == verdict.state
        and last.kind == verdict.kind
        and last.sentence == verdict.sentence
        and last.statistic == verdict.as_json()["statistic"]
        and last.rate == verdict.as_json()["rate"]
        and last.rule == verdict.rule
        and last.playbook_version_id == judged.chosen.playbook_version_id
        and [str(score) for score in last.score_ids] == list(verdict.scores)
    )


def _tell(work: Work, type_: EventType, support: Support, row: VerdictRow) -> None:
    record(
        work,
        Happened(
            type=type_,
            subject_id=support.id,
            subject_version=support.version,
            ids={"student": support.student_id, "verdict": row.id},
            student_id=support.student_id,
            school_ids=tuple(support.school_ids),
            secured_area=support.secured_area,
        ),
    )
