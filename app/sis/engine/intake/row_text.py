"""Functions about rows of CSV files: splits a row into cells, recognizes footers, makes digests of rows.

Stores nothing.
"""

import csv
import hashlib
import re
from typing import Final

MARK = "\ufdd0"  # a noncharacter that replaces a carriage return, at which `csv` would end the row
END_OF_FILE: Final = b"\x1a\0"  # DOS ends a text file with 0x1A; tapes and fixed blocks fill up with NUL
NOTHING: Final = b" \t" + END_OF_FILE
FOOTER_WORDS: Final = ("end", "eof", "end of file", "footer", "total", "totals", "trailer", "count")
_FIGURE: Final = re.compile(r"[\d.,:/ -]+")
_INSTANT = re.compile(rb"\d{4}-\d\d-\d\d[T ]\d\d:\d\d[\d:.]*(?:Z|[+-]\d\d:?\d\d)?")


def digest_row(row: bytes) -> str:
    """Returns a digest of a row without its line end and without instants.

    Instants are left out because some sources renew the time of the last change every night.
    """
    return hashlib.blake2b(_INSTANT.sub(b"", row.rstrip(b"\r\n")), digest_size=16).hexdigest()


def cells_of(body: bytes, escape: str | None = None) -> list[str] | None:
    """Returns the cells of one row, or None if the row is malformed.

    Carriage returns within cells are kept. A quote is escaped by doubling it, or by the character `escape` before it.
    """
    try:
        rows = list(csv.reader([body.decode().replace("\r", MARK)], strict=True, escapechar=escape))
    except csv.Error:
        return None
    return [cell.replace(MARK, "\r") for cell in rows[0]] if len(rows) == 1 else None


def quoted(cell: bytes) -> bytes:
    """Returns the cell, with quotes around it if CSV requires them."""
    plain = not any(letter in cell for letter in (b'"', b",", b"\r", b"\n", b"\\"))
    return cell if plain else b'"' + cell.replace(b'"', b'""') + b'"'


def is_text(raw: bytes) -> bool:
    """Returns whether bytes are UTF-8."""
    try:
        raw.decode()
    except UnicodeDecodeError:
        return False
    return True


def footers_of(tail: bytes, mark: bytes, key: int) -> list[int]:
    """Returns which lines at the end of a file are footers, such as `Total rows: 123`. The last line has the number 0.

    `tail` is the end of the file, and begins within its header or within a row. `mark` is the byte that ends a line,
    and `key` the index of the column sourcedId.
    """
    lines = tail.split(mark)[1:]
    if lines and not lines[-1]:
        lines.pop()
    footers: list[int] = []
    for number, line in enumerate(reversed(lines)):
        if not line.strip(NOTHING + b'\r\n,"'):
            continue
        if not is_footer(line):
            cells = line.split(b",")
            has_blank_in_id = len(cells) > key and b" " in cells[key].strip(b' "')
            return [] if has_blank_in_id else footers
        footers.append(number)
    return footers


def is_footer(line: bytes) -> bool:
    """Returns whether a line cannot be a record: its only text is several words or a word such as `EOF`.

    A number may follow in another cell. A single other word may be a sourcedId, so such a line may be a record that
    was cut off.
    """
    cells = cells_of(line.strip(b"\r\n")) if is_text(line) and not line.count(b'"') % 2 else None
    values = [cell.strip() for cell in cells or () if cell.strip()]
    if not values or not all(map(_FIGURE.fullmatch, values[1:])) or len(values) > 2:
        return False
    words = values[0].strip(" -*=#:.()[]<>").lower()
    return any(letter.isalpha() for letter in words) and (" " in words or words in FOOTER_WORDS)
