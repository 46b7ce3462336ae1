"""Plans, starts, changes and ends supports. Each change of a support begins a new phase."""

from datetime import date
from typing import Annotated, Any, TypeVar
from uuid import UUID

from sqlalchemy import select

from app.access.permission import Can
from app.access.work import Work, needs
from app.concern.models import Concern
from app.core.clock import now
from app.core.errors import Conflict, Invalid, Violation
from app.core.ids import new_id
from app.core.inputs import About
from app.core.violations import Violations, day_violations, input_violations, known_values
from app.events.catalogue import (
    SUPPORT_CHANGED,
    SUPPORT_ENDED,
    SUPPORT_PLANNED,
    SUPPORT_STARTED,
)
from app.events.outbox import record
from app.intervention.lookup import locate_entry
from app.intervention.models import Intervention
from app.playbook.lookup import (
    area_by_id,
    level_by_id,
    locate_area_in_force,
    locate_level,
    locate_measure,
    measure_by_id,
    published,
    require_in_force,
    secured_code,
)
from app.playbook.models import Area, Measure
from app.roster.lookup import locate_present_staff, today_of
from app.roster.models import Person
from app.roster.student_lock import lock_student
from app.support.changes.inputs import BECAUSE as BECAUSE
from app.support.changes.inputs import NewSupport as NewSupport
from app.support.changes.inputs import SupportChange as SupportChange
from app.support.changes.intensity import Intensity, PhaseChange, PhaseVerb, changes_between
from app.support.changes.rates import RateCheck
from app.support.changes.services import follow_services
from app.support.lookup import current_phase, locate_concern, lock_support, require_present_student
from app.support.measures import carry_goals_over, set_rates_anew
from app.support.models import Phase, Session, Support, SupportConcern
from app.support.phase import add_phase, baseline_from, set_rates, student_columns, support_event
from app.support.rules import (
    Starts,
    check_change,
    check_follow_up,
    check_group_size,
    is_ahead,
    next_state,
    violations_of,
    violations_of_review,
)
from app.team.caseload import assign, release

_PLANNED = ("begins_on", "baseline", "goal", "goal_on", "review_on", "minutes_per_session", "sessions_per_week")
"""The columns of a phase that come from its plan."""
_OF_MEASURE = ("direction", "lowest", "highest")
"""The columns of a measure against which a plan is validated."""
DEPARTED = "This student has left. A support is planned when the student is back."
Number = TypeVar("Number", int, int | None)


@needs(Can.PLAN_SUPPORT, Can.READ_SCORES)
async def plan_support(work: Work, new: NewSupport) -> Support:
    """Plans a support with its first phase, and adds the student to the caseloads of its lead and its provider.

    The support is active at once if `starts` is `on_its_day` and its first day is not in the future.
    """
    violations, plan = Violations(input_violations(new)), _planned_values(new)
    measured: list[Measure] = []
    concerns: list[Concern] = []
    areas: list[Area] = []
    with violations:
        is_due = _is_due(new, await today_of(work))
    with violations:
        check_follow_up(new)
    with violations:
        check_group_size(new.group_size)
    with violations:
        if new.measure is not None:
            measured.append(measure := await locate_measure(work, new.measure, "/measure"))
            plan |= {name: getattr(measure, name) for name in _OF_MEASURE}
    with violations:
        if new.area is not None:
            areas.append(await locate_area_in_force(work, new.area, "/area"))
        elif new.measure is None and not new.concerns:
            raise Invalid([Violation("/area", "support.area_missing", "A support without a measure names its area.")])
    with violations:
        student = await lock_student(work, new.student, "/student")
        if student.removed_at is not None:
            raise Invalid([Violation("/student", "student.departed", DEPARTED)])
        for place, name in enumerate(new.concerns):
            with violations:
                concerns.append(await locate_concern(work, name, student.id, place))
        with violations:
            if new.measure is not None and (measured or new.baseline is not None):
                measure_ids = [each.id for each in measured]
                plan["baseline"] = await baseline_from(work, student.id, measure_ids, new.baseline, new.starts_on)
    area_ids = [
        *(area.id for area in areas),
        *(concern.area_id for concern in concerns),
        *(measure.area_id for measure in measured),
    ]
    with violations:
        secured_area = await _secured_area_of(work, set(area_ids))
    entries: list[Intervention] = []
    with violations:
        if new.library_entry is not None:
            entries.append(await locate_entry(work, new.library_entry, "/library_entry"))
        elif new.intervention is None:
            detail = "A support names an entry of the library, or its intervention in words."
            raise Invalid([Violation("/intervention", "support.intervention_missing", detail)])
    with violations:
        if area_ids:
            require_in_force(await area_by_id(work, area_ids[0]), "/area")
    with violations:
        level = await locate_level(work, new.level, "/level")
    staff: dict[str, Person] = {}
    for via in ("lead", "provider"):
        with violations:
            if (staff_name := getattr(new, via)) is not None:
                staff[via] = await locate_present_staff(work, staff_name, f"/{via}")
    is_reviewed = known_values(new).get("measure", "") is None
    violations.add(violations_of_review(plan) if is_reviewed else violations_of(plan))
    violations.refuse()
    area = await area_by_id(work, area_ids[0])
    intervention = new.intervention or entries[0].name
    intervention_id = entries[0].id if entries else None
    support = Support(
        district_id=work.district_id,
        id=new_id(),
        student_id=student.id,
        school_ids=student.school_ids,
        secured_area=secured_area,
        intervention=intervention,
        intervention_id=intervention_id,
        area_id=area.id,
        level_id=level.id,
        measure_id=measured[0].id if measured else None,
        more_measures=[],
        suspended_on=[],
        resumed_on=[],
        review_on=new.review_on,
        state="active" if is_due else "planned",
        lead_id=staff["lead"].id if "lead" in staff else None,
        provider_id=staff["provider"].id if "provider" in staff else None,
        starts_on=new.starts_on,
        starts=new.starts,
        playbook_version_id=(await published(work)).id,
        created_at=now(),
        version=1,
    )
    work.db.add(support)
    await work.db.flush()
    phase = Phase(
        number=1,
        level_id=level.id,
        intervention=intervention,
        intervention_id=intervention_id,
        group_size=new.group_size,
        because="The support as it was planned.",
        verb=PhaseVerb.PLAN,
        changes=[],
        **{name: plan.get(name) for name in _PLANNED},
    )
    measure_or_none = measured[0] if measured else None
    await add_phase(work, support, measure_or_none, phase, confirm_rate=new.confirm_rate)
    for concern in concerns:
        work.db.add(SupportConcern(**student_columns(support), support_id=support.id, concern_id=concern.id))
    await work.db.flush()
    for via, person in staff.items():
        await assign(work, person.id, student, via, support.id)
    record(work, support_event(SUPPORT_PLANNED, support))
    if is_due:
        await follow_services(work, [support.id] if concerns else ())
        record(work, support_event(SUPPORT_STARTED, support))
    return support


@needs(Can.PLAN_SUPPORT)
async def start_support(work: Work, support_id: UUID, on: date | None = None, confirm_rate: bool = False) -> Support:
    """Makes a planned support active, from its first day on, which `on` can set.

    If the support has already become active by itself on its planned first day, `on` replaces this day. A later first
    day leaves less time until the goal date, so the student has to grow more each week. Raises `Invalid` if this is
    more growth than the norms call realistic, unless `confirm_rate` is true or the growth of the phase was confirmed
    before.
    """
    support = await lock_support(work, support_id)
    has_started_by_itself = support.state == "active" and support.starts == Starts.ON_ITS_DAY
    if has_started_by_itself and on in (None, support.starts_on):
        return support
    phase = await current_phase(work, support)
    if has_started_by_itself:
        await _refuse_other_start(work, phase, on)
    else:
        support.state = next_state(support.state, "start")
        await require_present_student(work, support)
    today = await today_of(work)
    begins_on = on or min(support.starts_on, today)
    violations = Violations(day_violations(on, "/on"))
    with violations:
        _refuse_future(begins_on, today, "/on")
        if begins_on >= (phase.review_on or phase.goal_on):
            detail = "The date of the goal, or of the review, must be later than this start."
            raise Invalid([Violation("/on", "support.goal_on", detail)])
    violations.refuse()
    if begins_on != phase.begins_on:
        phase.begins_on = begins_on
        is_confirmed = confirm_rate or phase.rate_check == RateCheck.CONFIRMED
        if support.measure_id is not None:
            measure = await measure_by_id(work, support.measure_id)
            await set_rates(work, support, measure, phase, last=None, confirm_rate=is_confirmed)
            await set_rates_anew(work, support, phase)
    support.starts_on = begins_on
    support.version += 1
    await follow_services(work, [support.id])
    record(work, support_event(SUPPORT_STARTED, support))
    return support


@needs(Can.PLAN_SUPPORT, Can.READ_SCORES)
async def change_support(
    work: Work, support_id: UUID, change: SupportChange, verb: PhaseVerb = PhaseVerb.CHANGE
) -> Phase:
    """Ends the current phase of a support and begins the next one, with a baseline and a goal of its own.

    Returns the new phase. `verb` is what the team decided. The new phase stores `verb`, and how it differs from the
    phase before it.
    """
    violations = Violations(input_violations(change))
    support = await lock_support(work, support_id)
    support.state = next_state(support.state, "change")
    last = await current_phase(work, support)
    today = await today_of(work)
    measure = None if support.measure_id is None else await measure_by_id(work, support.measure_id)
    plan = _changed_plan(change, last)
    if measure is not None:
        plan |= {name: getattr(measure, name) for name in _OF_MEASURE}
    with violations:
        check_change(change, has_measure=measure is not None)
    with violations:
        check_group_size(change.group_size)
    with violations:
        plan["begins_on"] = begins_on = change.begins_on or today
        _refuse_future(begins_on, today, "/begins_on")
        if begins_on <= last.begins_on:
            detail = "A phase begins after the one before it began."
            raise Invalid([Violation("/begins_on", "phase.begins_on", detail)])
    with violations:
        level_id = last.level_id if change.level is None else (await locate_level(work, change.level, "/level")).id
    with violations:
        if measure is not None:
            plan["baseline"] = baseline = await baseline_from(
                work, support.student_id, [measure.id], change.baseline, change.begins_on or today, last.baseline
            )
            if change.goal is None and not is_ahead(last.goal, baseline, measure.direction):
                del plan["goal"]
                detail = "The new phase's baseline meets the present goal already: give a new goal."
                raise Invalid([Violation("/goal", "support.goal_met", detail)])
    violations.add(violations_of_review(plan) if measure is None else violations_of(plan))
    entry = None
    with violations:
        if change.library_entry is not None:
            entry = await locate_entry(work, change.library_entry, "/library_entry")
    violations.refuse()
    last.ends_on = begins_on
    phase = Phase(
        number=last.number + 1,
        level_id=level_id,
        intervention=change.intervention or (last.intervention if entry is None else entry.name),
        # New free text without an entry is another intervention, which no longer belongs to an entry of the library.
        intervention_id=entry.id if entry else None if change.intervention else last.intervention_id,
        group_size=_changed_or_last(change.group_size, last.group_size),
        because=change.because,
        verb=verb,
        **{name: plan.get(name) for name in _PLANNED},
    )
    phase.changes = await _changes(work, last, phase, verb)
    support.level_id, support.intervention, support.review_on = level_id, phase.intervention, phase.review_on
    support.intervention_id = phase.intervention_id
    support.version += 1
    await add_phase(work, support, measure, phase, last=last, confirm_rate=change.confirm_rate)
    await carry_goals_over(work, support, last, phase, confirm_rate=change.confirm_rate)
    record(work, support_event(SUPPORT_CHANGED, support, {"phase": phase.id}))
    return phase


@needs(Can.PLAN_SUPPORT)
async def end_support(
    work: Work,
    support_id: UUID,
    because: Annotated[str, BECAUSE, About("The reason for the end.", "The goal is met.")],
    on: Annotated[date | None, About("The last day; by default, today.", date(2027, 2, 12))] = None,
) -> Support:
    """Ends a planned or active support, and removes the caseload entries that existed because of it."""
    violations = Violations(day_violations(on, "/on"))
    with violations:
        BECAUSE.require(because, "/because")
    support = await lock_support(work, support_id)
    was_active, support.state = support.state == "active", next_state(support.state, "end")
    phase = await current_phase(work, support)
    ends_on = on or await today_of(work)
    with violations:
        if was_active and ends_on < phase.begins_on:
            raise Invalid([Violation("/on", "support.ends_on", "A support ends after its last phase began.")])
    violations.refuse()
    support.ends_on, phase.ends_on = ends_on, max(ends_on, phase.begins_on)
    support.ended_because, support.unled_since = because, None
    support.version += 1
    await follow_services(work, [support.id])
    await release(work, support.id)
    record(work, support_event(SUPPORT_ENDED, support))
    return support


async def _secured_area_of(work: Work, area_ids: set[UUID]) -> str | None:
    """Returns the code of the secured area to which the areas of a support belong, or None if there is none.

    `area_ids` are the areas of the support's measure and concerns. Raises `Invalid` if they lie in two secured areas,
    because a support is protected by one scope only.
    """
    codes = {await secured_code(work, await area_by_id(work, area_id)) for area_id in area_ids} - {None}
    if len(codes) > 1:
        detail = "The measure and the concerns lie in different secured areas: plan a support for each."
        raise Invalid([Violation("/concerns", "support.secured_areas", detail)])
    return next(iter(codes), None)


async def _refuse_other_start(work: Work, phase: Phase, on: date | None) -> None:
    """Raises an error if the first day of an active support cannot be moved to `on`.

    It cannot be moved if a second phase has begun, or if a session was recorded for a day before `on`.
    """
    if phase.number > 1:
        raise Conflict("This support was changed since it began.", code="support.state")
    session = select(Session.id).where(
        Session.district_id == work.district_id,
        Session.support_id == phase.support_id,
        Session.held_on < on,
        Session.removed_at.is_(None),
    )
    if await work.db.scalar(session.limit(1)) is not None:
        detail = "A session was recorded before this day."
        raise Invalid([Violation("/on", "support.session_before", detail)])


def _refuse_future(day: date, today: date, pointer: str) -> None:
    if day > today:
        detail = "A phase begins today or earlier; a later start is part of the plan."
        raise Invalid([Violation(pointer, "support.in_the_future", detail)])


def _planned_values(new: NewSupport) -> dict[str, Any]:
    """Returns the planned values of the first phase, for validation. Leaves out the baseline and malformed values."""
    accepted = {name: value for name, value in known_values(new).items() if value is not None}
    values = {name: accepted[name] for name in _PLANNED if name in accepted and name != "baseline"}
    return values | ({"begins_on": accepted["starts_on"]} if "starts_on" in accepted else {})


def _changed_plan(change: SupportChange, last: Phase) -> dict[str, Any]:
    """Returns the planned values of a new phase, for validation. Unchanged values are taken from the last phase. The
    first day, the baseline and malformed values are left out.
    """
    values = {
        name: getattr(last, name) if value is None else value
        for name, value in known_values(change).items()
        if name in _PLANNED and name not in ("begins_on", "baseline")
    }
    return {name: value for name, value in values.items() if value is not None}


def _is_due(new: NewSupport, today: date) -> bool:
    """Returns whether a new support becomes active at once; raises `Invalid` if `starts` is unknown."""
    if new.starts not in tuple(Starts):
        raise Invalid([Violation("/starts", "support.starts", f"A support starts {' or '.join(Starts)}.")])
    return new.starts == Starts.ON_ITS_DAY and new.starts_on <= today


async def _changes(work: Work, last: Phase, phase: Phase, verb: PhaseVerb) -> list[str]:
    """Returns codes that say how a phase differs from the phase before it, such as `more_sessions`."""
    ranks = [(await level_by_id(work, level_id)).rank for level_id in (last.level_id, phase.level_id)]
    before, after = (
        Intensity(rank, row.minutes_per_session, row.sessions_per_week, row.group_size, row.intervention)
        for rank, row in zip(ranks, (last, phase), strict=True)
    )
    codes = [str(code) for code in changes_between(before, after, verb)]
    return [*codes, str(PhaseChange.OTHER_GOAL)] if (last.goal, last.goal_on) != (phase.goal, phase.goal_on) else codes


def _changed_or_last(changed: Number, last: Number) -> Number:
    return last if changed is None else changed
