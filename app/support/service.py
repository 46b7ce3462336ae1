"""Plans, starts, changes and ends supports. Each change of a support begins a new phase.

This file exceeds 250 lines because each input states its description and an example.
"""

from dataclasses import dataclass
from datetime import date
from typing import Annotated, Any
from uuid import UUID

from sqlalchemy import select

from app.access.permission import Can
from app.access.work import Work, needs
from app.concern.models import Concern
from app.core import ids
from app.core.clock import now
from app.core.errors import Invalid, Violation
from app.core.ids import new_id
from app.core.inputs import About, AtMost
from app.core.text import Text
from app.core.violations import Violations, day_violations, input_violations, known_values
from app.events.catalogue import (
    SUPPORT_CHANGED,
    SUPPORT_ENDED,
    SUPPORT_PLANNED,
    SUPPORT_STARTED,
)
from app.events.outbox import record
from app.playbook.lookup import (
    area_by_id,
    locate_level,
    locate_measure,
    measure_by_id,
    published,
    secured_code,
)
from app.playbook.models import Measure
from app.roster.lookup import locate_staff, today_of
from app.roster.models import Person
from app.roster.student_lock import lock_student
from app.support.lookup import current_phase, lock_support
from app.support.models import Phase, Support, SupportConcern
from app.support.phase import add_phase, baseline_from, set_rates, student_columns, support_event
from app.support.rules import RateCheck, is_ahead, next_state, violations_of
from app.team.caseload import assign, release


@dataclass(frozen=True, slots=True)
class NewSupport:
    """The input of `plan_support`. `level` is a rank. If `baseline` is None, the median of the last three scores is
    used.
    """

    student: Annotated[
        str,
        About("The student: an id, or an external id `sis:<source>:<sourcedId>`.", "stu_01jq4n6d9zf3vbs0x5k2m7e8ta"),
    ]
    intervention: Annotated[
        str,
        Text(min=1, max=400),
        About("The intervention, such as repeated reading.", "Repeated reading with feedback"),
    ]
    level: Annotated[int, About("The rank of a level: 2 is targeted by default.", 2)]
    measure: Annotated[str, About("The measure that follows the response: a code or an id.", "orf")]
    starts_on: Annotated[date, About("The first day.", date(2026, 9, 21))]
    goal: Annotated[float, About("The value at which the aimline ends, in the measure's unit.", 70.0)]
    goal_on: Annotated[date, About("The day on which the aimline reaches the goal.", date(2027, 2, 12))]
    minutes_per_session: Annotated[int, About("The planned minutes of a session.", 30)]
    sessions_per_week: Annotated[int, About("The planned sessions of a week.", 4)]
    baseline: Annotated[
        float | None,
        About("The value at which the aimline begins; by default, the median of the last three scores.", 42.0),
    ] = None
    concerns: Annotated[
        tuple[str, ...],
        AtMost(100),
        About("The ids of the accepted concerns that it answers.", ("con_01jq4n6d9zf3vbs0x5k2m7e8te",)),
    ] = ()
    lead: Annotated[
        str | None,
        About(
            "The person who leads the support: an id, or an external id `sis:<source>:<sourcedId>`.",
            "per_01jq4n6d9zf3vbs0x5k2m7e8tb",
        ),
    ] = None
    provider: Annotated[
        str | None,
        About(
            "Who provides it: an id, or an external id `sis:<source>:<sourcedId>`.", "per_01jq4n6d9zf3vbs0x5k2m7e8tb"
        ),
    ] = None
    confirm_rate: Annotated[
        bool,
        About("Whether the goal is meant although it requires more growth than the norms call realistic.", False),
    ] = False


@dataclass(frozen=True, slots=True)
class SupportChange:
    """The input of `change_support`: the plan of the new phase, and the day on which this phase begins.

    `begins_on` and `baseline` have the defaults that their descriptions state. Any other field that is None keeps its
    current value.
    """

    because: Annotated[
        str, Text(min=1, max=4000), About("The reason for the change.", "Four scores below the aimline.")
    ]
    begins_on: Annotated[
        date | None, About("The first day of the new phase; by default, today.", date(2026, 11, 30))
    ] = None
    level: Annotated[int | None, About("The rank of the new level.", 3)] = None
    goal: Annotated[float | None, About("The new goal.", 75.0)] = None
    goal_on: Annotated[date | None, About("The new day of the goal.", date(2027, 3, 12))] = None
    baseline: Annotated[
        float | None,
        About("The value at which the new aimline begins; by default, the median of the last three scores.", 46.0),
    ] = None
    minutes_per_session: Annotated[int | None, About("The new number of minutes of a session.", 40)] = None
    sessions_per_week: Annotated[int | None, About("The new number of sessions in a week.", 5)] = None
    confirm_rate: Annotated[
        bool,
        About("Whether the goal is meant although it requires more growth than the norms call realistic.", False),
    ] = False


_PLANNED = ("begins_on", "baseline", "goal", "goal_on", "minutes_per_session", "sessions_per_week")
"""The values of a phase that its plan states."""
_OF_MEASURE = ("direction", "lowest", "highest")
"""The values of a measure against which a plan is validated."""
BECAUSE = Text(min=1, max=4000)
"""The length limits of the reason for which a support ends."""


@needs(Can.PLAN_SUPPORT, Can.READ_SCORES)
async def plan_support(work: Work, new: NewSupport) -> Support:
    """Plans a support with its first phase, and adds the student to the caseloads of its lead and its provider."""
    violations, plan = Violations(input_violations(new)), _planned_values(new)
    measured: list[Measure] = []
    concerns: list[Concern] = []
    with violations:
        measured.append(measure := await locate_measure(work, new.measure, "/measure"))
        plan |= {name: getattr(measure, name) for name in _OF_MEASURE}
    with violations:
        student = await lock_student(work, new.student, "/student")
        for place, name in enumerate(new.concerns):
            with violations:
                concerns.append(await _load_concern(work, name, student.id, place))
        with violations:
            if measured or new.baseline is not None:
                measure_ids = [each.id for each in measured]
                plan["baseline"] = await baseline_from(work, student.id, measure_ids, new.baseline, new.starts_on)
    with violations:
        areas = {measure.area_id for measure in measured} | {concern.area_id for concern in concerns}
        secured_area = await _secured_area_of(work, areas)
    with violations:
        level = await locate_level(work, new.level, "/level")
    staff: dict[str, Person] = {}
    for via in ("lead", "provider"):
        with violations:
            if (staff_name := getattr(new, via)) is not None:
                staff[via] = await locate_staff(work, staff_name, f"/{via}")
    violations.add(violations_of(plan))
    violations.refuse()
    area = await area_by_id(work, concerns[0].area_id if concerns else measure.area_id)
    support = Support(
        district_id=work.district_id,
        id=new_id(),
        student_id=student.id,
        school_ids=student.school_ids,
        secured_area=secured_area,
        intervention=new.intervention,
        area_id=area.id,
        level_id=level.id,
        measure_id=measure.id,
        state="planned",
        lead_id=staff["lead"].id if "lead" in staff else None,
        provider_id=staff["provider"].id if "provider" in staff else None,
        starts_on=new.starts_on,
        playbook_version_id=(await published(work)).id,
        created_at=now(),
        version=1,
    )
    work.db.add(support)
    await work.db.flush()
    planned = {name: plan[name] for name in _PLANNED}
    because = "The support as it was planned."
    phase = Phase(number=1, level_id=level.id, because=because, **planned)
    await add_phase(work, support, measure, phase, confirm_rate=new.confirm_rate)
    for concern in concerns:
        work.db.add(SupportConcern(**student_columns(support), support_id=support.id, concern_id=concern.id))
    await work.db.flush()
    for via, person in staff.items():
        await assign(work, person.id, student, via, support.id)
    record(work, support_event(SUPPORT_PLANNED, support))
    return support


@needs(Can.PLAN_SUPPORT)
async def start_support(work: Work, support_id: UUID, on: date | None = None, confirm_rate: bool = False) -> Support:
    """Makes a planned support active from the day of its first session.

    A later start requires more growth a week. If this is above the norms, it must be confirmed too.
    """
    support = await lock_support(work, support_id)
    support.state = next_state(support.state, "start")
    phase = await current_phase(work, support)
    today = await today_of(work)
    begins_on = on or min(support.starts_on, today)
    violations = Violations(day_violations(on, "/on"))
    with violations:
        _refuse_future(begins_on, today, "/on")
        if begins_on >= phase.goal_on:
            raise Invalid([Violation("/on", "support.goal_on", "The goal's date must be later than this start.")])
    violations.refuse()
    if begins_on != phase.begins_on:
        phase.begins_on = begins_on
        is_confirmed = confirm_rate or phase.rate_check == RateCheck.CONFIRMED
        measure = await measure_by_id(work, support.measure_id)
        await set_rates(work, support, measure, phase, last=None, confirm_rate=is_confirmed)
    support.starts_on = begins_on
    support.version += 1
    await work.db.flush()
    record(work, support_event(SUPPORT_STARTED, support))
    return support


@needs(Can.PLAN_SUPPORT, Can.READ_SCORES)
async def change_support(work: Work, support_id: UUID, change: SupportChange) -> Phase:
    """Ends the current phase and begins the next one, with its own baseline and goal; returns the new phase."""
    violations = Violations(input_violations(change))
    support = await lock_support(work, support_id)
    support.state = next_state(support.state, "change")
    last = await current_phase(work, support)
    today = await today_of(work)
    measure = await measure_by_id(work, support.measure_id)
    plan = _changed_plan(change, last) | {name: getattr(measure, name) for name in _OF_MEASURE}
    with violations:
        plan["begins_on"] = begins_on = change.begins_on or today
        _refuse_future(begins_on, today, "/begins_on")
        if begins_on <= last.begins_on:
            detail = "A phase begins after the one before it began."
            raise Invalid([Violation("/begins_on", "phase.begins_on", detail)])
    with violations:
        level_id = last.level_id if change.level is None else (await locate_level(work, change.level, "/level")).id
    with violations:
        plan["baseline"] = baseline = await baseline_from(
            work, support.student_id, [measure.id], change.baseline, change.begins_on or today, otherwise=last.baseline
        )
        if change.goal is None and not is_ahead(last.goal, baseline, measure.direction):
            del plan["goal"]
            detail = "The new phase's baseline meets the present goal already: give a new goal."
            raise Invalid([Violation("/goal", "support.goal_met", detail)])
    violations.add(violations_of(plan))
    violations.refuse()
    last.ends_on = begins_on
    support.level_id = level_id
    support.version += 1
    planned = {name: plan[name] for name in _PLANNED}
    phase = Phase(number=last.number + 1, level_id=level_id, because=change.because, **planned)
    await add_phase(work, support, measure, phase, last=last, confirm_rate=change.confirm_rate)
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
    support.ended_because = because
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


def _refuse_future(day: date, today: date, pointer: str) -> None:
    if day > today:
        detail = "A phase begins today or earlier; a later start is part of the plan."
        raise Invalid([Violation(pointer, "support.in_the_future", detail)])


def _planned_values(new: NewSupport) -> dict[str, Any]:
    """Returns the values of the first phase, except those that were refused by their shape, and the baseline."""
    known = known_values(new)
    values = {name: known[name] for name in _PLANNED if name in known and name != "baseline"}
    return values | ({"begins_on": known["starts_on"]} if "starts_on" in known else {})


def _changed_plan(change: SupportChange, last: Phase) -> dict[str, Any]:
    """Returns the values of a new phase, except those that were refused by their shape, its start and its baseline."""
    return {
        name: getattr(last, name) if value is None else value
        for name, value in known_values(change).items()
        if name in _PLANNED and name not in ("begins_on", "baseline")
    }


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
