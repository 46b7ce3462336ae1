"""Turns the columns of a table that PostgreSQL returned as arrays into rows."""

from collections.abc import Sequence
from typing import Any


def rows_of(columns: Sequence[Sequence[Any] | None]) -> list[tuple[Any, ...]]:
    """Returns the rows of a table that is given by columns. An empty table may have None in place of each column.

    Statements return one array for each column, because Citus cannot pass on an array of composite values.
    """
    return list(zip(*(column or () for column in columns), strict=True))
