"""Defines the options that restrict a sync to some schools and exclude users, and reads their values."""

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated

import typer

Schools = Annotated[
    list[str] | None, typer.Option(help="sourcedIds of schools, separated by commas: only these are synced.")
]
ExcludeUsers = Annotated[
    str | None, typer.Option(metavar="FILE", help="A file of users' sourcedIds, one a line, who are not synced.")
]


class UnusableOption(Exception):
    """Raised for an option whose value cannot be used; the message is a sentence for the user."""


def distinct_names(texts: Iterable[str]) -> tuple[str, ...]:
    """Strips the texts, and returns them without empty texts and repetitions."""
    return tuple(dict.fromkeys(text.strip() for text in texts if text.strip()))


def read_schools(options: Sequence[str]) -> tuple[str, ...]:
    """Returns the sourcedIds in the values of `--schools`. Commas separate the sourcedIds in a value."""
    return distinct_names(",".join(options).split(","))


def read_users(file: str) -> tuple[str, ...]:
    """Returns the sourcedIds in a file: one per line, or the first column of a CSV file with the header sourcedId.

    Raises `UnusableOption` for a file that cannot be read, and for a file without any id, because an empty file from a
    failed export would otherwise exclude nobody.
    """
    try:
        rows = list(csv.reader(Path(file).read_text("utf-8-sig").splitlines()))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UnusableOption(f"The file with the excluded users cannot be read ({type(error).__name__}).") from None
    names = [row[0] for row in rows if row]
    user_ids = distinct_names(names[1:] if names and names[0].strip().lower() == "sourcedid" else names)
    if not user_ids:
        raise UnusableOption("The file with the excluded users has no sourcedId.")
    return user_ids
