"""Records decisions. People decide; the verdict that they saw is stored with the decision as information only."""

from dataclasses import dataclass, replace
from datetime import date
from typing import Annotated
from uuid import UUID

from sqlalchemy import select

from app.access.permission import Can
from app.access.work import Work, needs
from app.core import ids
from app.core.clock import now
from app.core.errors import Invalid, NotFound, Violation
from app.core.ids import new_id
from app.core.inputs import About, Choices
from app.core.text import Text
from app.core.violations import Violations, input_violations, with_values
from app.decision.models import Decision
from app.decision.rules import (
    DRAWS_PHASE_LINE,
    DecisionKind,
    check_goal,
    check_intensity,
    check_state,
    kind_violations,
    states_intensity,
)
from app.events.catalogue import DECISION_MADE, NewEvent
from app.events.outbox import record
from app.group.service import end_support
from app.intervention.lookup import locate_entry
from app.playbook.lookup import level_beside, measure_by_id, published
from app.response import service as response
from app.response.models import ResponseState, VerdictRow
from app.roster.lookup import locate_student, resolve_actor, today_of
from app.roster.student_lock import lock_student
from app.support.changes.intensity import Intensity, PhaseVerb, changed
from app.support.lookup import current_phase, level_rank, lock_support
from app.support.models import Support
from app.support.phase import set_review
from app.support.service import SupportChange


@dataclass(frozen=True, slots=True)
class NewDecision:
    """The input of `decide`. Without `verdict`, the decision refers to the support's current verdict."""

    kind: Annotated[str, Choices(DecisionKind), About("What the team chose.", "continue")]
    support: Annotated[
        str | None, About("The support; only a referral can be without one.", "sup_01jq4n6d9zf3vbs0x5k2m7e8tf")
    ] = None
    student: Annotated[
        str | None,
        About(
            "The student, for a referral without a support: an id, or an external id `sis:<source>:<sourcedId>`.",
            "stu_01jq4n6d9zf3vbs0x5k2m7e8ta",
        ),
    ] = None
    verdict: Annotated[
        str | None,
        About("The verdict that the team saw; by default, the one in force.", "ver_01jq4n6d9zf3vbs0x5k2m7e8tg"),
    ] = None
    decided_by: Annotated[
        str | None,
        About(
            "The person who decided: an id, or an external id `sis:<source>:<sourcedId>`.",
            "per_01jq4n6d9zf3vbs0x5k2m7e8tb",
        ),
    ] = None
    decided_on: Annotated[date | None, About("The day of the decision; by default, today.", date(2026, 11, 30))] = None
    note: Annotated[str, Text(max=4000), About("A note.", "Two weeks of absence; look again in May.")] | None = None
    change: Annotated[SupportChange | None, About("The changes of the plan from that day on.")] = None
    review_on: Annotated[
        date | None,
        About("The next review of a support without a measure that goes on as it is.", date(2027, 1, 15)),
    ] = None


_OF_END = {"/because": "/note", "/on": "/decided_on"}
"""For each pointer in the errors of `end_support`, the pointer to the same value in a `NewDecision`."""


@needs(Can.DECIDE)
async def decide(work: Work, new: NewDecision) -> Decision:
    """Records a decision and changes the support accordingly.

    A change of plan begins a new phase, and an exit ends the support.
    """
    violations = Violations([*input_violations(new), *kind_violations(new)])
    today = await today_of(work)
    decision = Decision(district_id=work.district_id, id=new_id(), decided_on=today)
    with violations:
        if new.decided_on is not None and new.decided_on > today:
            raise Invalid([Violation("/decided_on", "decision.in_the_future", "A decision is made today or before.")])
        decision.decided_on = new.decided_on or today
    with violations:
        decision.decided_by = await resolve_actor(work, new.decided_by, "/decided_by")
    with violations:
        if new.support is not None:
            await _apply_to_support(work, new, decision, violations)
        elif new.student is not None:
            student = await lock_student(work, new.student, "/student")
            decision.student_id, decision.school_ids = student.id, student.school_ids
    with violations:
        if new.student is not None and decision.student_id is None:  # The support was refused.
            await locate_student(work, new.student, "/student")
    violations.refuse()
    decision.kind, decision.note = new.kind, new.note
    decision.decided_by_client, decision.created_at = work.principal.client_id, now()
    decision.playbook_version_id = (await published(work)).id
    work.db.add(decision)
    await work.db.flush()
    # Referrals have no events, so that no webhook reveals one.
    if new.kind != "refer" and decision.support_id is not None:
        _emit(work, decision, decision.support_id)
    return decision


async def _apply_to_support(work: Work, new: NewDecision, decision: Decision, violations: Violations) -> None:
    """Applies a decision to its support. Collects violations in `violations`, so that the caller raises them together.

    Raises `Invalid` at once for an unknown support, or if `end_support` refuses to end the support.
    """
    try:
        support = await lock_support(work, ids.parse_id("support", new.support or "", "/support"))
    except NotFound:
        detail = "There is no such support within this caller's reach."
        raise Invalid([Violation("/support", "support.unknown", detail)]) from None
    with violations:
        check_state(new.kind, support.state)
    with violations:
        if new.student is not None and (await locate_student(work, new.student, "/student")).id != support.student_id:
            raise Invalid([Violation("/student", "decision.student", "The support is another student's.")])
    decision.support_id = support.id
    decision.student_id = support.student_id
    decision.school_ids = support.school_ids
    decision.secured_area = support.secured_area
    with violations:
        decision.verdict_id = await _resolve_verdict(work, new.verdict, support)
    if new.kind in DRAWS_PHASE_LINE:
        decision.phase_id = await _begin_phase(work, new, decision, support, violations)
    elif new.review_on is not None:
        await set_review(work, support, new.review_on)
    elif new.kind == "exit":
        await _end(work, new, decision, support)


async def _end(work: Work, new: NewDecision, decision: Decision, support: Support) -> None:
    because = new.note or "The team decided to end it."
    try:
        await end_support(work, support.id, because, decision.decided_on)
    except Invalid as error:
        raise Invalid([replace(each, pointer=_OF_END[each.pointer]) for each in error.violations]) from None


async def _begin_phase(
    work: Work, new: NewDecision, decision: Decision, support: Support, violations: Violations
) -> UUID:
    change = await _complete_change(work, new, decision, support, violations)
    try:
        return (await response.begin_phase(work, support.id, change, PhaseVerb(new.kind))).id
    except Invalid as error:
        # In a decision's input, the fields of the new plan are nested under `change`.
        placed = [replace(violation, pointer=f"/change{violation.pointer}") for violation in error.violations]
        raise Invalid(placed, code=error.code, detail=error.detail) from None


async def _complete_change(
    work: Work, new: NewDecision, decision: Decision, support: Support, violations: Violations
) -> SupportChange:
    change = new.change or SupportChange(because=new.note or f"The team decided: {new.kind.replace('_', ' ')}.")
    with violations:
        if change.begins_on is None:
            change = with_values(change, begins_on=decision.decided_on)
    with violations:
        if new.kind in ("intensify", "fade"):
            rank, last = await level_rank(work, support), await current_phase(work, support)
            before = Intensity(
                rank, last.minutes_per_session, last.sessions_per_week, last.group_size, last.intervention
            )
            if change.library_entry is not None and change.intervention is None:
                entry = await locate_entry(work, change.library_entry, "/change/library_entry")
                change = with_values(change, intervention=entry.name)
            if change.level is None and not states_intensity(new.kind, before, changed(before, change)):
                change = with_values(change, level=await _next_level(work, new.kind, rank))
            check_intensity(new.kind, before, changed(before, change))
    with violations:
        if new.kind == "raise_goal":
            if support.measure_id is None:
                detail = "This support has no measure, and so no goal: change its review date."
                raise Invalid([Violation("/kind", "decision.no_goal", detail)])
            measure = await measure_by_id(work, support.measure_id)
            check_goal(change.goal, (await current_phase(work, support)).goal, measure.direction)
    return change


async def _next_level(work: Work, kind: str, rank: int) -> int:
    above = kind == "intensify"
    level = await level_beside(work, rank, above=above)
    if level is None:
        detail = f"This support is at the {'highest' if above else 'lowest'} level already."
        raise Invalid([Violation("/kind", "decision.level", detail)])
    return level.rank


async def _resolve_verdict(work: Work, name: str | None, support: Support) -> UUID | None:
    if name is None:
        return await work.db.scalar(
            select(ResponseState.verdict_id).where(
                ResponseState.district_id == work.district_id, ResponseState.support_id == support.id
            )
        )
    verdict_id = await work.db.scalar(
        select(VerdictRow.id).where(
            VerdictRow.district_id == work.district_id,
            VerdictRow.id == ids.parse_id("verdict", name, "/verdict"),
            VerdictRow.support_id == support.id,
        )
    )
    if verdict_id is None:
        raise Invalid([Violation("/verdict", "verdict.unknown", "This support has no such verdict.")])
    return verdict_id


def _emit(work: Work, decision: Decision, support_id: UUID) -> None:
    record(
        work,
        NewEvent(
            type=DECISION_MADE,
            subject_id=decision.id,
            subject_version=1,
            ids={"student": decision.student_id, "support": support_id},
            student_id=decision.student_id,
            school_ids=tuple(decision.school_ids),
            secured_area=decision.secured_area,
        ),
    )
