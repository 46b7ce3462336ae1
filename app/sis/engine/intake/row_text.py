"""Splits single rows of CSV files into cells, and makes digests of rows that cannot be split. Stores nothing."""

import csv
import hashlib
import re

MARK = "\ufdd0"  # a noncharacter that replaces a carriage return, at which `csv` would end the row
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
