"""Finds quotes, blanks and line ends in blocks of whole CSV rows, as bytes. Does not split rows into cells."""

import re
from typing import Final

import numpy as np

from app.core.text import EDGE_BLANKS
from app.sis.kinds import OPEN_YEARS

QUOTE, COMMA, FEED, RETURN, BLANK, DASH = 34, 44, 10, 13, 32, 45
IS_EDGE = np.isin(np.arange(256), (QUOTE, COMMA, FEED, RETURN))
"""For each value of a byte, whether it is a quote, a comma or a line end."""
CONTROLS: Final = (b"\t", b"\x0b", b"\x0c", b"\x1a")
"""Control characters that count as blanks around an id, such as the form feed before the first row of a page."""
QUOTED_LINE_ENDS: Final = (b'\n",', b'\r",', b',"\n', b',"\r', b'\n"\n', b'\n"\r')
"""Line ends at the beginning or the end of a value in quotes."""
WIDE_BLANKS: Final = tuple(map(str.encode, ("\u0085", "\u00a0", "\u00ad", "\u1680", "\u3000", "\ufeff")))
_FAR: Final = np.array([int.from_bytes(year.encode()) for year in OPEN_YEARS], np.uint32)
"""`OPEN_YEARS`, each as one number made of its four characters. The last two digits of each year are equal."""
_INVISIBLE: Final = re.compile("[\u2000-\u200f\u2028-\u202f\u205f-\u2064]")
# A blank stands between the parts because PostgreSQL, if it prints a statement, cuts a long word within a character.
BLANKS_SQL: Final = "U&'{}'".format(
    " ".join(
        "".join(f"\\{ord(blank):04X}" for blank in EDGE_BLANKS[at : at + 16]) for at in range(0, len(EDGE_BLANKS), 16)
    )
)
"""`EDGE_BLANKS` as an SQL text. `has_padding` finds these characters."""


def positions(block: bytes, letter: int) -> "np.ndarray":
    return np.flatnonzero(np.frombuffer(block, np.uint8) == letter)


def within_quotes(letters: "np.ndarray") -> "np.ndarray":
    """Returns an array with 1 for each byte within quotes, and 0 for each other byte.

    The closing quote counts as outside. A byte is within quotes if the number of quotes up to it is odd. The count may
    overflow, but the overflow does not change whether the count is odd.
    """
    return np.asarray(np.add.accumulate(letters == QUOTE, dtype=np.uint8) & 1)


def are_strict(letters: "np.ndarray", quotes: "np.ndarray", mark: int) -> bool:
    """Returns whether every quote opens a cell, closes a cell, or is one of two quotes that stand for a single one.

    Without this check, a missing quote in one row could pair with a quote of a later row, and all rows between them
    would become one cell. `mark` is the byte that separates rows.
    """
    opens, closes = quotes[::2], quotes[1::2]
    before = letters[np.maximum(opens - 1, 0)]
    fits = (opens == 0) | (before == COMMA) | (before == mark) | (before == FEED)
    fits[1:] |= opens[1:] - 1 == closes[: len(opens) - 1]
    after = letters[np.minimum(closes + 1, len(letters) - 1)]
    closed = (closes == len(letters) - 1) | (after == COMMA) | (after == FEED) | (after == RETURN) | (after == QUOTE)
    return bool(fits.all()) and bool(closed.all())


def count_outside(block: bytes, mark: bytes) -> int:
    """Returns the number of times that `mark`, a line end, occurs outside of quotes."""
    letters = np.frombuffer(block, np.uint8)
    return int(np.count_nonzero((letters == mark[0]) & (within_quotes(letters) == 0)))


def has_open_year(block: bytes) -> bool:
    """Returns whether a year of `OPEN_YEARS` with a dash after it occurs anywhere in a block.

    Only places where two equal characters come before a dash are compared. This takes a fifth of the time of a search
    for each of the years.
    """
    letters = np.frombuffer(block, np.uint8)
    dashes = 4 + np.flatnonzero((letters[4:] == DASH) & (letters[3:-1] == letters[2:-2]))
    years = np.zeros(len(dashes), np.uint32)
    for back in (4, 3, 2, 1):
        years = years * np.uint32(256) + letters[dashes - back].astype(np.uint32)
    return bool(np.isin(years, _FAR).any())


def has_padding(block: bytes) -> bool:
    """Returns whether any cell of a block of whole rows may begin or end with a blank.

    The rows are not split into cells, because that would take longer and most blocks have no such cell.
    """
    if any(control in block for control in CONTROLS):
        return True
    if b'"' in block and any(edge in block for edge in QUOTED_LINE_ENDS):
        return True
    if not block.isascii() and _has_wide_blank(block):
        return True
    if b" " not in block:
        return False
    letters = np.frombuffer(block, np.uint8)
    blanks = np.flatnonzero(letters == BLANK)
    before, after = letters[np.maximum(blanks - 1, 0)], letters[np.minimum(blanks + 1, len(letters) - 1)]
    at_end_of_block = blanks[0] == 0 or blanks[-1] == len(letters) - 1
    return bool(at_end_of_block or IS_EDGE[before].any() or IS_EDGE[after].any())


def _has_wide_blank(block: bytes) -> bool:
    if any(blank[:1] in block and blank in block for blank in WIDE_BLANKS):
        return True
    return (b"\xe2\x80" in block or b"\xe2\x81" in block) and _INVISIBLE.search(block.decode()) is not None
