"""Owns the writes of decisions. People decide: a verdict is kept as what they saw, never as what chose."""

from dataclasses import dataclass, replace
from datetime import date
from uuid import UUID

from sqlalchemy import select

from app.access.permission import Can
from app.access.work import Work, needs
from app.core import ids
from app.core.clock import now, today_in
from app.core.errors import Invalid, NotFound, Violation
from app.core.ids import new_id
from app.decision.models import Decision
from app.decision.rules import DRAWS_PHASE_LINE, check_kind, check_state, next_rank
from app.events.catalogue import DECISION_MADE, Happened
from app.events.outbox import record
from app.playbook.lookup import published
from app.response import service as response
from app.response.models import ResponseState, VerdictRow
from app.roster.lookup import locate_staff, locate_student, zone_of
from app.support.lookup import level_rank, locked
from app.support.models import Support
from app.support.service import Change, end_support


@dataclass(frozen=True, slots=True)
class NewDecision:
    """What a team chose. `verdict` is the one that it saw; without it, the one that holds."""

    kind: str
    support: str | None = None
    student: str | None = None
    verdict: str | None = None
    decided_by: str | None = None
    decided_on: date | None = None
    note: str | None = None
    change: Change | None = None


@needs(Can.DECIDE)
async def decide(work: Work, new: NewDecision) -> Decision:
    """Records a decision and carries it out: a change draws a phase line, an exit ends the support."""
    check_kind(new.kind, has_support=new.support is not None, has_student=new.student is not None)
    today = today_in(await zone_of(work))
    decided_on = new.decided_on or today
    if decided_on > today:
        raise Invalid([Violation("/decided_on", "decision.in_the_future", "A decision is made today or before.")])
    decided_by = work.principal.person_id
    if new.decided_by is not None:
        decided_by = (await locate_staff(work, new.decided_by, "/decided_by")).id
    decision = Decision(
        district_id=work.district_id,
        id=new_id(),
        kind=new.kind,
        decided_on=decided_on,
        decided_by=decided_by,
        decided_by_client=work.principal.client_id,
        note=new.note,
        playbook_version_id=(await published(work)).id,
        created_at=now(),
    )
    if new.support is not None:
        await _about_support(work, new, decision)
    else:
        student = await locate_student(work, new.student or "", "/student")
        decision.student_id, decision.school_ids = student.id, student.school_ids
    work.db.add(decision)
    await work.db.flush()
    # A referral is never in a payload.
    if new.kind != "refer" and decision.support_id is not None:
        _tell(work, decision, decision.support_id)
    return decision


async def _about_support(work: Work, new: NewDecision, decision: Decision) -> None:
    try:
        support = await locked(work, ids.read("support", new.support or "", "/support"))
    except NotFound:
        detail = "There is no such support within this caller's reach."
        raise Invalid([Violation("/support", "support.unknown", detail)]) from None
    check_state(new.kind, support.state)
    decision.support_id = support.id
    decision.student_id = support.student_id
    decision.school_ids = support.school_ids
    decision.secured_area = support.secured_area
    decision.verdict_id = await _seen(work, new.verdict, support)
    if new.kind in DRAWS_PHASE_LINE:
        decision.phase_id = await _draw_phase_line(work, new, decision, support)
    elif new.kind == "exit":
        await end_support(work, support.id, new.note or "The team decided to end it.", decision.decided_on)


async def _draw_phase_line(work: Work, new: NewDecision, decision: Decision, support: Support) -> UUID:
    change = await _change(work, new, decision, support)
    try:
        return (await response.change_support(work, support.id, change)).id
    except Invalid as error:
        # What a change says of its own fields stands, in a decision, beneath `change`.
        raise Invalid([replace(one, pointer=f"/change{one.pointer}") for one in error.violations]) from None


async def _change(work: Work, new: NewDecision, decision: Decision, support: Support) -> Change:
    change = new.change or Change(because=new.note or f"The team decided: {new.kind.replace('_', ' ')}.")
    if change.begins_on is None:
        change = replace(change, begins_on=decision.decided_on)
    if change.level is None and new.kind in ("intensify", "fade"):
        change = replace(change, level=next_rank(new.kind, await level_rank(work, support)))
    if new.kind == "raise_goal" and change.goal is None:
        raise Invalid([Violation("/change/goal", "decision.goal", "Name the higher goal.")])
    return change


async def _seen(work: Work, name: str | None, support: Support) -> UUID | None:
    if name is None:
        return await work.db.scalar(
            select(ResponseState.verdict_id).where(
                ResponseState.district_id == work.district_id, ResponseState.support_id == support.id
            )
        )
    found = await work.db.scalar(
        select(VerdictRow.id).where(
            VerdictRow.district_id == work.district_id,
            VerdictRow.id == ids.read("verdict", name, "/verdict"),
            VerdictRow.support_id == support.id,
        )
    )
    if found is None:
        raise Invalid([Violation("/verdict", "verdict.unknown", "This support has no such verdict.")])
    return found


def _tell(work: Work, decision: Decision, support_id: UUID) -> None:
    record(
        work,
        Happened(
            type=DECISION_MADE,
            subject_id=decision.id,
            subject_version=1,
            ids={"student": decision.student_id, "support": support_id},
            student_id=decision.student_id,
            school_ids=tuple(decision.school_ids),
            secured_area=decision.secured_area,
        ),
    )
