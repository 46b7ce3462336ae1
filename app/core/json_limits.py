"""Limits the numbers of values, keys and levels in a JSON document by scanning its bytes.

A body of 2 MB can contain 700,000 empty lists, which would take 50 MB and seconds to parse, validate and refuse. The
scan reads the bytes once, stops at the first exceeded limit, and keeps one small frame per level.
"""

import re
from typing import Final

from app.core.errors import Invalid, Violation

MAX_VALUES: Final = 10_000
"""The largest number of values in one document, at all depths together. 500 full scores, for example, have 5,000."""
MAX_KEYS: Final = 100
"""The largest number of keys of one object."""
MAX_DEPTH: Final = 32
"""The largest depth of nested lists and objects."""
# A string is skipped as one token. The possessive quantifiers keep no backtracking state, so they take no memory.
_TOKEN: Final = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"?|[\[\]{},]', re.DOTALL)


class NotText(ValueError):
    """Raised for a document that is not UTF-8, the required encoding of JSON (RFC 8259 §8.1)."""


def check_json(document: bytes, most_values: int = MAX_VALUES) -> None:
    """Raises `Invalid` for a document that exceeds a limit, and `NotText` for one that is not UTF-8.

    It does not check that the document is valid JSON, because the parser does.
    """
    try:
        document.decode()
    except UnicodeDecodeError:
        raise NotText from None
    if b"\0" in document:
        # This may be UTF-16 without a byte order mark, which a parser that guesses encodings would read as another
        # document.
        raise NotText
    opened = document.count(b"[") + document.count(b"{")
    if opened <= MAX_DEPTH and document.count(b",") < MAX_KEYS:
        return  # even if every bracket and comma counted, no limit would be exceeded
    if excess := _excess(document, most_values):
        raise Invalid([excess])


def _excess(document: bytes, most_values: int) -> Violation | None:
    values = 1
    frames: list[list[int]] = []  # for each open level: whether it is an object, and the number of its members so far
    for token in _TOKEN.finditer(document):
        mark = document[token.start()]
        if mark == 0x22:  # a string
            continue
        if mark in (0x5D, 0x7D):  # ] }
            if frames:
                frames.pop()
            continue
        values += 1
        if mark == 0x2C:  # ,
            if frames:
                is_object, members = frames[-1]
                if is_object and members >= MAX_KEYS:
                    return Violation("", "body.too_many_keys", f"An object has at most {MAX_KEYS} keys.")
                frames[-1][1] = members + 1
        else:
            frames.append([mark == 0x7B, 1])
            if len(frames) > MAX_DEPTH:
                return Violation("", "body.too_deep", f"Lists and objects are nested at most {MAX_DEPTH} deep.")
        if values > most_values:
            detail = f"A body has at most {most_values} values here. Split it into several requests."
            return Violation("", "body.too_many_values", detail)
    return None
