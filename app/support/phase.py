"""Creates phases, and builds what all rows and events about a support have in common.

The functions check no permission of their own: the calling command has checked one.
"""

from collections.abc import Mapping, Sequence
from datetime import date
from uuid import UUID

from sqlalchemy import select

from app.access.work import Work
from app.core.clock import monday_of
from app.core.errors import Invalid, Violation
from app.core.ids import new_id
from app.events.catalogue import EventType, NewEvent
from app.events.outbox import student_event
from app.evidence.queries import last_values
from app.evidence.rules import baseline_of
from app.playbook.benchmarks.lookup import growth_norm
from app.playbook.models import Measure
from app.roster.calendar import counted, weeks_between, weeks_of_schools
from app.roster.lookup import today_of
from app.roster.models import Person
from app.support.changes.rates import RequiredRate, check_rate
from app.support.lookup import current_phase
from app.support.models import Phase, PhaseGoal, Support
from app.support.rules import unexpected_review, violations_of_review

GoalRow = Phase | PhaseGoal
"""A row that has a goal with an aimline: a phase, or the goal of an additional measure in a phase."""


async def baseline_from(
    work: Work,
    student_id: UUID,
    measure_ids: Sequence[UUID],
    given: float | None,
    begins_on: date,
    otherwise: float | None = None,
) -> float:
    """Returns the baseline of a phase: the value at which its aimline begins.

    This is `given` if it is set. Otherwise it is the median of the student's last three scores before `begins_on` on
    the first of `measure_ids`, or `otherwise` if there are fewer than three. Raises `Invalid` if there is no baseline.
    """
    if given is not None:
        return given
    baseline = baseline_of(await last_values(work, student_id, measure_ids[0], begins_on))
    if baseline is None:
        baseline = otherwise
    if baseline is None:
        detail = "There are fewer than three scores before the start to compute a baseline from: give one."
        raise Invalid([Violation("/baseline", "support.baseline_missing", detail)])
    return baseline


async def add_phase(
    work: Work,
    support: Support,
    measure: Measure | None,
    phase: Phase,
    *,
    last: Phase | None = None,
    confirm_rate: bool = False,
) -> Phase:
    """Adds a phase to a support and returns it. The caller has validated the plan of the phase.

    `last` is the phase before the new phase. Without `confirm_rate`, raises `Invalid` if the goal requires more growth
    than the norms call realistic.
    """
    if measure is not None:
        await set_rates(work, support, measure, phase, last=last, confirm_rate=confirm_rate)
    for name, value in student_columns(support).items():
        setattr(phase, name, value)
    phase.id, phase.support_id = new_id(), support.id
    work.db.add(phase)
    await work.db.flush()
    return phase


async def set_review(work: Work, support: Support, review_on: date) -> None:
    """Sets the date on which a support without a measure is reviewed next.

    Raises `Invalid` if the support has a measure, or if the date has passed.
    """
    phase = await current_phase(work, support)
    today = await today_of(work)
    if support.measure_id is not None:
        raise Invalid([unexpected_review()])
    plan = {"begins_on": max(phase.begins_on, today), "review_on": review_on}
    dose = {"minutes_per_session": phase.minutes_per_session, "sessions_per_week": phase.sessions_per_week}
    violations_of_review(plan | dose).refuse()
    support.review_on = phase.review_on = review_on
    support.version += 1
    await work.db.flush()


async def set_rates(
    work: Work, support: Support, measure: Measure, phase: GoalRow, *, last: GoalRow | None, confirm_rate: bool
) -> None:
    """Computes the growth per week that a goal requires, and stores it in the row of the goal.

    Also stores the growth that the norms call realistic and, if the previous goal (`last`) is given, the growth that
    the previous goal required. Raises `Invalid` if the goal requires more growth than the norms call realistic, unless
    `confirm_rate` is true.
    """
    grades = await work.db.scalar(
        select(Person.grades).where(Person.district_id == work.district_id, Person.id == support.student_id)
    )
    norm = await growth_norm(work, measure, grades or ())
    weeks = await _weeks_of_phases(work, support, [phase] if last is None else [phase, last])
    required = RequiredRate(
        direction=measure.direction,
        lowest=measure.lowest,
        highest=measure.highest,
        unit=measure.unit,
        baseline=phase.baseline,
        goal=phase.goal,
        weeks=weeks[0],
        realistic=None if norm is None else norm.rate,
        source="" if norm is None else norm.citation,
    )
    phase.rate_check = check_rate(required, confirmed=confirm_rate).value
    phase.required_rate = required.rate
    phase.realistic_rate = None if norm is None else required.sign * norm.rate
    phase.benchmark_id = None if norm is None else norm.benchmark_id
    if last is not None:
        phase.required_rate_before = (last.goal - last.baseline) / weeks[1]


async def _weeks_of_phases(work: Work, support: Support, phases: Sequence[GoalRow]) -> list[int]:
    """Returns, for each phase, the number of weeks of instruction from its beginning to the date of its goal.

    The number is at least 1. The weeks are counted in the same way as when scores are judged.
    """
    first = min(phase.begins_on for phase in phases)
    calendars = await weeks_of_schools(work, support.school_ids, first, max(phase.goal_on for phase in phases))
    calendar = next((calendars[school] for school in support.school_ids if school in calendars), [])
    numbers = []
    for phase in phases:
        weeks = counted([week for week in calendar if week[0] >= monday_of(phase.begins_on)])
        numbers.append(max(weeks_between(weeks, phase.begins_on, phase.goal_on), 1))
    return numbers


def student_columns(support: Support) -> dict[str, object]:
    """Returns the columns that every row about a support copies from the support, such as district and student."""
    return {
        "district_id": support.district_id,
        "student_id": support.student_id,
        "school_ids": support.school_ids,
        "secured_area": support.secured_area,
    }


def support_event(type_: EventType, support: Support, more: Mapping[str, UUID] | None = None) -> NewEvent:
    """Returns an event about a support. `more` has ids that the event names in addition to the usual ones."""
    return student_event(type_, support, more)
