"""Plans, starts, changes and ends supports. Each change of a support begins a new phase."""

from datetime import date
from typing import Annotated, TypeVar
from uuid import UUID

from sqlalchemy import select

from app.access.permission import Can
from app.access.work import Work, needs
from app.concern.models import Concern
from app.core import ids
from app.core.clock import now, today_in
from app.core.errors import Conflict, Invalid, Violation
from app.core.ids import new_id
from app.core.inputs import About
from app.core.text import require_texts
from app.events.catalogue import (
    SUPPORT_CHANGED,
    SUPPORT_ENDED,
    SUPPORT_PLANNED,
    SUPPORT_STARTED,
)
from app.events.outbox import record
from app.playbook.lookup import (
    area_by_id,
    level_by_id,
    locate_area,
    locate_level,
    locate_measure,
    measure_by_id,
    published,
    secured_code,
)
from app.roster.caseload import assign, release
from app.roster.lookup import locate_staff, zone_of
from app.roster.student_lock import lock_student
from app.support.changes.intensity import Intensity, PhaseChange, PhaseVerb, changes_between
from app.support.inputs import BECAUSE as BECAUSE
from app.support.inputs import NewSupport as NewSupport
from app.support.inputs import SupportChange as SupportChange
from app.support.lookup import current_phase, lock_support
from app.support.models import Phase, Session, Support, SupportConcern
from app.support.phase import add_phase, baseline_from, student_columns, support_event
from app.support.rules import Starts, check_change, check_follow_up, is_ahead, next_state

Number = TypeVar("Number", int, int | None)


@needs(Can.PLAN_SUPPORT, Can.READ_SCORES)
async def plan_support(work: Work, new: NewSupport) -> Support:
    """Plans a support with its first phase, and adds the student to the caseloads of its lead and its provider.

    The support is active at once if it starts by itself and its first day is not in the future.
    """
    require_texts(new)
    if new.starts not in tuple(Starts):
        raise Invalid([Violation("/starts", "support.starts", f"A support starts {' or '.join(Starts)}.")])
    is_due = new.starts == Starts.ON_ITS_DAY and new.starts_on <= today_in(await zone_of(work))
    student = await lock_student(work, new.student, "/student")
    check_follow_up(new)
    measure = None if new.measure is None else await locate_measure(work, new.measure, "/measure")
    level = await locate_level(work, new.level, "/level")
    staff = {
        via: await locate_staff(work, name, f"/{via}")
        for via, name in (("lead", new.lead), ("provider", new.provider))
        if name is not None
    }
    concerns = [await _load_concern(work, name, student.id, place) for place, name in enumerate(new.concerns)]
    area_ids = [concern.area_id for concern in concerns] + ([] if measure is None else [measure.area_id])
    if new.area is None and not area_ids:
        raise Invalid([Violation("/area", "support.area_missing", "A support without a measure names its area.")])
    area = await area_by_id(work, area_ids[0]) if new.area is None else await locate_area(work, new.area, "/area")
    secured_area = await _secured_area_of(work, {area.id, *area_ids})
    support = Support(
        district_id=work.district_id,
        id=new_id(),
        student_id=student.id,
        school_ids=student.school_ids,
        secured_area=secured_area,
        intervention=new.intervention,
        area_id=area.id,
        level_id=level.id,
        measure_id=None if measure is None else measure.id,
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
    baseline = None if measure is None else await baseline_from(work, support, new.baseline, new.starts_on)
    work.db.add(support)
    await work.db.flush()
    await add_phase(
        work,
        support,
        measure,
        Phase(
            number=1,
            level_id=level.id,
            begins_on=new.starts_on,
            baseline=baseline,
            goal=new.goal,
            goal_on=new.goal_on,
            review_on=new.review_on,
            minutes_per_session=new.minutes_per_session,
            sessions_per_week=new.sessions_per_week,
            intervention=new.intervention,
            group_size=new.group_size,
            because="The support as it was planned.",
            verb=PhaseVerb.PLAN,
            changes=[],
        ),
    )
    for concern in concerns:
        work.db.add(SupportConcern(**student_columns(support), support_id=support.id, concern_id=concern.id))
    await work.db.flush()
    for via, person in staff.items():
        await assign(work, person.id, student, via, support.id)
    record(work, support_event(SUPPORT_PLANNED, support))
    if is_due:
        record(work, support_event(SUPPORT_STARTED, support))
    return support


@needs(Can.PLAN_SUPPORT)
async def start_support(work: Work, support_id: UUID, on: date | None = None) -> Support:
    """Makes a planned support active from the day of its first session.

    A support that has started by itself gets another first day, if one is given.
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
    today = today_in(await zone_of(work))
    begins_on = on or min(support.starts_on, today)
    _refuse_future(begins_on, today, "/on")
    if begins_on >= (phase.review_on or phase.goal_on):
        detail = "The date of the goal, or of the review, must be later than this start."
        raise Invalid([Violation("/on", "support.goal_on", detail)])
    support.starts_on = phase.begins_on = begins_on
    support.version += 1
    await work.db.flush()
    record(work, support_event(SUPPORT_STARTED, support))
    return support


@needs(Can.PLAN_SUPPORT, Can.READ_SCORES)
async def change_support(
    work: Work, support_id: UUID, change: SupportChange, verb: PhaseVerb = PhaseVerb.CHANGE
) -> Phase:
    """Ends the current phase and begins the next one, with its own baseline and goal; returns the new phase.

    `verb` is what the team decided. It is kept with the phase, and so is what the change consists of.
    """
    require_texts(change)
    support = await lock_support(work, support_id)
    support.state = next_state(support.state, "change")
    last = await current_phase(work, support)
    today = today_in(await zone_of(work))
    begins_on = change.begins_on or today
    _refuse_future(begins_on, today, "/begins_on")
    if begins_on <= last.begins_on:
        detail = "A phase begins after the one before it began."
        raise Invalid([Violation("/begins_on", "phase.begins_on", detail)])
    check_change(change, has_measure=support.measure_id is not None)
    measure = None if support.measure_id is None else await measure_by_id(work, support.measure_id)
    level_id = last.level_id if change.level is None else (await locate_level(work, change.level, "/level")).id
    baseline = None
    if measure is not None:
        baseline = await baseline_from(work, support, change.baseline, begins_on, otherwise=last.baseline)
        if change.goal is None and not is_ahead(last.goal, baseline, measure.direction):
            detail = "The new phase's baseline meets the present goal already: give a new goal."
            raise Invalid([Violation("/goal", "support.goal_met", detail)])
    last.ends_on = begins_on
    phase = Phase(
        number=last.number + 1,
        level_id=level_id,
        begins_on=begins_on,
        baseline=baseline,
        goal=last.goal if change.goal is None else change.goal,
        goal_on=change.goal_on or last.goal_on,
        review_on=change.review_on or last.review_on,
        minutes_per_session=_changed_or_last(change.minutes_per_session, last.minutes_per_session),
        sessions_per_week=_changed_or_last(change.sessions_per_week, last.sessions_per_week),
        intervention=change.intervention or last.intervention,
        group_size=_changed_or_last(change.group_size, last.group_size),
        because=change.because,
        verb=verb,
    )
    phase.changes = await _changes(work, last, phase, verb)
    support.level_id, support.intervention, support.review_on = level_id, phase.intervention, phase.review_on
    support.version += 1
    await add_phase(work, support, measure, phase)
    record(work, support_event(SUPPORT_CHANGED, support, {"phase": phase.id}))
    return phase


@needs(Can.PLAN_SUPPORT)
async def end_support(
    work: Work,
    support_id: UUID,
    because: Annotated[str, BECAUSE, About("The reason for the end.", "The goal is met.")],
    on: Annotated[date | None, About("The last day; by default, today.", date(2027, 2, 12))] = None,
) -> Support:
    """Ends a planned or active support, and removes the entries that it added to caseloads."""
    BECAUSE.require(because, "/because")
    support = await lock_support(work, support_id)
    was_active, support.state = support.state == "active", next_state(support.state, "end")
    phase = await current_phase(work, support)
    ends_on = on or today_in(await zone_of(work))
    if was_active and ends_on < phase.begins_on:
        raise Invalid([Violation("/on", "support.ends_on", "A support ends after its last phase began.")])
    support.ends_on, phase.ends_on = ends_on, max(ends_on, phase.begins_on)
    support.ended_because, support.unled_since = because, None
    support.version += 1
    await work.db.flush()
    await release(work, support.id)
    record(work, support_event(SUPPORT_ENDED, support))
    return support


async def _secured_area_of(work: Work, area_ids: set[UUID]) -> str | None:
    """Returns the code of the secured area of the support's measure and concerns, or None if none of them is secured.

    Raises `Invalid` for two different secured areas, because a support is protected by one scope only.
    """
    codes = {await secured_code(work, await area_by_id(work, area_id)) for area_id in area_ids} - {None}
    if len(codes) > 1:
        detail = "The measure and the concerns lie in different secured areas: plan a support for each."
        raise Invalid([Violation("/concerns", "support.secured_areas", detail)])
    return next(iter(codes), None)


async def _refuse_other_start(work: Work, phase: Phase, on: date | None) -> None:
    """Raises an error if an active support cannot begin on the day `on`, because of a later phase or of a session."""
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


async def _changes(work: Work, last: Phase, phase: Phase, verb: PhaseVerb) -> list[str]:
    """Returns what distinguishes a phase from the one before it, as codes."""
    ranks = [(await level_by_id(work, level_id)).rank for level_id in (last.level_id, phase.level_id)]
    before, after = (
        Intensity(rank, row.minutes_per_session, row.sessions_per_week, row.group_size, row.intervention)
        for rank, row in zip(ranks, (last, phase), strict=True)
    )
    codes = [str(code) for code in changes_between(before, after, verb)]
    return [*codes, str(PhaseChange.OTHER_GOAL)] if (last.goal, last.goal_on) != (phase.goal, phase.goal_on) else codes


def _changed_or_last(changed: Number, last: Number) -> Number:
    return last if changed is None else changed


async def _load_concern(work: Work, name: str, student_id: UUID, place: int) -> Concern:
    pointer = f"/concerns/{place}"
    concern = await work.db.scalar(
        select(Concern).where(
            Concern.district_id == work.district_id,
            Concern.id == ids.parse_id("concern", name, pointer),
            Concern.student_id == student_id,
        )
    )
    if concern is None:
        raise Invalid([Violation(pointer, "concern.unknown", "There is no such concern about this student.")])
    if concern.state != "accepted":
        raise Invalid([Violation(pointer, "concern.state", "A support answers concerns that are accepted.")])
    return concern
