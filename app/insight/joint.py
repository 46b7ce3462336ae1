"""Withholds counts of a screening window that could be computed as the difference of two published counts. Pure.

A single report is safe by itself (see `find_published`). But the same children are counted by several measures, and in
several windows of a school year. The difference of two such counts could be a count under 10. This module withholds
counts until no difference reveals such a count.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Final
from uuid import UUID

from app.insight.rules import DIMENSIONS, Atom, Cell, count_cells, find_published

SCHOOL, GRADE, LEVEL, GROUP = range(len(DIMENSIONS))
LASTING: Final = frozenset({SCHOOL, GRADE, GROUP})
"""The dimensions in which a student has the same value for every measure of a window.

In these dimensions, the counts of one measure could therefore reveal counts that are withheld for another measure.
"""
Grades = frozenset[str]


@dataclass(frozen=True, slots=True)
class EarlierReports:
    """What a report needs to know about the windows of the same school year that were closed earlier.

    * `withheld_by_measure` has the cells that these windows withheld, keyed by measure.
    * `withheld` has the withheld cells of all measures together, except the cells that count students by level.
    * `grades` has a set of grades for each measure of these windows: the grades in which students were counted.
    * `counted_apart` has schools that are counted twice: in a window of this school alone, and in a window of all
      schools. One of the two is the window of the present report.
    """

    withheld_by_measure: Mapping[UUID, Collection[Cell]] = field(default_factory=dict)
    withheld: Collection[Cell] = ()
    grades: Collection[Grades] = ()
    counted_apart: Collection[str] = ()


def find_published_together(
    atoms_by_measure: Mapping[UUID, Mapping[Atom, int]], earlier: EarlierReports
) -> dict[UUID, dict[Cell, int]]:
    """Returns the cells that are published, with their counts, keyed by measure.

    `atoms_by_measure` has, for each measure, the number of students with each combination of school, grade, level and
    group. These cells are withheld in addition to those that `find_published` withholds:

    1. A cell that an earlier window withheld stays withheld. If a cell without a level is withheld for one measure, it
       is withheld for all measures, because the same children are in it.
    2. If two measures have some grades in common, but not all, the difference of their totals is the number of students
       in the other grades. Of such measures, only the one with the most students is published as usual. For every other
       one, all counts by school and group together are withheld. A total of a school or of a group is withheld if one
       of its counts by grade is withheld. If the count of a whole grade is withheld, nothing is published for this
       measure.
    3. If a school is counted in two windows (`EarlierReports.counted_apart`), the counts of one window could reveal a
       withheld count of the other window. So if a count of this school or of all schools is withheld, nothing is
       published for any measure. This rule ignores counts by level.
    """
    counts = {measure_id: count_cells(atoms) for measure_id, atoms in atoms_by_measure.items()}
    occurring = {cell for cells in counts.values() for cell, students in cells.items() if students}
    withheld = set(earlier.withheld)
    with_other_grades = _find_other_grades(atoms_by_measure, earlier.grades)
    published: dict[UUID, dict[Cell, int]] = {}
    size = -1
    while size != len(withheld):
        size = len(withheld)
        for measure_id, atoms in atoms_by_measure.items():
            before = withheld | set(earlier.withheld_by_measure.get(measure_id, ()))
            is_mixed = measure_id in with_other_grades
            if is_mixed:
                before |= _revealing(counts[measure_id], withheld & occurring)
            published[measure_id] = find_published(atoms, before)
            more = lasting_cells(counts[measure_id].keys() - published[measure_id].keys())
            if is_mixed:
                more = {cell for cell in more if GRADE in cell[0]}
            withheld |= more
    hidden = withheld & occurring
    apart = earlier.counted_apart
    if apart and any(SCHOOL not in place or values[0] in apart for place, values in hidden):
        return {measure_id: {} for measure_id in atoms_by_measure}
    hides_grade = any(place == (GRADE,) for place, _ in hidden)
    return {
        measure_id: {} if hides_grade and measure_id in with_other_grades else cells
        for measure_id, cells in published.items()
    }


def without_small_rests(
    published: Mapping[Cell, int], others: Mapping[Atom, int], schools: Collection[str]
) -> dict[Cell, int]:
    """Returns the published cells that a caller may see who does not see the whole district.

    The caller can list some students, and could subtract these from a count. So the result has only the cells of the
    caller's own `schools`, and those that would be published if nobody but `others` were counted. `others` has the
    number of students that the caller may not list, with each combination of school, grade, level and group.
    """
    safe = find_published(others) if others else published
    return {cell: students for cell, students in published.items() if _may_be_shown(cell, safe, schools)}


def _may_be_shown(cell: Cell, safe: Collection[Cell], schools: Collection[str]) -> bool:
    place, values = cell
    return values[place.index(SCHOOL)] in schools if SCHOOL in place else cell in safe


def lasting_cells(cells: Collection[Cell]) -> set[Cell]:
    """Returns the cells of counts by school, grade or group.

    Counts by level, and the count of all students, are left out.
    """
    return {cell for cell in cells if cell[0] and LASTING.issuperset(cell[0])}


def of_schools(cells: Collection[Cell]) -> set[Cell]:
    """Returns the cells that count students by school."""
    return {cell for cell in cells if SCHOOL in cell[0]}


def without_group(cells: Collection[Cell]) -> set[Cell]:
    """Returns the cells that do not count students by group."""
    return {cell for cell in cells if GROUP not in cell[0]}


def counted_grades(atoms: Mapping[Atom, int]) -> Grades:
    """Returns the grades in which at least one student is counted."""
    return frozenset(atom[GRADE] for atom, students in atoms.items() if students)


def _find_other_grades(atoms_by_measure: Mapping[UUID, Mapping[Atom, int]], earlier: Collection[Grades]) -> set[UUID]:
    """Returns the measures whose grades conflict with the grades of a measure that is published as usual.

    Two measures conflict if they have a grade in common, but not all grades. All measures of earlier windows were
    published, and `earlier` has their grades. Of present measures that conflict, the one with the most students is
    published as usual, and the others are returned.
    """
    accepted, others = set(earlier), set()
    by_size = sorted(atoms_by_measure, key=lambda measure_id: (-sum(atoms_by_measure[measure_id].values()), measure_id))
    for measure_id in by_size:
        grades = counted_grades(atoms_by_measure[measure_id])
        if any(grades != other and grades & other for other in accepted):
            others.add(measure_id)
        else:
            accepted.add(grades)
    return others


def _revealing(counts: Mapping[Cell, int], hidden: Collection[Cell]) -> set[Cell]:
    """Returns the cells of a measure that, compared with another measure, could reveal a withheld count.

    The other measure counts other grades. A school's count by one measure, minus its count by the other measure, can be
    the school's count in one grade. So if `hidden` has a count of a school in one grade, the result has the total of
    this school. In the same way, if `hidden` has a count of a group in one grade, the result has the total of this
    group. The result also has all counts by school and group together.
    """
    cells = {cell for cell in counts if cell[0] == (SCHOOL, GROUP)}
    for place, values in hidden:
        if place == (SCHOOL, GRADE):
            cells.add(((SCHOOL,), values[:1]))
        elif place == (GRADE, GROUP):
            cells.add(((GROUP,), values[1:]))
    return cells
