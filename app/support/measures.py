"""Adds measures to a support, in addition to its first one, and ends their tracking. Judges no scores.

In each phase, the first measure has the phase's own goal, and each additional measure has a goal too.
"""

from dataclasses import dataclass, replace
from datetime import date
from typing import Annotated, Any, Final
from uuid import UUID

from sqlalchemy import select

from app.access.permission import Can
from app.access.work import Work, needs
from app.core.clock import now
from app.core.errors import Conflict, Invalid, Violation
from app.core.ids import new_id
from app.core.inputs import About
from app.core.violations import Violations, known_values
from app.events.catalogue import SUPPORT_MEASURE_ADDED, SUPPORT_MEASURE_STOPPED
from app.events.outbox import record
from app.playbook.lookup import area_by_id, locate_measure, measure_by_id, secured_code
from app.playbook.models import Measure
from app.roster.lookup import today_of
from app.support.lookup import current_phase, lock_support
from app.support.models import Phase, PhaseGoal, Support, SupportMeasure
from app.support.phase import baseline_from, set_rates, student_columns, support_event
from app.support.rules import is_ahead, violations_of

MAX_MEASURES: Final = 5
"""The largest number of measures of a support. The stated false-alarm rate is divided among these measures."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewSupportMeasure:
    """A measure in addition to the first one of a support, with its goal in the present phase."""

    measure: Annotated[str, About("The measure: a code or an id.", "maze")]
    goal: Annotated[float, About("The value at which its aimline ends, in the measure's unit.", 18.0)]
    goal_on: Annotated[
        date | None, About("The day on which its aimline reaches the goal; by default, the phase's.", date(2027, 2, 12))
    ] = None
    baseline: Annotated[
        float | None,
        About("The value at which its aimline begins; by default, the median of the last three scores.", 9.0),
    ] = None
    confirm_rate: Annotated[
        bool,
        About("Whether the goal is meant although it requires more growth than the norms call realistic.", False),
    ] = False


@needs(Can.PLAN_SUPPORT, Can.READ_SCORES)
async def follow_measure(work: Work, support_id: UUID, new: NewSupportMeasure) -> Support:
    """Adds a measure to a support that has a measure already. The added measure is followed from today on.

    If the present phase begins later, the measure is followed from the first day of the phase.

    Raises `Conflict` if the support has ended, is suspended or has no first measure. Raises `Invalid` if the measure
    cannot be added in the present phase, or if its goal is impossible.
    """
    support = await lock_support(work, support_id)
    if support.state not in ("planned", "active"):
        raise Conflict("The support has ended or is suspended.", code="support.state")
    if support.measure_id is None:
        detail = "This support is reviewed. A support with a first measure and a goal can have further ones."
        raise Conflict(detail, code="support.no_measure")
    violations, phase, accepted = Violations(), await current_phase(work, support), known_values(new)
    today = await today_of(work)
    begins_on = max(today, phase.begins_on)
    plan: dict[str, Any] = {
        "begins_on": begins_on,
        "goal_on": accepted.get("goal_on") or phase.goal_on,
        "minutes_per_session": phase.minutes_per_session,
        "sessions_per_week": phase.sessions_per_week,
    }
    if "goal" in accepted:
        plan["goal"] = accepted["goal"]
    with violations:
        if plan["goal_on"] > phase.goal_on:
            detail = "An additional measure reaches its goal by the day of the phase's goal."
            raise Invalid([Violation("/goal_on", "support.goal_on", detail)])
    with violations:
        measure = await locate_measure(work, new.measure, "/measure")
        await _check_measure(work, support, phase, measure)
        plan |= {name: getattr(measure, name) for name in ("direction", "lowest", "highest")}
        plan["baseline"] = await baseline_from(work, support.student_id, [measure.id], new.baseline, begins_on)
    violations.add(violations_of(plan))
    violations.refuse()
    row = await _row_of(work, support, measure, begins_on)
    goal = _goal_of(support, row, phase, plan["baseline"], plan["goal"], plan["goal_on"], begins_on)
    await set_rates(work, support, measure, goal, last=None, confirm_rate=new.confirm_rate)
    work.db.add(goal)
    if measure.id not in support.more_measures:
        support.more_measures = [*support.more_measures, measure.id]
    support.version += 1
    await work.db.flush()
    record(work, support_event(SUPPORT_MEASURE_ADDED, support, {"measure": measure.id}))
    return support


@needs(Can.PLAN_SUPPORT)
async def stop_measure(
    work: Work, support_id: UUID, measure: Annotated[str, About("The measure: a code or an id.", "maze")]
) -> Support:
    """Ends the tracking of an additional measure of a support as of today.

    The measure's scores and verdicts are kept.
    """
    support = await lock_support(work, support_id)
    stopped = await locate_measure(work, measure, "/measure")
    if stopped.id not in support.more_measures:
        detail = "The support is not followed by this as an additional measure."
        raise Invalid([Violation("/measure", "support.measure_not_followed", detail)])
    row = await work.db.scalar(
        select(SupportMeasure).where(
            SupportMeasure.district_id == work.district_id,
            SupportMeasure.support_id == support.id,
            SupportMeasure.measure_id == stopped.id,
        )
    )
    if row is not None:
        row.followed_until = max(await today_of(work), row.followed_from)
        row.version += 1
    support.more_measures = [measure_id for measure_id in support.more_measures if measure_id != stopped.id]
    support.version += 1
    await work.db.flush()
    record(work, support_event(SUPPORT_MEASURE_STOPPED, support, {"measure": stopped.id}))
    return support


@needs(Can.PLAN_SUPPORT, Can.READ_SCORES)
async def carry_goals_over(work: Work, support: Support, last: Phase, phase: Phase, *, confirm_rate: bool) -> None:
    """Copies the goals of additional measures from the last phase to a new phase, each with a new baseline.

    A phase itself has a goal, that of the support's first measure. The support's additional measures have goals too,
    and only these are copied.

    The new baseline is the median of the last three scores; with fewer scores, the baseline of the last phase is kept.
    A copied goal keeps its date. But if it was due together with the last phase's own goal, it becomes due together
    with the new phase's own goal.

    A goal is not copied if the new baseline already meets it, if its date is less than 7 days after the first day of
    the new phase, or if its date is after the date of the new phase's own goal. The measure is then not judged until
    somebody sets a goal for it. Without `confirm_rate`, a copied goal that requires more growth than the norms call
    realistic raises `Invalid`.
    """
    if not support.more_measures:
        return
    goals = await work.db.scalars(
        select(PhaseGoal)
        .where(
            PhaseGoal.district_id == work.district_id,
            PhaseGoal.phase_id == last.id,
            PhaseGoal.measure_id.in_(support.more_measures),
        )
        .order_by(PhaseGoal.id)
    )
    for before in goals:
        measure = await measure_by_id(work, before.measure_id)
        row = await _row_of(work, support, measure, phase.begins_on)
        baseline = await baseline_from(
            work, support.student_id, [measure.id], None, phase.begins_on, otherwise=before.baseline
        )
        goal_on = phase.goal_on if before.goal_on == last.goal_on else before.goal_on
        has_time = (goal_on - phase.begins_on).days >= 7 and goal_on <= phase.goal_on
        if not has_time or not is_ahead(before.goal, baseline, measure.direction):
            continue
        goal = _goal_of(support, row, phase, baseline, before.goal, goal_on, phase.begins_on)
        try:
            await set_rates(work, support, measure, goal, last=before, confirm_rate=confirm_rate)
        except Invalid as error:
            placed = [
                replace(each, pointer="/confirm_rate", detail=f"{measure.name}: {each.detail}")
                for each in error.violations
            ]
            raise Invalid(placed, code=error.code, detail=f"{measure.name}: {error.detail}") from None
        work.db.add(goal)
    await work.db.flush()


@needs(Can.PLAN_SUPPORT)
async def set_rates_anew(work: Work, support: Support, phase: Phase) -> None:
    """Updates the goals of additional measures after the first day of their phase has changed.

    Each goal gets the phase's first day, and the rates of growth that follow from it.
    """
    if not support.more_measures:
        return
    goals = await work.db.scalars(
        select(PhaseGoal).where(PhaseGoal.district_id == work.district_id, PhaseGoal.phase_id == phase.id)
    )
    for goal in goals:
        goal.begins_on = phase.begins_on
        measure = await measure_by_id(work, goal.measure_id)
        await set_rates(work, support, measure, goal, last=None, confirm_rate=True)
    await work.db.flush()


async def _check_measure(work: Work, support: Support, phase: Phase, measure: Measure) -> None:
    """Raises `Invalid` if the measure cannot be added to the support in this phase."""
    has_goal = select(PhaseGoal.id).where(
        PhaseGoal.district_id == work.district_id,
        PhaseGoal.phase_id == phase.id,
        PhaseGoal.measure_id == measure.id,
    )
    if measure.id == support.measure_id or (
        measure.id in support.more_measures and await work.db.scalar(has_goal) is not None
    ):
        detail = "The support is followed by this measure already. Another goal is a change: a new phase."
        raise Invalid([Violation("/measure", "support.measure_followed", detail)])
    if await work.db.scalar(has_goal) is not None:
        detail = "The measure was followed in this phase before. It can be followed again in the next phase."
        raise Invalid([Violation("/measure", "support.measure_stopped", detail)])
    if 1 + len({*support.more_measures, measure.id}) > MAX_MEASURES:
        detail = f"A support has at most {MAX_MEASURES} measures."
        raise Invalid([Violation("/measure", "support.too_many_measures", detail)])
    secured = await secured_code(work, await area_by_id(work, measure.area_id))
    if secured not in (None, support.secured_area):
        detail = "The measure lies in another secured area than the support: plan a support for it."
        raise Invalid([Violation("/measure", "support.secured_areas", detail)])


async def _row_of(work: Work, support: Support, measure: Measure, begins_on: date) -> SupportMeasure:
    """Returns the row that says since when a support has been followed by an additional measure.

    Creates the row if it is missing, and reopens it if the tracking has ended.
    """
    row = await work.db.scalar(
        select(SupportMeasure).where(
            SupportMeasure.district_id == work.district_id,
            SupportMeasure.support_id == support.id,
            SupportMeasure.measure_id == measure.id,
        )
    )
    if row is None:
        row = SupportMeasure(
            **student_columns(support),
            id=new_id(),
            support_id=support.id,
            measure_id=measure.id,
            followed_from=begins_on,
            created_at=now(),
            version=1,
        )
        work.db.add(row)
    elif row.followed_until is not None:
        row.followed_until = None
        row.version += 1
    await work.db.flush()
    return row


def _goal_of(
    support: Support,
    row: SupportMeasure,
    phase: Phase,
    baseline: float,
    goal: float,
    goal_on: date,
    begins_on: date,
) -> PhaseGoal:
    return PhaseGoal(
        **student_columns(support),
        id=new_id(),
        support_id=support.id,
        support_measure_id=row.id,
        phase_id=phase.id,
        measure_id=row.measure_id,
        begins_on=begins_on,
        baseline=baseline,
        goal=goal,
        goal_on=goal_on,
    )
