"""Tests that nobody can compute a count under 10 from the published counts of two windows and the core stalls.

A core stall states by how many points a grade's share at the benchmark fell. The simulated attacker knows every
published count of both windows, and the stalls of every possible rule. From these follows the fall of each grade in
whole points. The attacker also knows the lower limit of the counted students, and when grades are compared.
"""

from collections import Counter
from itertools import product

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from app.insight.rules import SMALLEST, Atom, Cell, count_cells, find_published
from app.signal.stalls.rules import GradeInWindows

LEVELS = ("1", "2", "3", "not_screened", "absent")
"""What a student has in a window; one who is absent was not expected in it."""
SCREENED, EXPECTED = LEVELS[:3], LEVELS[:4]
Row = dict[tuple[int, ...], float]
Group = tuple[str, str, str]
"""A grade with the level in the window before and in the window."""


@st.composite
def districts(draw: st.DrawFn) -> dict[Group, int]:
    """Generates a district of one school: the numbers of students by grade and by their levels in two windows.

    Many of these numbers are small.
    """
    grades = [f"g{number}" for number in range(draw(st.integers(1, 3)))]
    few, many = st.one_of(st.just(0), st.integers(0, 12)), st.one_of(st.integers(0, 12), st.integers(8, 40))
    return {
        (grade, before, now): draw(many if before in SCREENED and now in SCREENED else few)
        for grade, before, now in product(grades, LEVELS, LEVELS)
        if (before, now) != ("absent", "absent")
    }


def atoms_of(district: dict[Group, int], window: int) -> dict[Atom, int]:
    """Returns the numbers of students in one window, for each combination of school, grade, level and group."""
    atoms: Counter[Atom] = Counter()
    for group, students in district.items():
        if group[1 + window] != "absent":
            atoms["s", group[0], group[1 + window], ""] += students
    return dict(atoms)


class Attacker:
    """What an attacker knows about the number of students in each group of a district.

    `low` and `high` are bounds for the number of each group. `rows` has the known sums over groups: the weight of each
    group, and two bounds for the sum.
    """

    def __init__(self, district: dict[Group, int]) -> None:
        self.groups = list(district)
        self.low = np.zeros(len(self.groups))
        self.high = np.full(len(self.groups), float(sum(district.values()) + 1))
        self.rows: list[tuple[np.ndarray, float, float]] = []

    def form(self, grade: str, weight: dict[tuple[str, str], float]) -> np.ndarray:
        """Returns the weight of each group in a weighted sum over the groups of one grade.

        `weight` is keyed by the two levels of a group: in the earlier and in the later window. Groups of other grades
        have the weight 0.
        """
        return np.array([weight.get(group[1:], 0.0) if group[0] == grade else 0.0 for group in self.groups])

    def learn(self, form: np.ndarray, low: float, high: float = np.inf) -> None:
        """Adds to the attacker's knowledge that a sum over groups lies between two bounds.

        `form` has the weight of each group in the sum.
        """
        self.rows.append((form, low, high))

    def learn_window(self, window: int, published: dict[Cell, int]) -> None:
        """Adds the published counts of a window to what the attacker knows."""
        for (place, values), students in published.items():
            named = dict(zip(place, values, strict=True))
            inside = np.array(
                [
                    float(
                        group[1 + window] != "absent"
                        and named.get(1, group[0]) == group[0]
                        and named.get(2, group[1 + window]) == group[1 + window]
                    )
                    for group in self.groups
                ]
            )
            self.learn(inside, students, students)

    def conclude(self) -> None:
        """Narrows the bounds of each group by every known sum, until nothing changes."""
        for _ in range(40):
            before = self.low.copy(), self.high.copy()
            for form, low, high in self.rows:
                at_least = np.where(form > 0, form * self.low, form * self.high)
                at_most = np.where(form > 0, form * self.high, form * self.low)
                for place in np.flatnonzero(form):
                    rest_least, rest_most = at_least.sum() - at_least[place], at_most.sum() - at_most[place]
                    limits = sorted([(low - rest_most) / form[place], (high - rest_least) / form[place]])
                    self.low[place] = max(self.low[place], np.ceil(limits[0] - 1e-9))
                    self.high[place] = min(self.high[place], np.floor(limits[1] + 1e-9))
            if (before[0] == self.low).all() and (before[1] == self.high).all():
                return

    def knows(self, form: np.ndarray) -> bool:
        """Returns whether the attacker can compute this sum over groups from the published numbers."""
        equal = [row for row, low, high in self.rows if low == high]
        matrix = np.array(equal) if equal else np.zeros((1, len(self.groups)))
        _, values, directions = np.linalg.svd(matrix, full_matrices=True)
        free = directions[int((values > 1e-7).sum()) :]
        is_linear = bool(np.abs(free @ form).max(initial=0) < 1e-7)
        return is_linear or form @ self.low >= form @ self.high


def is_counted(levels: tuple[str, str]) -> bool:
    """Returns whether a student with these levels in the two windows is counted: both must be levels of screened
    students.
    """
    return levels[0] in SCREENED and levels[1] in SCREENED


PAIRS = [pair for pair in product(LEVELS, LEVELS) if pair != ("absent", "absent")]
SUMS = {
    "counted": {pair: 1.0 for pair in PAIRS if is_counted(pair)},
    "reached_before": {pair: 1.0 for pair in PAIRS if is_counted(pair) and pair[0] == "1"},
    "reached": {pair: 1.0 for pair in PAIRS if is_counted(pair) and pair[1] == "1"},
    "expected_before": {pair: 1.0 for pair in PAIRS if pair[0] in EXPECTED},
    "expected": {pair: 1.0 for pair in PAIRS if pair[1] in EXPECTED},
    "leveled_before": {pair: 1.0 for pair in PAIRS if pair[0] in SCREENED},
}
SECRETS = {
    **SUMS,
    "below": {pair: 1.0 for pair in PAIRS if is_counted(pair) and pair[1] != "1"},
    "below_before": {pair: 1.0 for pair in PAIRS if is_counted(pair) and pair[0] != "1"},
    "left": {pair: 1.0 for pair in PAIRS if pair[0] in SCREENED and pair[1] not in SCREENED},
    "came": {pair: 1.0 for pair in PAIRS if pair[1] in SCREENED and pair[0] not in SCREENED},
    **{f"before {level}": {pair: 1.0 for pair in PAIRS if pair[0] == level} for level in EXPECTED},
    **{f"now {level}": {pair: 1.0 for pair in PAIRS if pair[1] == level} for level in EXPECTED},
}
"""The sums of groups of a grade that nobody may find if they are under 10."""


def weights(**of_sums: float) -> dict[tuple[str, str], float]:
    """Returns the weights of a combination of the sums in `SUMS`, keyed by a student's levels in the two windows.

    `of_sums` has the factor by which each sum is multiplied, keyed by the name of the sum.
    """
    total: Counter[tuple[str, str]] = Counter()
    for name, factor in of_sums.items():
        for pair, weight in SUMS[name].items():
            total[pair] += factor * weight  # type: ignore[assignment]  # weights may be fractions
    return dict(total)


@given(districts())
@settings(max_examples=50, deadline=None)
def test_no_small_count_follows_from_reports_and_stalls(district: dict[Group, int]) -> None:
    """No count under 10 can be computed from all stored reports and core stalls (falls of grades).

    The attacker is assumed to know the stalls of every possible rule.
    """
    attacker = Attacker(district)
    withheld: set[Cell] = set()
    for window in (0, 1):
        published = find_published(atoms_of(district, window), withheld)
        withheld |= count_cells(atoms_of(district, window)).keys() - published.keys()
        attacker.learn_window(window, published)
    by_reports = Attacker(district)
    by_reports.rows = list(attacker.rows)
    by_reports.conclude()
    grades = sorted({group[0] for group in district})
    for grade in grades:
        values = {
            name: sum(district[group] for group in district if group[0] == grade and group[1:] in sums)
            for name, sums in SUMS.items()
        }
        numbers = GradeInWindows(**values)
        if not numbers.has_stalled(1):
            continue
        attacker.learn(attacker.form(grade, weights(reached_before=100, reached=-100, counted=-numbers.fell_by)), 0)
        beyond = weights(reached_before=100, reached=-100, counted=-(numbers.fell_by + 1))
        attacker.learn(attacker.form(grade, beyond), -np.inf, -1)
        sides = ({"reached_before": 1.0}, {"reached": 1.0}, {"counted": 1.0, "reached_before": -1.0})
        for side in (*sides, {"counted": 1.0, "reached": -1.0}):
            attacker.learn(attacker.form(grade, weights(**side)), SMALLEST)
        attacker.learn(attacker.form(grade, weights(counted=2, leveled_before=-1)), 0)
        limit = numbers.counted_at_least
        is_of_counted = min(numbers.expected_before, numbers.expected) - SMALLEST >= limit + 10
        attacker.learn(attacker.form(grade, weights(counted=1)), limit, limit + 9 if is_of_counted else np.inf)
    attacker.conclude()
    for grade, (name, sums) in product(grades, SECRETS.items()):
        form = attacker.form(grade, sums)
        students = sum(district[group] for group in district if group[0] == grade and group[1:] in sums)
        if 0 < students < SMALLEST:
            assert not attacker.knows(form) or by_reports.knows(form), (grade, name, students)
