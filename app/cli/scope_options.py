"""Defines the options that restrict a sync to some schools and exclude users, and reads their values."""

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated

import typer

from app.core.encoding import guess_encoding
from app.core.text import EDGE_BLANKS, unquote_formula

HEADER = "sourcedid"
Schools = Annotated[
    list[str] | None, typer.Option(help="sourcedIds of schools, separated by commas: only these are synced.")
]
ExcludeUsers = Annotated[
    str | None, typer.Option(metavar="FILE", help="A file of users' sourcedIds, one a line, who are not synced.")
]


class UnusableOption(Exception):
    """Raised for an option whose value cannot be used; the message is a sentence for the user."""


def distinct_names(texts: Iterable[str]) -> tuple[str, ...]:
    """Strips the texts as the sync strips sourcedIds, and returns them without empty texts and repetitions."""
    return tuple(dict.fromkeys(text.strip(EDGE_BLANKS) for text in texts if text.strip(EDGE_BLANKS)))


def read_schools(options: Sequence[str]) -> tuple[str, ...]:
    """Returns the sourcedIds in the values of `--schools`. Commas separate the sourcedIds in a value."""
    return distinct_names(",".join(options).split(","))


def read_users(file: str) -> tuple[str, ...]:
    """Returns the sourcedIds in a file: one per line, or those of a CSV file's column with the header sourcedId.

    Raises `UnusableOption` for a file that cannot be read, and for a file without any id, because an empty file from a
    failed export would otherwise exclude nobody. It is also raised if it is not clear which cells are ids: if the cells
    are separated by tabs or semicolons, or if there are several columns and none has the header sourcedId.
    """
    try:
        lines = _decode(Path(file).read_bytes()).splitlines()
        rows = [row for row in csv.reader(lines) if any(cell.strip() for cell in row)]
    except (OSError, csv.Error) as error:
        raise UnusableOption(f"The file with the excluded users cannot be read ({type(error).__name__}).") from None
    headers = [cell.strip().lower() for cell in rows[0]] if rows else []
    column = headers.index(HEADER) if HEADER in headers else 0
    if HEADER not in headers and any(cell.strip() for row in rows for cell in row[1:]):
        raise UnusableOption(
            "The file with the excluded users has several columns, and none with the header sourcedId."
        )
    first = 1 if HEADER in headers else 0
    user_ids = distinct_names(unquote_formula(row[column]) for row in rows[first:] if len(row) > column)
    for separator, name in ((";", "semicolons"), ("\t", "tabs")):
        if any(separator in cell for row in rows for cell in row):
            raise UnusableOption(f"The file with the excluded users is separated by {name}: separate it by commas.")
    if not user_ids:
        raise UnusableOption("The file with the excluded users has no sourcedId.")
    return user_ids


def _decode(content: bytes) -> str:
    """Returns the text of a file. Raises `UnusableOption` if it is not text, or not in UTF-8."""
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        looks = guess_encoding(content[error.start :])
        raise UnusableOption(
            f"The file with the excluded users is not UTF-8; it looks like {looks}. Save it as UTF-8."
        ) from None
    if "\0" in text:
        raise UnusableOption("The file with the excluded users is not a text file. Save it as CSV in UTF-8.")
    return text
