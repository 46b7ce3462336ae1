"""Owns how large a JSON document may be in numbers: values, keys, depth. Counts in the bytes; never builds a value.

A body of 2 MB can hold 700,000 empty lists, which would take 50 MB and seconds to parse, validate and refuse. The count
reads the bytes once, stops at the first limit that is passed, and keeps one small frame a level.
"""

import re
from typing import Final

from app.core.errors import Invalid, Violation

MOST_VALUES: Final = 10_000
"""Values in one document, whatever their nesting: 500 scores with every field are 5,000. Each may be a violation."""
MOST_KEYS: Final = 100
"""Keys of one object."""
MOST_DEPTH: Final = 32
"""Levels of lists and objects."""
# A text is passed over as a whole. The quantifiers are possessive: they keep no way back, so they take no memory.
_TOKEN: Final = re.compile(rb'"(?:[^"\\]++|\\.)*+"?|[\[\]{},]', re.DOTALL)


class NotText(ValueError):
    """The document is not UTF-8, which JSON between systems is (RFC 8259 §8.1)."""


def check_json(document: bytes, most_values: int = MOST_VALUES) -> None:
    """Raises `Invalid` for a document beyond a limit, `NotText` for one that is not UTF-8.

    Whether it is JSON is for the parser to say.
    """
    try:
        document.decode()
    except UnicodeDecodeError:
        raise NotText from None
    if b"\0" in document:
        # UTF-16 without its mark. A parser that guesses the encoding would see another document than is counted here.
        raise NotText
    opened = document.count(b"[") + document.count(b"{")
    if opened <= MOST_DEPTH and document.count(b",") < MOST_KEYS:
        return  # even if all of them count, no limit is passed
    if excess := _excess(document, most_values):
        raise Invalid([excess])


def _excess(document: bytes, most_values: int) -> Violation | None:
    values = 1
    frames: list[list[int]] = []  # for each level: whether it is an object, and its members so far
    for token in _TOKEN.finditer(document):
        mark = document[token.start()]
        if mark == 0x22:  # a text
            continue
        if mark in (0x5D, 0x7D):  # ] }
            if frames:
                frames.pop()
            continue
        values += 1
        if mark == 0x2C:  # ,
            if frames:
                is_object, members = frames[-1]
                if is_object and members >= MOST_KEYS:
                    return Violation("", "body.too_many_keys", f"An object has at most {MOST_KEYS} keys.")
                frames[-1][1] = members + 1
        else:
            frames.append([mark == 0x7B, 1])
            if len(frames) > MOST_DEPTH:
                return Violation("", "body.too_deep", f"Lists and objects are nested at most {MOST_DEPTH} deep.")
        if values > most_values:
            detail = f"A body has at most {most_values} values here. Send it in parts."
            return Violation("", "body.too_many_values", detail)
    return None
