"""Counts a screening window's students by up to two dimensions.

Small counts are withheld, and so are counts from which a small count could be computed.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import select

from app.access.principal import Reach
from app.access.work import Work
from app.evidence.screening.cuts import ExpectedInWindow, SuggestedLevels
from app.evidence.screening.models import ScreeningWindow
from app.evidence.screening.rules import WindowGroup
from app.insight.joint import without_small_rests
from app.insight.models import ScreeningCount
from app.insight.results import ResultsQuery, results_of
from app.insight.rules import DIMENSIONS, Atom, Cell, Dimension, find_published
from app.insight.statements import ATOMS


@dataclass(frozen=True, slots=True)
class ReportedCount:
    """A published count of students, which a report shows in a table, such as grades by schools.

    `school_id`, `grade`, `level` and `group` say which students are counted. A value is None if the students are not
    divided by it. `share` is `students` divided by the number of students in the same row of the table. If there are
    fewer than two dimensions, it is divided by the number of all students.
    """

    measure_id: UUID
    school_id: UUID | None
    grade: str | None
    level: str | None
    group: str | None
    students: int
    share: float


def open_counts(
    atoms_by_measure: Mapping[UUID, Mapping[Atom, int]], dimensions: Sequence[Dimension]
) -> tuple[list[ReportedCount], bool]:
    """Returns the published counts of an open window, and whether some are withheld.

    `atoms_by_measure` has, for each measure, the number of students with each combination of school, grade, level and
    group.
    """
    counts, withheld = [], False
    for measure_id, atoms in atoms_by_measure.items():
        published = find_published(atoms)
        total = sum(atoms.values())
        listed = counts_of(measure_id, published, dimensions)
        withheld |= sum(one.students for one in listed) < total
        counts += listed
    return counts, withheld


async def kept_counts(
    work: Work,
    window: ScreeningWindow,
    expected: Sequence[ExpectedInWindow],
    levels: SuggestedLevels,
    dimensions: Sequence[Dimension],
) -> tuple[list[ReportedCount], bool]:
    """Returns the counts that were published when the window closed, and whether some were withheld.

    Counts of schools that the caller may not see are left out. A caller who does not see the whole district knows the
    students whom the caller may list. Such a caller could subtract these from a count, so a count is also withheld if
    that would reveal a small count of the other students.
    """
    counts, withheld = [], False
    kept = await published_cells(work, window)
    others = None
    if kept and work.principal.reach is not Reach.DISTRICT:
        others = await _count_others(work, window, expected, levels)
    for measure_id, published in kept.items():
        shown = published
        if others is not None:
            schools = (
                {str(school) for school in work.principal.schools} if work.principal.reach is Reach.SCHOOLS else ()
            )
            shown = without_small_rests(published, others.get(measure_id, {}), schools)
        listed = counts_of(measure_id, published, dimensions)
        withheld |= sum(one.students for one in listed) < published.get(((), ()), 0)
        seen = [one for one in listed if _sees_school(work, one.school_id)]
        allowed = counts_of(measure_id, shown, dimensions)
        withheld |= len(allowed) < len(seen)
        counts += allowed
    return counts, withheld


async def _count_others(
    work: Work, window: ScreeningWindow, expected: Sequence[ExpectedInWindow], levels: SuggestedLevels
) -> dict[UUID, Counter[Atom]]:
    """Returns how many students that the caller may not list have each combination of dimensions, keyed by measure."""
    own = await count_atoms(work, window, results_of(work, window, expected, levels))
    async with work.as_district("report"):
        every = await count_atoms(work, window, results_of(work, window, expected, levels))
    return {measure_id: Counter(atoms) - Counter(own.get(measure_id, {})) for measure_id, atoms in every.items()}


async def count_atoms(work: Work, window: ScreeningWindow, results: ResultsQuery) -> dict[UUID, dict[Atom, int]]:
    """Returns for each measure how many students have each combination of school, grade, level and group.

    The group is the demographic group by which the window is counted, if any.
    """
    statement, values = results.statement(ATOMS, **group_of(window))
    return atoms_of(await work.db.execute(statement, values))


def group_of(window: ScreeningWindow) -> dict[str, str]:
    """Returns SQL for the demographic group of a student, by which the students of this window are counted.

    The key `group` has the expression for the group, and `join` has the join that this expression needs. If the window
    is not counted by a group, the expression is the empty text for every student.
    """
    if window.group_by is None:
        return {"group": "''", "join": ""}
    column = WindowGroup(window.group_by).value
    join = (
        " LEFT JOIN demographics AS d ON d.district_id = :district AND d.person_id = r.student_id"
        " AND d.removed_at IS NULL"
    )
    return {"group": f"coalesce(CAST(d.{column} AS text), '')", "join": join}


def atoms_of(rows: Iterable[Any]) -> dict[UUID, dict[Atom, int]]:
    """Converts the rows of a counting statement into a count for each combination of school, grade, level and group.

    The counts are keyed by measure, then by combination.
    """
    atoms: dict[UUID, dict[Atom, int]] = {}
    for row in rows:
        level = "not_screened" if not row.screened else "no_cut" if row.level is None else str(row.level)
        school = "" if row.school_id is None else str(row.school_id)
        atoms.setdefault(row.measure_id, {})[school, row.grade or "", level, row.group_value] = row.students
    return atoms


def counts_of(measure_id: UUID, published: Mapping[Cell, int], dimensions: Sequence[Dimension]) -> list[ReportedCount]:
    """Returns the published counts of students by the given dimensions, each with its share.

    With two dimensions, the counts form a table: each value of the first dimension is a row, and `share` is relative to
    the total of the row. With one dimension or none, `share` is relative to all students.
    """
    place = tuple(sorted(DIMENSIONS.index(dimension) for dimension in dimensions))
    counts = []
    for (cell_place, values), students in published.items():
        if cell_place != place:
            continue
        named = dict(zip((DIMENSIONS[position] for position in place), values, strict=True))
        row: Cell = ((), ())
        if len(dimensions) > 1:
            row = ((DIMENSIONS.index(dimensions[0]),), (named[dimensions[0]],))
        if row not in published:  # the share would reveal the total
            continue
        school = named.get(Dimension.SCHOOL)
        counts.append(
            ReportedCount(
                measure_id,
                UUID(school) if school else None,
                named.get(Dimension.GRADE),
                named.get(Dimension.LEVEL),
                named.get(Dimension.GROUP),
                students,
                students / published[row],
            )
        )
    return counts


def _sees_school(work: Work, school_id: UUID | None) -> bool:
    principal = work.principal
    if school_id is None or principal.reach is Reach.DISTRICT:
        return True
    return principal.reach is Reach.SCHOOLS and school_id in principal.schools


async def published_cells(work: Work, window: ScreeningWindow) -> dict[UUID, dict[Cell, int]]:
    """Returns the cells that were published when a window closed, with their counts, keyed by measure."""
    rows = await work.db.scalars(
        select(ScreeningCount)
        .where(ScreeningCount.district_id == work.district_id, ScreeningCount.window_id == window.id)
        .order_by(ScreeningCount.id)
    )
    cells: dict[UUID, dict[Cell, int]] = {}
    for row in rows:
        place = tuple(DIMENSIONS.index(Dimension(name)) for name in row.dimensions)
        school = "" if row.school_id is None else str(row.school_id)
        values = (school, row.grade or "", row.level or "", row.group_value or "")
        cells.setdefault(row.measure_id, {})[place, tuple(values[position] for position in place)] = row.students
    return cells
