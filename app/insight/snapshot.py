"""Opens screening windows on their first day, and closes windows whose last day is past. A worker runs this.

When a window is closed, its results and counts are stored.
"""

from collections.abc import Collection
from typing import Final
from uuid import UUID

import orjson
from sqlalchemy import Text, bindparam, select

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
from app.insight.models import ScreeningCount
from app.insight.results import ResultsQuery, results_of
from app.insight.rules import DIMENSIONS, Cell, count_cells, find_published
from app.insight.statements import EXPECTED_STUDENTS, KEEP
from app.playbook.lookup import published
from app.roster.lookup import IdList, today_of
from app.roster.student_lock import lock_students

SCHOOL, GRADE, LEVEL, GROUP = range(len(DIMENSIONS))
LASTING: Final = frozenset({SCHOOL, GRADE, GROUP})
"""The dimensions in which a student has the same value for every measure of a window.

In these dimensions, the counts of one measure could therefore reveal counts that are withheld for another measure.
"""


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
    """Stores the published counts of each measure. A cell that was withheld in an earlier window stays withheld.

    Only earlier windows of the same school year with the same demographic group matter.
    """
    atoms = await count_atoms(work, window, results)
    secured = {one.measure.id: one.secured_area for one in expected}
    own, lasting = await _withheld_before(work, window)
    kept: dict[UUID, dict[Cell, int]] = {}
    size = -1
    while size != len(lasting):
        # A cell without a level has the same students for every measure, so it is withheld for all measures or none.
        size = len(lasting)
        for measure_id, counts in atoms.items():
            kept[measure_id] = find_published(counts, lasting | own.get(measure_id, set()))
            lasting |= _lasting(count_cells(counts).keys() - kept[measure_id].keys())
    for measure_id, cells_of in kept.items():
        work.db.add_all(
            _row(work, window, measure_id, cell, students, secured[measure_id]) for cell, students in cells_of.items()
        )
    await work.db.flush()


async def _withheld_before(work: Work, window: ScreeningWindow) -> tuple[dict[UUID, set[Cell]], set[Cell]]:
    """Returns the cells that earlier windows of the same school year withheld.

    Only windows that counted by the same demographic group as `window` are considered.

    * The first result is keyed by measure. Its cells stay withheld for that measure.
    * The second result has cells that stay withheld for all measures. These are cells that are not divided by level,
      such as the number of students of a school: their count is the same for every measure.
    """
    query = select(ScreeningWindow).where(
        ScreeningWindow.district_id == work.district_id,
        ScreeningWindow.school_year == window.school_year,
        ScreeningWindow.state == WindowState.CLOSED,
        ScreeningWindow.group_by.is_not_distinct_from(window.group_by),
    )
    own: dict[UUID, set[Cell]] = {}
    lasting: set[Cell] = set()
    for earlier in list(await work.db.scalars(query.order_by(ScreeningWindow.id))):
        shown = await published_cells(work, earlier)
        expected, _ = await expected_in(work, earlier)
        results = results_of(work, earlier, expected, await suggested_levels(work))
        for measure_id, counts in (await count_atoms(work, earlier, results)).items():
            withheld = count_cells(counts).keys() - shown.get(measure_id, {}).keys()
            own.setdefault(measure_id, set()).update(withheld)
            lasting |= _lasting(withheld)
    return own, lasting


def _lasting(cells: Collection[Cell]) -> set[Cell]:
    return {cell for cell in cells if cell[0] and LASTING.issuperset(cell[0])}


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
