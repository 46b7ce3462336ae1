"""Writes the CSV files that people open: UTF-8 with a byte order mark, and no cell that a spreadsheet would run.

Without the mark, Excel reads a CSV file in the code page of its country, and shows `Müller` as `MÃ¼ller`. Every CSV
file that Aimline hands out begins with `BOM`, over REST and on the command line.
"""

import csv
import io
from collections.abc import Iterable, Sequence
from typing import Final

from app.core.text import quote_formula

BOM: Final = "\ufeff"


def csv_lines(rows: Iterable[Sequence[object]]) -> str:
    """Returns rows as lines of CSV (RFC 4180), without the byte order mark.

    A text that a spreadsheet would run as a formula gets an apostrophe before it.
    """
    sheet = io.StringIO(newline="")
    writer = csv.writer(sheet)
    writer.writerows([quote_formula(cell) if isinstance(cell, str) else cell for cell in row] for row in rows)
    return sheet.getvalue()
