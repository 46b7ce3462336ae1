"""Turns the columns of a table that PostgreSQL returned as arrays into rows."""

from collections.abc import Sequence
from typing import Any


def rows_of(columns: Sequence[Sequence[Any] | None]) -> list[tuple[Any, ...]]:
    """Returns the rows of a table that is given as one array for each column, or as NULL if it has no rows.

    Statements return such arrays instead of an array of composite values, which Citus cannot pass on.
    """
    return list(zip(*(column or () for column in columns), strict=True))
