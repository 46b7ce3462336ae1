"""Prints the results of commands, as a table or a record for people, or as one JSON object for programs."""

import json
import sys
from collections.abc import Iterable, Mapping, Sequence


def print_table(headings: Sequence[str], rows: Iterable[Sequence[object]], *, empty: str) -> None:
    """Prints rows below their headings, or the text `empty` if there are no rows.

    Each column is as wide as its longest entry.
    """
    cells = [[str(cell) for cell in row] for row in rows]
    if not cells:
        print(empty)
        return
    widths = [max(map(len, column)) for column in zip(headings, *cells, strict=True)]
    for row in (headings, *cells):
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def print_record(record: Mapping[str, object], *, as_json: bool) -> None:
    """Prints one record: each field on a line of its own, or all as one JSON object."""
    if as_json:
        print(json.dumps(record))
        return
    width = max(map(len, record))
    for name, value in record.items():
        text = ", ".join(map(str, value)) if isinstance(value, list | tuple) else value
        print(f"{name.replace('_', ' '):{width}}  {'' if text is None else text}".rstrip())


def printable(text: str) -> str:
    """Returns a text in which each control character is replaced by a blank.

    A text from a SIS, such as a sourcedId, could otherwise move the cursor of a terminal or change its title.
    """
    return "".join(letter if letter.isprintable() else " " for letter in text)


def print_csv(text: str) -> None:
    """Prints a part of a CSV file in UTF-8 with its own line ends, whatever the encoding of the terminal is."""
    sys.stdout.flush()
    sys.stdout.buffer.write(text.encode())
    sys.stdout.buffer.flush()
