"""Tests the stored rows of a collection: they are read back unchanged, and repeated rows are recognized."""

import csv
import io

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.sis.oneroster_rest.spool import DiskBudget, Spool

CELL = st.text(alphabet='ab,"\n\r\0 é', max_size=4)


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)  # of a loaded machine
@given(st.lists(st.lists(st.tuples(CELL, CELL, CELL), max_size=4), max_size=4))
def test_cells_are_read_as_they_were_written(pages: list[list[tuple[str, ...]]]) -> None:
    """Cells are read as they were written, with commas, quotes and line ends; only a NUL is replaced."""
    spool = Spool("person", "users", ("x", "y", "z"), DiskBudget(1))
    for page in pages:
        spool.add(page)
    written = b"".join(spool.delivery(complete=True).read()).decode()
    spool.close()
    expected = io.StringIO(newline="")
    csv.writer(expected, lineterminator="\n").writerows([("x", "y", "z"), *(row for page in pages for row in page)])
    assert written == expected.getvalue()


def test_repeats_are_told_by_id_and_content() -> None:
    """A row that differs only in the time of its change counts as a repeat.

    A row with the same id and other content counts as a difference.
    """
    spool = Spool("person", "users", ("sourcedId", "dateLastModified", "name"), DiskBudget(1))
    spool.add([("a", "1", "x"), ("b", "1", "x"), ("a", "2", "x")])
    repeats = spool.repeats()
    assert (repeats.repeated, repeats.differ, repeats.scattered, repeats.distinct) == ((2,), False, True, 2)
    spool.add([("b", "1", "y")])
    assert spool.repeats().differ
    spool.close()
