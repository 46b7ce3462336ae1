"""Decides which counts of a window are published, given what else the school year's windows publish. Pure.

One report is safe by itself (see `find_published`), but the same children are counted by several measures and in
several windows. So the difference of two published counts could be a small count. This module withholds counts whose
differences would reveal one.
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
    """What matters of the windows of the same school year that were closed before.

    * `withheld_by_measure` has the cells that they withheld, keyed by measure.
    * `withheld` has the cells without a level that they withheld, for any measure.
    * `grades` has, for each of their measures, the grades whose students were counted.
    * `counted_apart` has the schools whose students are counted both by a window of this school alone and by a window
      of all schools, one of which is the present window.
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
    group. In addition to what `find_published` withholds:

    1. A cell that an earlier window withheld stays withheld. A cell without a level is withheld for all measures or for
       none, because the same children are in it.
    2. If two measures count some of the same grades, but not all, the difference of their totals counts the students of
       the other grades. Of such measures, the one with the most students is published as usual. For the others, each
       school and group is withheld of which a count by grade is withheld, and so is the table of schools and groups. If
       the count of a grade is withheld, nothing is published for them.
    3. If a school is counted apart (see `EarlierReports`), its published counts could take the place of a withheld one
       in a sum. So nothing is published if a cell without a level would be withheld of this school, or of all schools.
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


def lasting_cells(cells: Collection[Cell]) -> set[Cell]:
    """Returns the cells that are not divided by level."""
    return {cell for cell in cells if cell[0] and LASTING.issuperset(cell[0])}


def of_schools(cells: Collection[Cell]) -> set[Cell]:
    """Returns the cells that are divided by school."""
    return {cell for cell in cells if SCHOOL in cell[0]}


def without_group(cells: Collection[Cell]) -> set[Cell]:
    """Returns the cells that are not divided by group."""
    return {cell for cell in cells if GROUP not in cell[0]}


def counted_grades(atoms: Mapping[Atom, int]) -> Grades:
    """Returns the grades of which students are counted."""
    return frozenset(atom[GRADE] for atom, students in atoms.items() if students)


def _find_other_grades(atoms_by_measure: Mapping[UUID, Mapping[Atom, int]], earlier: Collection[Grades]) -> set[UUID]:
    """Returns the measures whose grades are partly those of an earlier measure, or of one with more students."""
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
    """Returns the cells of a measure that, subtracted from those of a measure with other grades, reveal hidden cells.

    These are the schools and groups of which a count by grade is hidden, and all cells by school and group.
    """
    cells = {cell for cell in counts if cell[0] == (SCHOOL, GROUP)}
    for place, values in hidden:
        if place == (SCHOOL, GRADE):
            cells.add(((SCHOOL,), values[:1]))
        elif place == (GRADE, GROUP):
            cells.add(((GROUP,), values[1:]))
    return cells
