"""Tests that nobody can compute a count under 10 from all reports of a year, whatever their grades, groups and schools.

In `test_small_cells.py`, all measures count the same students. Here, different measures can be expected for different
grades, windows can count by different groups, and a window can be for one school only.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from uuid import UUID

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.insight.joint import (
    EarlierReports,
    counted_grades,
    find_published_together,
    lasting_cells,
    of_schools,
    without_group,
)
from app.insight.rules import SMALLEST, Atom, Cell, count_cells

Child = tuple[str, str, str, str]
"""The school, the grade, and the values of two groups, by one of which a window can count."""
Counts = Mapping[UUID, Mapping[Atom, int]]
MEASURES = (UUID(int=1), UUID(int=2))
GROUPS = (None, 2, 3)
"""The group that a window counts by: none, or a position in a child."""


@dataclass
class Year:
    """A random school year: its children, its closed screening windows, and the counts that were published for them."""

    children: dict[Child, int]
    random: Random
    closed: list[tuple[int | None, str | None, Counts, dict[UUID, dict[Cell, int]]]] = field(default_factory=list)
    known: list[tuple[list[int], int]] = field(default_factory=list)
    """What an attacker has: sums of children, by their positions."""

    def close(self, group: int | None, school: str | None, grades: Sequence[frozenset[str]]) -> None:
        """Closes a window, and adds the published counts to what the attacker knows.

        The window is for one school or for all schools. It has one measure for each set of grades.
        """
        atoms = {
            measure: self.count(group, school, expected) for measure, expected in zip(MEASURES, grades, strict=False)
        }
        published = find_published_together(atoms, self.earlier(group, school, atoms))
        self.closed.append((group, school, atoms, published))
        for measure, expected in zip(MEASURES, grades, strict=False):
            for cell, students in published[measure].items():
                if 2 not in cell[0]:
                    of_cell = [
                        position
                        for position, child in enumerate(self.children)
                        if child[1] in expected and school in (None, child[0]) and is_in(cell, child, group)
                    ]
                    self.known.append((of_cell, students))

    def count(self, group: int | None, school: str | None, grades: frozenset[str]) -> dict[Atom, int]:
        """Returns the number of students by school, grade, level and group. The levels are random."""
        atoms: dict[Atom, int] = {}
        for child, students in self.children.items():
            if child[1] in grades and school in (None, child[0]):
                for _ in range(students):
                    atom = (child[0], child[1], self.random.choice("123"), "" if group is None else child[group])
                    atoms[atom] = atoms.get(atom, 0) + 1
        return atoms

    def earlier(self, group: int | None, school: str | None, atoms: Counts) -> EarlierReports:
        """Returns what the earlier reports of the year have counted and withheld.

        A new report must also withhold each count that would reveal a small count in combination with earlier reports.
        """
        by_measure: dict[UUID, set[Cell]] = {}
        withheld_of_all: set[Cell] = set()
        grades: set[frozenset[str]] = set()
        apart: set[str] = set()
        now = frozenset(atom[1] for counts in atoms.values() for atom in counts)
        for other_group, other_school, other_atoms, published in self.closed:
            if school is not None and other_school not in (None, school):
                continue
            for measure, counts in other_atoms.items() if any(published.values()) else ():
                withheld = set(count_cells(counts).keys() - published[measure].keys())
                withheld = without_group(withheld) if other_group != group else withheld
                withheld = of_schools(withheld) if other_school is not None and school is None else withheld
                by_measure.setdefault(measure, set()).update(withheld)
                withheld_of_all |= lasting_cells(withheld)
                if published[measure]:
                    grades.add(counted_grades(counts))
                if other_school != school and counted_grades(counts) & now:
                    apart.add(str(other_school or school))
        return EarlierReports(by_measure, withheld_of_all, grades, apart)

    def secrets(self) -> Iterator[tuple[Cell, list[int]]]:
        """Yields each cell that counts 1 to 9 children, with the positions of these children.

        Cells that count only the children of one level are left out.
        """
        for group in (2, 3):
            atoms: dict[Atom, int] = {}
            for child, students in self.children.items():
                atom = (child[0], child[1], "", child[group])
                atoms[atom] = atoms.get(atom, 0) + students
            for cell, students in count_cells(atoms).items():
                if 0 < students < SMALLEST and 2 not in cell[0]:
                    yield cell, [at for at, child in enumerate(self.children) if is_in(cell, child, group)]

    def derived(self) -> list[Cell]:
        """Returns the small cells that an attacker can compute.

        The attacker adds and subtracts the published sums, and uses the fact that no count is negative.
        """
        if not self.known:
            return []
        size = len(self.children)
        matrix, totals = np.zeros((len(self.known), size)), np.zeros(len(self.known))
        for line, (positions, students) in enumerate(self.known):
            matrix[line, positions], totals[line] = 1, students
        low, high = np.zeros(size), np.full(size, totals.sum() + 1)
        for _ in range(30):
            before = low.copy(), high.copy()
            for line, total in enumerate(totals):
                inside = matrix[line] == 1
                high[inside] = np.minimum(high[inside], total - (low[inside].sum() - low[inside]))
                low[inside] = np.maximum(low[inside], total - (high[inside].sum() - high[inside]))
            if (before[0] == low).all() and (before[1] == high).all():
                break
        _, values, directions = np.linalg.svd(matrix, full_matrices=True)
        free = directions[int((values > 1e-7).sum()) :]
        return [
            cell
            for cell, positions in self.secrets()
            if np.abs(free[:, positions].sum(axis=1)).max(initial=0) < 1e-7
            or low[positions].sum() >= high[positions].sum()
        ]


def is_in(cell: Cell, child: Child, group: int | None) -> bool:
    """Returns whether a cell counts a child.

    `group` is the index in `child` of the group by which the window counts students, or None if it counts by no group.
    """
    values = {0: child[0], 1: child[1], 3: "" if group is None else child[group]}
    return all(values[place] == value for place, value in zip(*cell, strict=True))


def year_of(seed: int) -> Year:
    """Returns a year of a random district, in which some groups have few children."""
    random = Random(seed)
    sizes = [random.randint(1, most) for most in (4, 4, 2, 2)]
    names = [[f"{letter}{number}" for number in range(size)] for letter, size in zip("sgab", sizes, strict=True)]
    few, many = (0, 12), (8, 60)
    children = {
        (school, grade, first, second): random.randint(*(few if random.random() < 0.35 else many))
        for school in names[0]
        for grade in names[1]
        for first in names[2]
        for second in names[3]
    }
    return Year(children, random)


@given(st.integers(0, 2**31))
@settings(max_examples=60, deadline=None)
@pytest.mark.parametrize("differing", ["grades", "groups", "schools", "all"])
def test_no_small_cell_follows_from_the_reports_of_a_year(differing: str, seed: int) -> None:
    """No count of fewer than ten children can be computed from all reports of a year.

    An attacker could otherwise subtract two reports that count almost the same children.
    """
    year = year_of(seed)
    random = year.random
    schools = sorted({child[0] for child in year.children})
    grades = sorted({child[1] for child in year.children})
    same = frozenset(random.sample(grades, random.randint(1, len(grades))))
    for _ in range(random.randint(1, 3)):
        year.close(
            random.choice(GROUPS) if differing in ("groups", "all") else 2,
            random.choice([None, *schools]) if differing in ("schools", "all") else None,
            [
                frozenset(random.sample(grades, random.randint(1, len(grades))))
                if differing in ("grades", "all")
                else same
                for _ in range(random.randint(1, 2))
            ],
        )
    assert year.derived() == []


def test_a_measure_of_other_grades_keeps_the_tables_of_large_schools() -> None:
    """If two measures are expected of different grades, the report still shows the counts of large schools.

    Only counts that would reveal the children of a small school are withheld.
    """
    children = {(f"s{school}", f"g{grade}", "", ""): 40 + school for school in range(6) for grade in range(4)}
    children["s0", "g0", "", ""] = 4
    year = Year(children, Random(1))
    year.close(None, None, [frozenset({"g0", "g1", "g2", "g3"}), frozenset({"g1", "g2"})])
    every, some = (year.closed[0][3][measure] for measure in MEASURES)
    assert {cell[1][0] for cell in every if cell[0] == (0,)} == {f"s{school}" for school in range(6)}
    shown = {cell[1][0] for cell in some if cell[0] == (0,)}
    assert "s0" not in shown
    assert len(shown) == 4, shown
    assert len([cell for cell in some if cell[0] == (0, 2)]) == 4 * 3
