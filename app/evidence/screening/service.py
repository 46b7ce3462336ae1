"""Schedules, moves and cancels screening windows. Refuses windows of the same measure and school that overlap."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Annotated
from uuid import UUID

from sqlalchemy import any_, cast, or_, select

from app.access.permission import Can
from app.access.principal import Reach
from app.access.work import Work, needs
from app.core.clock import now
from app.core.district_lock import WAIT_FOR_LOCK, DistrictLock
from app.core.errors import Forbidden, Invalid, NotFound, Violation
from app.core.ids import new_id
from app.core.inputs import About, AtMost, Choices
from app.core.violations import Violations, day_violations, input_violations
from app.events.catalogue import (
    SCREENING_CANCELLED,
    SCREENING_MOVED,
    SCREENING_SCHEDULED,
    EventType,
    NewEvent,
)
from app.events.outbox import record
from app.evidence.screening.models import ScreeningExpectation, ScreeningWindow
from app.evidence.screening.rules import (
    MAX_GRADES,
    MAX_MEASURES,
    WindowGroup,
    WindowState,
    require_changeable,
    school_year_of,
    violations_of_days,
    violations_of_grades,
)
from app.playbook.benchmarks.rules import Season
from app.playbook.lookup import locate_measure
from app.roster.lookup import IdList, find_row
from app.roster.models import Org
from app.roster.references import parse

OPENS = About("The first day of the window.", date(2026, 9, 8))
CLOSES = About("The first day after the window, on which its results are kept.", date(2026, 9, 26))
OUT_OF_REACH = "A client or person of some schools schedules windows of these schools only."


@dataclass(frozen=True, slots=True)
class ExpectedMeasure:
    """A measure by which the students of some grades are to be screened."""

    measure: Annotated[str, About("The measure: a code or an id.", "orf")]
    grades: Annotated[
        tuple[str, ...], AtMost(MAX_GRADES, least=1), About("The grades, as in the roster.", ("02", "03"))
    ]


@dataclass(frozen=True, slots=True)
class NewWindow:
    """A screening window to be scheduled."""

    season: Annotated[str, Choices(Season), About("The season, which names the norms of the window.", "fall")]
    opens_on: Annotated[date, OPENS]
    closes_on: Annotated[date, CLOSES]
    expected: Annotated[
        tuple[ExpectedMeasure, ...], AtMost(MAX_MEASURES, least=1), About("Who is screened, and by which measures.")
    ]
    school: Annotated[
        str | None,
        About(
            "The school: an id, or an external id `sis:<source>:<sourcedId>`; null for all schools.",
            "org_01jq4n6d9zf3vbs0x5k2m7e8tc",
        ),
    ] = None
    group_by: Annotated[
        str | None,
        Choices(WindowGroup),
        About("The demographic group by which the reports of the window may count.", "sex"),
    ] = None


@needs(Can.SCHEDULE_SCREENING)
async def schedule_screening_window(work: Work, new: NewWindow) -> ScreeningWindow:
    """Schedules a screening window. Refuses a window that overlaps another window of the same measure and school.

    A window of all schools overlaps the windows of each single school on the same days.
    """
    await work.db.execute(WAIT_FOR_LOCK, {"district": work.district_id, "name": DistrictLock.SCREENING})
    violations = Violations(input_violations(new))
    with violations:
        violations.add(violations_of_days(new.opens_on, new.closes_on))
    measures: list[UUID] = []
    with violations:
        measures = await _measures_of(work, new.expected)
    with violations:
        school_id = await _school_of(work, new.school)
        await _refuse_overlap(work, measures, school_id, new.opens_on, new.closes_on)
    violations.refuse()
    window = ScreeningWindow(
        district_id=work.district_id,
        id=new_id(),
        season=new.season,
        school_year=school_year_of(new.opens_on),
        school_id=school_id,
        opens_on=new.opens_on,
        closes_on=new.closes_on,
        group_by=new.group_by,
        state=WindowState.SCHEDULED,
        scheduled_by=work.principal.person_id,
        created_at=now(),
        version=1,
    )
    work.db.add(window)
    await work.db.flush()
    for measure_id, expected in zip(measures, new.expected, strict=True):
        grades = [grade.strip() for grade in expected.grades]
        row = ScreeningExpectation(
            district_id=work.district_id, id=new_id(), window_id=window.id, measure_id=measure_id, grades=grades
        )
        work.db.add(row)
    await work.db.flush()
    emit_window_event(work, SCREENING_SCHEDULED, window)
    return window


@needs(Can.SCHEDULE_SCREENING)
async def move_screening_window(
    work: Work,
    window_id: UUID,
    opens_on: Annotated[date | None, OPENS] = None,
    closes_on: Annotated[date | None, CLOSES] = None,
) -> ScreeningWindow:
    """Moves a window to other days; raises `Conflict` if it was closed or cancelled."""
    window = await _lock_window(work, window_id)
    violations = Violations()
    with violations:
        violations.add(day_violations(opens_on, "/opens_on"))
    with violations:
        violations.add(day_violations(closes_on, "/closes_on"))
    with violations:
        opens, closes = opens_on or window.opens_on, closes_on or window.closes_on
        violations.add(violations_of_days(opens, closes))
        measures = await work.db.scalars(
            select(ScreeningExpectation.measure_id)
            .where(ScreeningExpectation.district_id == work.district_id, ScreeningExpectation.window_id == window.id)
            .order_by(ScreeningExpectation.id)
        )
        await _refuse_overlap(work, list(measures), window.school_id, opens, closes, window.id)
    violations.refuse()
    window.opens_on, window.closes_on, window.school_year = opens, closes, school_year_of(opens)
    return await _changed(work, window, SCREENING_MOVED)


@needs(Can.SCHEDULE_SCREENING)
async def cancel_screening_window(work: Work, window_id: UUID) -> ScreeningWindow:
    """Cancels a window; raises `Conflict` if it was closed or cancelled. The scores that were taken in it stay."""
    window = await _lock_window(work, window_id)
    window.state = WindowState.CANCELLED
    return await _changed(work, window, SCREENING_CANCELLED)


def emit_window_event(work: Work, type_: EventType, window: ScreeningWindow) -> None:
    """Records an event about a screening window. The event names no student."""
    schools = () if window.school_id is None else (window.school_id,)
    record(work, NewEvent(type_, window.id, window.version, {}, school_ids=schools))


async def _changed(work: Work, window: ScreeningWindow, type_: EventType) -> ScreeningWindow:
    window.version += 1
    await work.db.flush()
    emit_window_event(work, type_, window)
    return window


async def _lock_window(work: Work, window_id: UUID) -> ScreeningWindow:
    await work.db.execute(WAIT_FOR_LOCK, {"district": work.district_id, "name": DistrictLock.SCREENING})
    query = select(ScreeningWindow).where(
        ScreeningWindow.district_id == work.district_id, ScreeningWindow.id == window_id
    )
    window = await work.db.scalar(query.with_for_update().execution_options(populate_existing=True))
    if window is None:
        raise NotFound("screening_window")
    _require_reach(work, window.school_id)
    require_changeable(window.state)
    return window


async def _school_of(work: Work, name: str | None) -> UUID | None:
    school_id = None
    if name is not None:
        school = await find_row(work, Org, parse("org", name, "/school"), "/school", Org.type == "school")
        if school.removed_at is not None:
            raise Invalid([Violation("/school", "org.unknown", "This school is no longer on the roster.")])
        school_id = school.id
    _require_reach(work, school_id)
    return school_id


def _require_reach(work: Work, school_id: UUID | None) -> None:
    principal = work.principal
    if principal.reach is not Reach.DISTRICT and (
        principal.reach is not Reach.SCHOOLS or school_id not in principal.schools
    ):
        raise Forbidden(OUT_OF_REACH, code="screening.out_of_reach")


async def _measures_of(work: Work, expected: Sequence[ExpectedMeasure]) -> list[UUID]:
    """Returns the ids of the expected measures, in order; raises `Invalid` with every violation."""
    violations = Violations()
    measures: list[UUID] = []
    for position, one in enumerate(expected):
        at = f"/expected/{position}"
        with violations:
            measure_id = (await locate_measure(work, one.measure, f"{at}/measure")).id
            if measure_id in measures:
                detail = "This measure is expected before. Name all of its grades there."
                violations.add([Violation(f"{at}/measure", "screening.same_measure", detail)])
            measures.append(measure_id)
        with violations:
            violations.add(violations_of_grades(one.grades, f"{at}/grades"))
    violations.refuse()
    return measures


async def _refuse_overlap(
    work: Work,
    measures: Sequence[UUID],
    school_id: UUID | None,
    opens_on: date,
    closes_on: date,
    window_id: UUID | None = None,
) -> None:
    """Raises `Invalid` if another window has one of these measures, on one of these days, in the same school."""
    query = (
        select(ScreeningExpectation.measure_id, ScreeningWindow.opens_on, ScreeningWindow.closes_on)
        .join(
            ScreeningWindow,
            (ScreeningWindow.district_id == ScreeningExpectation.district_id)
            & (ScreeningWindow.id == ScreeningExpectation.window_id),
        )
        .where(
            ScreeningExpectation.district_id == work.district_id,
            ScreeningWindow.district_id == work.district_id,
            ScreeningExpectation.measure_id == any_(cast(list(measures), IdList)),
            ScreeningWindow.state != WindowState.CANCELLED,
            ScreeningWindow.opens_on < closes_on,
            ScreeningWindow.closes_on > opens_on,
        )
    )
    if school_id is not None:
        query = query.where(or_(ScreeningWindow.school_id == school_id, ScreeningWindow.school_id.is_(None)))
    if window_id is not None:
        query = query.where(ScreeningWindow.id != window_id)
    violations = []
    for measure_id, opens, closes in sorted((await work.db.execute(query)).all(), key=lambda row: row[1]):
        at = "/opens_on" if window_id is not None else f"/expected/{measures.index(measure_id)}/measure"
        detail = f"Another window of this measure is open from {opens} until {closes}. Choose days beside it."
        violations.append(Violation(at, "screening.overlap", detail))
    if violations:
        raise Invalid(violations)
