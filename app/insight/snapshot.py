"""Opens screening windows on their first day, and closes windows whose last day is past. A worker runs this.

When a window is closed, its results and counts are stored.
"""

from collections.abc import Collection, Mapping
from uuid import UUID

import orjson
from sqlalchemy import Text, bindparam, or_, select

from app.access.permission import Can
from app.access.work import Work, needs
from app.core.clock import now
from app.core.db import plan_for_many_rows
from app.core.district_lock import WAIT_FOR_LOCK, DistrictLock
from app.core.ids import new_id
from app.events.catalogue import SCREENING_CLOSED, SCREENING_OPENED
from app.evidence.screening.cuts import ExpectedInWindow, expected_in, suggested_levels
from app.evidence.screening.models import ScreeningWindow
from app.evidence.screening.rules import WindowState
from app.evidence.screening.service import emit_window_event
from app.insight.counts import count_atoms, published_cells
from app.insight.joint import (
    GRADE,
    GROUP,
    LEVEL,
    SCHOOL,
    EarlierReports,
    counted_grades,
    find_published_together,
    lasting_cells,
    of_schools,
    without_group,
)
from app.insight.models import ScreeningCount
from app.insight.results import ResultsQuery, results_of
from app.insight.rules import DIMENSIONS, Atom, Cell, count_cells
from app.insight.statements import EXPECTED_STUDENTS, KEEP
from app.playbook.lookup import published
from app.roster.lookup import IdList, today_of
from app.roster.student_lock import lock_students


@needs(Can.MAINTAIN)
async def update_windows(work: Work) -> int:
    """Opens all windows whose first day has come, and closes at most one window whose last day is past.

    Returns the number of windows that were opened or closed.
    """
    await work.db.execute(WAIT_FOR_LOCK, {"district": work.district_id, "name": DistrictLock.SCREENING})
    today = await today_of(work)
    windows = (ScreeningWindow.district_id == work.district_id, ScreeningWindow.opens_on <= today)
    due = select(ScreeningWindow).where(*windows, ScreeningWindow.state == WindowState.SCHEDULED)
    opened = list(await work.db.scalars(due.order_by(ScreeningWindow.opens_on, ScreeningWindow.id)))
    for window in opened:
        window.state = WindowState.OPEN
        window.version += 1
        emit_window_event(work, SCREENING_OPENED, window)
    await work.db.flush()
    past = select(ScreeningWindow).where(
        *windows, ScreeningWindow.state == WindowState.OPEN, ScreeningWindow.closes_on <= today
    )
    # Only one window is closed in a transaction, because its results can be rows about all students of a district.
    closing = await work.db.scalar(past.order_by(ScreeningWindow.closes_on, ScreeningWindow.id).limit(1))
    if closing is not None:
        await _close(work, closing)
    return len(opened) + (closing is not None)


async def _close(work: Work, window: ScreeningWindow) -> None:
    await plan_for_many_rows(work.db)
    expected, _ = await expected_in(work, window)
    results = await _locked_results(work, window, expected)
    await _keep_results(work, expected, results)
    await _keep_counts(work, window, expected, results)
    window.state, window.closed_at = WindowState.CLOSED, now()
    window.playbook_number = (await published(work)).number
    window.version += 1
    await work.db.flush()
    emit_window_event(work, SCREENING_CLOSED, window)


async def _locked_results(work: Work, window: ScreeningWindow, expected: Collection[ExpectedInWindow]) -> ResultsQuery:
    """Locks the students of a window, and returns the query for their results.

    The lock keeps a sync from moving a student to another school while the results are stored. A student who is added
    to the roster after the lock is not in the results.
    """
    expectations, levels = list(expected), await suggested_levels(work)
    statement, values = results_of(work, window, expectations, levels).statement(EXPECTED_STUDENTS)
    locked = await lock_students(work, list(await work.db.scalars(statement, values)))
    results = results_of(work, window, expectations, levels, students=" AND p.id = ANY (:locked)")
    return results.having([bindparam("locked", type_=IdList)], {"locked": sorted(locked)})


async def _keep_results(work: Work, expected: Collection[ExpectedInWindow], results: ResultsQuery) -> None:
    salt = new_id().hex
    secured = [{"measure_id": str(one.measure.id), "secured": one.secured_area} for one in expected]
    values = {"salt": salt, "stamp": f"{salt[:12]}7", "secured": orjson.dumps(secured).decode()}
    parameters = [bindparam(name, type_=Text) for name in values]
    statement, parameters_of = results.having(parameters, values).statement(KEEP)
    await work.db.execute(statement, parameters_of)


async def _keep_counts(
    work: Work, window: ScreeningWindow, expected: Collection[ExpectedInWindow], results: ResultsQuery
) -> None:
    """Stores the counts of each measure that may be published.

    The counts that earlier windows of the same school year have published are taken into account, so that no small
    count can be computed.
    """
    atoms = await count_atoms(work, window, results)
    secured = {one.measure.id: one.secured_area for one in expected}
    earlier = await _earlier_reports(work, window, atoms)
    for measure_id, cells_of in find_published_together(atoms, earlier).items():
        work.db.add_all(
            _row(work, window, measure_id, cell, students, secured[measure_id]) for cell, students in cells_of.items()
        )
    await work.db.flush()


async def _earlier_reports(
    work: Work, window: ScreeningWindow, atoms: Mapping[UUID, Mapping[Atom, int]]
) -> EarlierReports:
    """Returns the `EarlierReports`: the results of earlier windows on which this window's report depends.

    These are the closed windows of the same school year that counted students of the same schools. A window that
    published nothing is left out. `atoms` has the counts of the present window.
    """
    query = select(ScreeningWindow).where(
        ScreeningWindow.district_id == work.district_id,
        ScreeningWindow.school_year == window.school_year,
        ScreeningWindow.state == WindowState.CLOSED,
    )
    if window.school_id is not None:
        query = query.where(or_(ScreeningWindow.school_id.is_(None), ScreeningWindow.school_id == window.school_id))
    grades_now = frozenset().union(*(counted_grades(counts) for counts in atoms.values()))
    by_measure: dict[UUID, set[Cell]] = {}
    withheld_of_all: set[Cell] = set()
    grades: set[frozenset[str]] = set()
    apart: set[str] = set()
    for earlier in list(await work.db.scalars(query.order_by(ScreeningWindow.id))):
        if not (shown := await published_cells(work, earlier)):
            continue
        expected, _ = await expected_in(work, earlier)
        results = results_of(work, earlier, expected, await suggested_levels(work))
        for measure_id, counts in (await count_atoms(work, earlier, results)).items():
            withheld = count_cells(counts).keys() - shown.get(measure_id, {}).keys()
            if earlier.group_by != window.group_by:
                withheld = without_group(withheld)
            if earlier.school_id is not None and window.school_id is None:
                withheld = of_schools(withheld)
            by_measure.setdefault(measure_id, set()).update(withheld)
            withheld_of_all |= lasting_cells(withheld)
            counted = counted_grades(counts)
            if measure_id in shown:
                grades.add(counted)
            if earlier.school_id != window.school_id and counted & grades_now:
                apart.add(str(earlier.school_id or window.school_id))
    return EarlierReports(by_measure, withheld_of_all, grades, apart)


def _row(
    work: Work, window: ScreeningWindow, measure_id: UUID, cell: Cell, students: int, secured_area: str | None
) -> ScreeningCount:
    values = dict(zip(cell[0], cell[1], strict=True))
    school = values.get(SCHOOL)
    return ScreeningCount(
        district_id=work.district_id,
        id=new_id(),
        window_id=window.id,
        measure_id=measure_id,
        school_id=UUID(school) if school else None,
        grade=values.get(GRADE),
        level=values.get(LEVEL),
        group_value=values.get(GROUP),
        dimensions=[DIMENSIONS[position].value for position in cell[0]],
        students=students,
        secured_area=secured_area,
    )
