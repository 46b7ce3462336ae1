"""Converts the result of a query from one array for each column to rows."""

from collections.abc import Sequence
from typing import Any


def rows_of(columns: Sequence[Sequence[Any] | None]) -> list[tuple[Any, ...]]:
    """Returns the rows of a table, given its columns. If the table is empty, each column may be None instead of a list.

    Statements return one array for each column, because Citus cannot pass on an array of composite values.
    """
    return list(zip(*(column or () for column in columns), strict=True))
