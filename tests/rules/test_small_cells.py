"""Tests that nobody can compute a count under 10 from the published counts of a window, or of all windows of a year."""

from collections.abc import Collection, Mapping
from itertools import product
from random import Random

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from app.insight.joint import without_small_rests
from app.insight.rules import DIMENSIONS, PLACES, SMALLEST, Atom, Cell, cell_of, count_cells, find_published

TOLERANCE = 1e-7


@st.composite
def districts(draw: st.DrawFn) -> dict[Atom, int]:
    """Generates a district: counts of students by school, grade, level and group, many of them small or empty."""
    sizes = [draw(st.integers(1, most)) for most in (4, 3, 3, 2)]
    domains = [
        [f"{dimension[0]}{number}" for number in range(size)] for dimension, size in zip(DIMENSIONS, sizes, strict=True)
    ]
    students = st.one_of(st.integers(0, 3), st.integers(0, 12), st.integers(0, 60))
    return {(a, b, c, d): count for a, b, c, d in product(*domains) if (count := draw(students))}


def members(cell: Cell, atoms: Collection[Atom]) -> list[int]:
    """Returns the positions of those entries of `atoms` that a cell counts."""
    return [position for position, atom in enumerate(atoms) if cell_of(cell[0], atom) == cell]


def everything(atoms: Mapping[Atom, int]) -> list[Atom]:
    """Returns every combination of the values that students have; an attacker is assumed to know these values."""
    values = [sorted({atom[place] for atom in atoms}) for place in range(len(DIMENSIONS))]
    return [(a, b, c, d) for a, b, c, d in product(*values)]


def secrets(atoms: Mapping[Atom, int]) -> list[Cell]:
    """Returns the cells with 1 to 9 students."""
    return [cell for cell, students in count_cells(atoms).items() if 0 < students < SMALLEST]


def solved(published: Mapping[Cell, int], possible: list[Atom], hidden_cells: list[Cell]) -> list[Cell]:
    """Returns the hidden cells whose counts can be computed from the published ones.

    The attacker adds and subtracts published counts, and knows that no count is negative.
    """
    rows = list(published)
    matrix = np.zeros((len(rows), len(possible)))
    for line, cell in enumerate(rows):
        matrix[line, members(cell, possible)] = 1
    low, high = np.zeros(len(possible)), np.full(len(possible), float(sum(published.values()) + 1))
    for _ in range(30):
        before = low.copy(), high.copy()
        for line, cell in enumerate(rows):
            inside = matrix[line] == 1
            total = published[cell]
            high[inside] = np.minimum(high[inside], total - (low[inside].sum() - low[inside]))
            low[inside] = np.maximum(low[inside], total - (high[inside].sum() - high[inside]))
        if (before[0] == low).all() and (before[1] == high).all():
            break
    _, values, directions = np.linalg.svd(matrix, full_matrices=True)
    free = directions[int((values > TOLERANCE).sum()) :]
    derived = []
    for cell in hidden_cells:
        inside = members(cell, possible)
        is_linear = np.abs(free[:, inside].sum(axis=1)).max(initial=0) < TOLERANCE
        if is_linear or low[inside].sum() >= high[inside].sum():
            derived.append(cell)
    return derived


@given(districts())
@settings(max_examples=150, deadline=None)
def test_no_small_cell_follows_from_the_published_ones(atoms: dict[Atom, int]) -> None:
    """A count under 10 is neither published nor the difference of published counts, whatever the district."""
    published = find_published(atoms)
    assert all(students >= SMALLEST and count_cells(atoms)[cell] == students for cell, students in published.items())
    if published:
        assert solved(published, everything(atoms), secrets(atoms)) == []


@given(districts(), st.randoms(use_true_random=False))
@settings(max_examples=60, deadline=None)
def test_all_windows_of_a_year_together_show_no_small_cell(atoms: dict[Atom, int], random: Random) -> None:
    """A student count that one window's report withholds cannot be computed from the reports of later windows.

    The same children are counted in three windows, each time at different levels.
    """
    seed = random.randint(0, 2**31)
    levels = sorted({atom[2] for atom in atoms})
    generator = np.random.default_rng(seed)
    withheld: set[Cell] = set()
    together: dict[Cell, int] = {}
    for _ in range(3):
        moved: dict[Atom, int] = {}
        for (school, grade, _, group), students in atoms.items():
            for level, share in zip(
                levels, generator.multinomial(students, [1 / len(levels)] * len(levels)), strict=True
            ):
                if share:
                    key = (school, grade, level, group)
                    moved[key] = moved.get(key, 0) + int(share)
        published = find_published(moved, withheld)
        withheld |= count_cells(moved).keys() - published.keys()
        together |= {cell: students for cell, students in published.items() if 2 not in cell[0]}
    lasting: dict[Atom, int] = {}
    for (school, grade, _, group), students in atoms.items():
        key = (school, grade, "l0", group)
        lasting[key] = lasting.get(key, 0) + students
    hidden_cells = [cell for cell in secrets(lasting) if 2 not in cell[0]]
    if together:
        assert solved(together, everything(lasting), hidden_cells) == []


@given(districts(), st.randoms(use_true_random=False))
@settings(max_examples=100, deadline=None)
def test_nobody_finds_a_small_cell_by_subtracting_the_own_students(atoms: dict[Atom, int], random: Random) -> None:
    """A person who lists the students of some schools cannot compute a count under 10 of the students elsewhere.

    The person knows the own students exactly, and subtracts them from each published count.
    """
    schools = {atom[0] for atom in atoms if random.random() < 0.5}
    own = {atom: students for atom, students in atoms.items() if atom[0] in schools}
    others = {atom: students for atom, students in atoms.items() if atom[0] not in schools and students}
    shown = without_small_rests(find_published(atoms), others, schools)
    own_cells = count_cells(own)
    rests = {cell: students - own_cells[cell] for cell, students in shown.items() if not is_of(cell, schools)}
    assert not others or all(students >= SMALLEST for students in rests.values())
    assert {cell for cell in shown if is_of(cell, schools)} == {
        cell for cell in find_published(atoms) if is_of(cell, schools)
    }
    assert not rests or solved(rests, everything(others or atoms), secrets(others)) == []


def is_of(cell: Cell, schools: set[str]) -> bool:
    """Returns whether a cell counts the students of one of these schools."""
    return 0 in cell[0] and cell[1][cell[0].index(0)] in schools


def test_a_large_district_publishes_most_of_its_cells() -> None:
    """In a district with few small cells, nearly all other counts are published."""
    atoms = {
        (f"s{school}", f"g{grade}", level, group): 40 + 3 * school + grade
        for school in range(8)
        for grade in range(5)
        for level in ("1", "2", "3")
        for group in ("a", "b")
    }
    atoms["s0", "g0", "3", "a"] = 2
    atoms["s0", "g0", "3", "b"] = 3
    for grade in range(1, 5):
        for group in ("a", "b"):
            atoms["s0", f"g{grade}", "3", group] = 0
    counts = count_cells(atoms)
    published = find_published(atoms)
    withheld = [cell for cell in counts if counts[cell] and cell not in published]
    assert ((0, 2), ("s0", "3")) in withheld
    assert len(withheld) <= 12, withheld
    assert {place for place, _ in published} == {(), *PLACES}


def test_a_small_cell_between_two_blocks_of_withheld_cells_is_hidden() -> None:
    """A small count is withheld if it could be computed from the sums of several rows and columns.

    In this test, the count could be computed although its row and its column have other withheld counts.
    """
    block = {("s0", "l0"), ("s0", "l1"), ("s1", "l0"), ("s1", "l1"), ("s2", "l2"), ("s2", "l3"), ("s3", "l2")}
    block |= {("s3", "l3")}
    atoms = {
        (f"s{school}", "g0", f"l{level}", "a"): 5 if (f"s{school}", f"l{level}") in block else 50
        for school in range(4)
        for level in range(4)
    }
    bridge = ((0, 2), ("s1", "l2"))
    atoms["s1", "g0", "l2", "a"] = 7
    assert bridge in secrets(atoms)
    assert solved(find_published(atoms), everything(atoms), secrets(atoms)) == []
