"""Decides which counts of a window are published, so that no count under 10 can be computed from them. Pure.

A count under 10 is withheld. If only that count were withheld, the total of its row minus the other counts would reveal
it. So other counts of its row and column are withheld too, until the published counts allow more than one value for
each withheld count under 10. `find_published` states the rules.
"""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import combinations
from typing import Final

SMALLEST: Final = 10
"""The smallest count that is published."""


class Dimension(StrEnum):
    """A dimension by which students are counted."""

    SCHOOL = "school"
    GRADE = "grade"
    LEVEL = "level"
    GROUP = "group"


DIMENSIONS: Final = tuple(Dimension)
Atom = tuple[str, str, str, str]
"""The value of a student in each dimension, in the order of `DIMENSIONS`."""
Place = tuple[int, ...]
"""One or two positions in `DIMENSIONS`, in order: the dimensions of a table."""
Cell = tuple[Place, tuple[str, ...]]
"""A cell: the dimensions of its table, and a value for each of these dimensions.

The cell `((), ())` stands for all students.
"""
PLACES: Final[tuple[Place, ...]] = tuple(
    place for size in (1, 2) for place in combinations(range(len(DIMENSIONS)), size)
)


def cell_of(place: Place, atom: Atom) -> Cell:
    """Returns the table cell in which the students of a combination are counted.

    `atom` is the combination: a school, a grade, a level and a group. `place` says which one or two of these four are
    the dimensions of the table.
    """
    return place, tuple(atom[dimension] for dimension in place)


def count_cells(atoms: Mapping[Atom, int]) -> Counter[Cell]:
    """Returns the number of students in each cell of each table, and the number of all students.

    `atoms` has the number of students with each combination of school, grade, level and group. There is a table for
    each of these dimensions and for each pair of them. Cells without students are left out.
    """
    counts: Counter[Cell] = Counter({((), ()): sum(atoms.values())})
    for place in PLACES:
        for atom, students in atoms.items():
            counts[cell_of(place, atom)] += students
    return counts


def find_published(atoms: Mapping[Atom, int], withheld_before: Collection[Cell] = ()) -> dict[Cell, int]:
    """Returns the cells that are published, with their counts.

    `atoms` has the number of students with each combination of school, grade, level and group.
    `withheld_before` has cells that an earlier report of the school year withheld. They stay withheld, so that a later
    report about the same students does not reveal them.

    A table of one dimension, for example by grade: if the count of one grade is under 10, it is withheld. Then the
    smallest other counts are withheld too, until at least two are withheld that together have at least 10 students.

    A table of two dimensions, for example grades as rows and schools as columns:

    1. Cells under 10 are withheld. If the table by grade alone withholds a grade, the whole row of this grade is
       withheld here. The same applies to the column of a school.
    2. In every other row and column with a withheld cell, other cells are withheld too, until at least two are withheld
       that together have at least 10 students.
    3. Each withheld cell under 10 must be a corner of a rectangle of four withheld cells, such that students could be
       swapped between the corners without changing any total. Other cells are withheld to form such a rectangle. If
       that is impossible for one cell, the whole table is withheld.
    """
    counts = count_cells(atoms)
    if counts[(), ()] < SMALLEST:
        return {}
    kept = frozenset(withheld_before)
    values = [sorted({atom[dimension] for atom in atoms}) for dimension in range(len(DIMENSIONS))]
    withheld = [_withheld_of_line(counts, (one,), values[one], kept) for one in range(len(DIMENSIONS))]
    published: dict[Cell, int] = {((), ()): counts[(), ()]}
    for place in PLACES:
        if len(place) == 1:
            shown = [value for value in values[place[0]] if value not in withheld[place[0]]]
            published |= {(place, (value,)): counts[place, (value,)] for value in shown}
        else:
            first, second = place
            table = _Table(place, values[first], values[second], counts, atoms)
            table.withhold(withheld[first], withheld[second], kept)
            published |= table.published()
    return published


def _withheld_of_line(counts: Counter[Cell], place: Place, values: Sequence[str], kept: Collection[Cell]) -> set[str]:
    """Returns the values of one dimension whose counts are withheld, such as the grades in the table by grade.

    A count under `SMALLEST` is withheld, and so is a count in `kept`, which was withheld before. If any count is
    withheld, the smallest other counts are withheld too, until no withheld count can be computed from the total (see
    `_is_enough`).
    """
    withheld = {value for value in values if counts[place, (value,)] < SMALLEST or (place, (value,)) in kept}
    others = sorted((value for value in values if value not in withheld), key=lambda value: counts[place, (value,)])
    while withheld and others and not _is_enough(counts[place, (value,)] for value in withheld):
        withheld.add(others.pop(0))
    return withheld


def _is_enough(counts: Iterator[int] | Sequence[int]) -> bool:
    """Returns whether enough counts of a row or column are withheld, so that its total does not reveal any of them.

    `counts` are the withheld counts. There must be at least two, and their sum must be at least `SMALLEST`.
    """
    listed = list(counts)
    return len(listed) > 1 and sum(listed) >= SMALLEST


@dataclass
class _Table:
    """A table of counts with two dimensions, such as grade and school. It decides which of its cells are published.

    As many cells are withheld as necessary, so that nobody can compute a small count from the published cells.
    """

    place: Place
    rows: Sequence[str]
    columns: Sequence[str]
    counts: Counter[Cell]
    atoms: Mapping[Atom, int]
    hidden: set[tuple[str, str]] = field(default_factory=set)
    others: Mapping[tuple[str, str], set[tuple[str, ...]]] = field(default_factory=dict)
    """For each cell, the values that its students have in the two dimensions that are not in this table."""

    def count(self, row: str, column: str) -> int:
        """Returns the count of a cell."""
        return self.counts[self.place, (row, column)]

    def published(self) -> dict[Cell, int]:
        """Returns the published cells with their counts. A cell without students is left out, like a withheld cell."""
        return {
            (self.place, (row, column)): self.count(row, column)
            for row in self.rows
            for column in self.columns
            if (row, column) not in self.hidden
        }

    def withhold(self, rows: Collection[str], columns: Collection[str], kept: Collection[Cell]) -> None:
        """Withholds cells, until no small count can be computed from the published cells.

        First withholds all cells with small counts, all cells of the rows `rows` and of the columns `columns`, and the
        cells `kept`, which an earlier report withheld. Then withholds as many other cells as necessary.
        """
        others: dict[tuple[str, str], set[tuple[str, ...]]] = defaultdict(set)
        first, second = self.place
        for atom, students in self.atoms.items():
            if students:
                rest = tuple(value for place, value in enumerate(atom) if place not in self.place)
                others[atom[first], atom[second]].add(rest)
        self.others = others
        self.hidden = {
            (row, column)
            for row in self.rows
            for column in self.columns
            if row in rows
            or column in columns
            or self.count(row, column) < SMALLEST
            or (self.place, (row, column)) in kept
        }
        inner_rows = [row for row in self.rows if row not in rows]
        inner_columns = [column for column in self.columns if column not in columns]
        size = -1
        while size != len(self.hidden):
            size = len(self.hidden)
            self._complete_lines(inner_rows, inner_columns)
            for row in inner_rows:
                for column in inner_columns:
                    if 0 < self.count(row, column) < SMALLEST and not self._hide_rectangle(row, column):
                        self.hidden = {(row, column) for row in self.rows for column in self.columns}
                        return

    def _complete_lines(self, rows: Sequence[str], columns: Sequence[str]) -> None:
        """Withholds more cells of these rows and columns, so that no withheld cell can be computed from a total.

        In each row and column that has a withheld cell, the smallest cells that are still shown are withheld until
        `_is_enough` is true. If all withheld cells of a row or column are zero, nothing more is withheld there.
        """
        lines = [[(row, column) for column in self.columns] for row in rows]
        lines += [[(row, column) for row in self.rows] for column in columns]
        for line in lines:
            hidden = [cell for cell in line if cell in self.hidden]
            shown = sorted((cell for cell in line if cell not in self.hidden), key=lambda cell: self.count(*cell))
            while (
                any(self.count(*cell) for cell in hidden)
                and shown
                and not _is_enough([self.count(*cell) for cell in hidden])
            ):
                hidden.append(shown.pop(0))
                self.hidden.add(hidden[-1])

    def _hide_rectangle(self, row: str, column: str) -> bool:
        """Withholds three more cells, which form a rectangle with the cell in this row and column.

        It must be possible to swap students between the four corners without changing any total (see `_can_change`). Of
        several such rectangles, the function chooses the one with the fewest students in cells that are not withheld
        yet. Returns False if there is no such rectangle.
        """
        best: tuple[int, list[tuple[str, str]]] | None = None
        for other_row in self.rows:
            for other_column in self.columns:
                if (
                    other_row == row
                    or other_column == column
                    or not self._can_change(row, column, other_row, other_column)
                ):
                    continue
                corners = [(row, other_column), (other_row, column), (other_row, other_column)]
                shown = [cell for cell in corners if cell not in self.hidden]
                if not shown:
                    return True
                cost = sum(self.count(*cell) for cell in shown)
                if best is None or cost < best[0]:
                    best = cost, shown
        if best is None:
            return False
        self.hidden.update(best[1])
        return True

    def _can_change(self, row: str, column: str, other_row: str, other_column: str) -> bool:
        """Returns whether two students could change places without changing any total of the table.

        The two rows and the two columns have four cells in common. A student in one of these cells and a student in the
        opposite cell could move to the other two cells. They must have equal values in the dimensions that are not in
        this table, so that only the counts of these four cells change.
        """
        others = self.others
        empty: set[tuple[str, ...]] = set()
        return bool(
            others.get((row, other_column), empty) & others.get((other_row, column), empty)
            or others.get((row, column), empty) & others.get((other_row, other_column), empty)
        )
