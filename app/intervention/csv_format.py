"""Writes and reads the intervention library as CSV. Each row is one entry. Uses no database.

The columns are the fields of an entry. In a cell that holds a list, each item is on a line of its own. A text that
begins with `=`, `+`, `-` or `@`, which a spreadsheet would run as a formula, is written with an apostrophe in front;
reading removes it.
"""

import csv
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import fields
from itertools import islice
from typing import Any, Final

from app.core.errors import Violation
from app.core.inputs import input_fields
from app.core.text import FORMULA
from app.intervention.inputs import NewIntervention
from app.intervention.rules import LISTS, MAX_AT_ONCE

COLUMNS: Final = tuple(field.name for field in fields(NewIntervention))
"""The columns, in order."""
REQUIRED: Final = ("code", "name")
NUMBERS: Final = ("minutes_per_session", "sessions_per_week", "group_from", "group_to")


class CsvText:
    """The text of entries as CSV (RFC 4180) with a header, in UTF-8. It grows with each call of `write`."""

    def __init__(self) -> None:
        self._bytes = io.BytesIO()
        self._text = io.TextIOWrapper(self._bytes, encoding="utf-8", newline="")
        self._writer = csv.writer(self._text)
        self._writer.writerow(COLUMNS)

    def write(self, entries: Iterable[Mapping[str, Any]]) -> None:
        """Adds entries. Each entry maps columns to values."""
        for entry in entries:
            self._writer.writerow([_written(entry[column]) for column in COLUMNS])

    def content(self) -> bytes:
        """Returns the CSV text of the header and of all entries that were added, as UTF-8 bytes."""
        self._text.flush()
        return self._bytes.getvalue()


def read_csv(text: str, at: str) -> tuple[dict[int, dict[str, Any]], list[Violation]]:
    """Parses a CSV text. Returns the values, keyed by row number and then by column, and the violations of the format.

    Rows are counted from 1 without the header. Violations name row and column; `at` is the JSON Pointer of the text. A
    text with more than `MAX_AT_ONCE` rows is refused. Further rows are not read, because a text can have very many rows
    of a single character.
    """
    try:
        header, *rows = [*islice(_rows(text), MAX_AT_ONCE + 2)] or [[]]
    except csv.Error:
        return {}, [Violation(at, "csv.malformed", "This is not CSV: look at the quotation marks.")]
    violations = [
        Violation(at, "csv.column_missing", f"The header lacks the column {name}.")
        for name in REQUIRED
        if name not in header
    ]
    if any(name not in COLUMNS for name in header) or len(set(header)) < len(header):
        violations.append(Violation(at, "csv.column_unknown", f"The columns are {', '.join(COLUMNS)}, each once."))
    if violations:
        return {}, violations
    if len(rows) > MAX_AT_ONCE:
        return {}, [Violation(at, "interventions.count", f"Send 1 to {MAX_AT_ONCE} entries at once.")]
    entries = {}
    for place, cells in enumerate(rows, 1):
        if len(cells) != len(header):
            violations.append(Violation(f"{at}/{place}", "csv.cells", "The row has other cells than the header."))
            continue
        entries[place] = _values(header, cells, f"{at}/{place}", violations)
    return entries, violations


def _rows(text: str) -> Iterator[list[str]]:
    """Yields the rows that are not blank. Raises `csv.Error` for a text that is not CSV."""
    return (row for row in csv.reader(io.StringIO(text.removeprefix("\ufeff")), strict=True) if any(row))


def _values(header: Sequence[str], cells: Sequence[str], at: str, violations: list[Violation]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for name, cell in zip(header, cells, strict=True):
        if name in LISTS:
            values[name] = _parts(name, cell, f"{at}/{name}", violations)
        elif name in NUMBERS:
            values[name] = _number(cell.strip(), f"{at}/{name}", violations) if cell.strip() else None
        else:
            values[name] = _read(cell) if cell or name in REQUIRED else None
    return values


def _parts(name: str, cell: str, at: str, violations: list[Violation]) -> tuple[Any, ...]:
    """Splits a cell that holds a list into its items.

    Adds a violation if the field `name` cannot have so many items.
    """
    parts = [_read(part.strip()) for part in cell.splitlines() if part.strip()]
    most = input_fields(NewIntervention)[name].most
    if most is not None and len(parts) > most:
        violations.append(Violation(at, "shape.too_long", f"At most {most} items."))
        return ()
    if name != "levels":
        return tuple(parts)
    numbers = [_number(part, at, violations) for part in parts]
    return tuple(number for number in numbers if number is not None)


def _number(text: str, at: str, violations: list[Violation]) -> int | None:
    if text.isascii() and text.isdigit() and len(text) < 10:
        return int(text)
    violations.append(Violation(at, "csv.number", "A whole number."))
    return None


def _written(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, list | tuple):
        return "\n".join(_guarded(str(part)) for part in value)
    return _guarded(str(value))


def _guarded(text: str) -> str:
    return f"'{text}" if text.startswith((*FORMULA, "'")) else text


def _read(text: str) -> str:
    return text[1:] if text.startswith("'") else text
