"""Validates a file's header, and warns of irregularities. Reads only the beginning of a file."""

import csv
import io
import unicodedata
from itertools import islice

from app.core.encoding import guess_encoding
from app.core.plural import pluralize
from app.sis.oneroster_csv.files import COMMON, ONLY_1_1, CsvFile, expected_columns
from app.sis.port import SourceRefused

MAX_COLUMNS = 200
PEEKED = 20  # rows of a bulk file that are checked for values that only a delta should have
BOM = b"\xef\xbb\xbf"
NO_TEXT = b"\r\n \t\x1a\0"  # including the bytes with which DOS and tapes end a file
NO_CSV = {
    b"PK\x03\x04": "a zip file or an Excel workbook",
    b"\xd0\xcf\x11\xe0": "an old Excel workbook",
    b"\x1f\x8b": "a gzip file",
    b"%PDF": "a PDF document",
    b"<": "a web page, such as that of a login",
    b"{": "JSON",
    b"[": "JSON",
}
"""What a file is that begins with these bytes instead of a header."""
DELIMITERS = {"\t": "tabs", ";": "semicolons", "|": "vertical bars"}


def decode_text(raw: bytes, file: str) -> str:
    """Returns the text of the beginning of a file. Raises `SourceRefused` unless it is UTF-8 text."""
    try:
        text = raw.removeprefix(BOM).decode("utf-8")
    except UnicodeDecodeError as error:
        row = raw[: error.start].count(b"\n") + 1
        raise SourceRefused(
            f"{file} is not UTF-8: row {row} looks like {guess_encoding(raw)}. Export it as UTF-8."
        ) from None
    if "\0" in text:
        looks = f", and looks like {guess_encoding(raw)}" if raw.count(b"\0") > len(raw) // 4 else ""
        raise SourceRefused(f"{file} is not UTF-8 text, since it holds a NUL character{looks}: export it as UTF-8.")
    return text


def read_header(head: bytes, more: bool, file: str, mode: str) -> tuple[str, ...]:
    """Returns the names of the columns in the first line of a file.

    `head` is the beginning of the file. With `more`, the file continues after `head`. Raises `SourceRefused` for an
    empty file, and for a bulk file without rows. A delta without rows is valid, and means that nothing has changed.
    """
    if not head.strip(BOM + NO_TEXT):
        raise SourceRefused(f"{file} is empty. A file without rows must be announced as absent.")
    beginning = head.removeprefix(BOM).lstrip()
    for signature, looks in NO_CSV.items():
        if beginning.startswith(signature):
            raise SourceRefused(f"{file} is not CSV; it looks like {looks}: export it again.")
    end = min((at for at in (head.find(b"\n"), head.find(b"\r")) if at >= 0), default=len(head))
    if more and end == len(head):
        raise SourceRefused(f"The first line of {file} does not end where a header does: export it again.")
    line = decode_text(head[:end], file)
    for delimiter, name in DELIMITERS.items():
        if line.count(delimiter) > line.count(",") and "sourcedid" in line.lower():
            raise SourceRefused(f"{file} is separated by {name} and not by commas: export it with commas.")
    if mode == "bulk" and not more and not head[end:].strip(NO_TEXT):
        raise SourceRefused(f"{file} has a header and no row. This is not read as “everyone is gone”: export it again.")
    try:
        return tuple(next(csv.reader([line], strict=True)))
    except (csv.Error, StopIteration):
        raise SourceRefused(f"The header of {file} is not well-formed CSV.") from None


def name_columns(header: tuple[str, ...], file: str) -> tuple[tuple[str, ...], int, list[str]]:
    """Returns the header with a name for every column, the number of nameless columns at its end, and warnings.

    A column without a name gets its position as its name, such as "(3)".

    Spreadsheets write nameless columns where cells next to the table were once used. Nameless columns are not imported.
    """
    nameless = [number for number, column in enumerate(header, start=1) if not column.strip(" ")]
    last_named = max((number for number, column in enumerate(header, start=1) if column.strip(" ")), default=0)
    named = tuple(column if column.strip(" ") else f"({number})" for number, column in enumerate(header, start=1))
    note = f"{file} has {pluralize(len(nameless), 'column', 'columns')} without a name: not imported."
    return named, len(header) - last_named, [note] if nameless else []


def standard_columns(header: tuple[str, ...], file: CsvFile) -> tuple[tuple[str, ...], list[str]]:
    """Returns the header with the column names as OneRoster spells them, and a list of warnings.

    There is a warning if columns are written in another case, or with blanks around the name.
    """
    standard = {column.lower(): column for column in (*COMMON, *file.columns)}
    renamed = tuple(standard.get(column.strip(" ").lower(), column) for column in header)
    other = [new for old, new in zip(header, renamed, strict=True) if old != new]
    note = f"{file.name}.csv has {', '.join(other)} in another case or with blanks: read as these."
    return renamed, [note] if other else []


def check_columns(header: tuple[str, ...], file: CsvFile, version: str, mode: str) -> list[str]:
    """Checks the names of a file's columns, and returns warnings about them.

    Raises `SourceRefused` for an invalid, repeated or missing name.
    """
    name = f"{file.name}.csv"
    if not {column.strip().lower() for column in header} & {column.lower() for column in (*COMMON, *file.columns)}:
        raise SourceRefused(
            f"The first line of {name} is not the header of OneRoster, sourcedId and so on: export it without any line "
            "before the header."
        )
    if len(header) > MAX_COLUMNS:
        raise SourceRefused(f"{name} has {len(header):,} columns, more than OneRoster has by far: export it again.")
    for number, column in enumerate(header, start=1):
        if not column.isascii() or not column.isprintable() or " " in column:
            hidden = ", ".join(sorted({_named(c) for c in column if not c.isascii() or not c.isprintable()}))
            raise SourceRefused(
                f"The name of column {number} of {name} holds a blank, or hidden or foreign characters"
                f"{f' ({hidden})' if hidden else ''}: export it as UTF-8 with the header of OneRoster {version}."
            )
    if twice := [column for column in (*COMMON, *file.columns) if header.count(column) > 1]:
        raise SourceRefused(f"{name} names the column {twice[0]} twice: export it with each column once.")
    required = file.required | (ONLY_1_1["users"] if file.name == "users" and version == "1.1" else set())
    if mode == "delta":
        required |= {"status", "dateLastModified"}
    missing = sorted(required - set(header))
    if missing:
        raise SourceRefused(f"{name} lacks the column{'s'[: len(missing) > 1]} {', '.join(missing)}.")
    return _warnings(header, file, version)


def _warnings(header: tuple[str, ...], file: CsvFile, version: str) -> list[str]:
    name, columns, warnings = f"{file.name}.csv", expected_columns(file, version), []
    present = [column for column in header if column in columns]
    if present != [column for column in columns if column in present]:
        warnings.append(f"{name} has its columns in another order: read by their names.")
    lacking = [column for column in columns if column not in header and column in file.taken - {"textScore"}]
    if lacking:
        warnings.append(f"{name} has no {', '.join(lacking)}: the known values stay.")
    column_names = {*columns, *file.columns}
    others = [column for column in header if column not in column_names and not column.startswith(("metadata.", "("))]
    if others:
        warnings.append(f"{name} has columns that OneRoster {version} does not know: not imported.")
    return warnings


def has_delta_values(head: bytes, header: tuple[str, ...], file: str) -> bool:
    """Returns whether one of the first rows of a bulk file has a value in the column status or dateLastModified.

    These columns must be blank in a bulk file. If they have values, the file is probably a delta that was declared as
    bulk.
    """
    places = [header.index(column) for column in ("status", "dateLastModified") if column in header]
    text = head.removeprefix(BOM).decode("utf-8", "replace")
    whole = text[: text.rfind("\n") + 1] or text
    try:
        names, *rows = islice(csv.reader(io.StringIO(whole, newline="")), PEEKED)
    except (csv.Error, ValueError):
        return False
    rows = [row for row in rows if row[1:] != names[1:]]  # files that were joined have their header several times
    return any(len(row) > place and row[place].strip() for row in rows for place in places)


def _named(character: str) -> str:
    return unicodedata.name(character, f"U+{ord(character):04X}")
