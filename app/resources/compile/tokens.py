r"""Defines the control bytes in the text that a statement returns, and replaces each by what it stands for.

PostgreSQL returns JSON text in which control bytes mark the places that Python completes. JSON text contains no such
byte itself, because every string in it is escaped.

    \x01 kind uuid        the id of a row
    \x02 record           a row about the same student as the row around it
    \x03 record uuid      a row about this student
    \x0e                  a row about no student
    \x04 slot : json \x05  a position in a list, to be encrypted into a cursor
    \x06 slot : json \x07  a value that Python completes
    \x08 slot : \x07       a link with more rows than it may have
"""

import re
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import numpy as np
import numpy.typing as npt
from asyncpg.pgproto.pgproto import UUID as DriverUUID

from app.core import ids

ID, SAME, ABOUT, ROW = "\x01", "\x02", "\x03", "\x0e"
POSITION, POSITION_END, VALUE, END, TOO_MANY = "\x04", "\x05", "\x06", "\x07", "\x08"
POSITIONS = re.compile(rb"\x04(\d+):([^\x05]*)\x05")
VALUES = re.compile(rb"\x06(\d+):([^\x07]*)\x07")
TOO_MANY_ROWS = re.compile(rb"\x08(\d+):\x07")

MAX_SHORT = 800
"""The largest length, in bytes, of a text that is rendered token by token. NumPy is faster only for longer texts."""
_TOKEN = re.compile(rb"\x01(.)(.{36})|\x02(.)|\x03(.)(.{36})|\x0e", re.DOTALL)
_FIRST = 48
_UUID = 36
_QUOTED_ID_LENGTH = 32
"""The number of characters of a public id with its quotes; the token that it replaces is six bytes longer."""

_KINDS = tuple(ids.PREFIXES)
_PREFIXES = np.zeros((128, 3), dtype=np.uint8)
for _place, _kind in enumerate(_KINDS):
    _PREFIXES[_FIRST + _place] = np.frombuffer(ids.PREFIXES[_kind].encode(), dtype=np.uint8)
_ALPHABET = np.frombuffer(ids.ALPHABET.encode(), dtype=np.uint8)
_NIBBLES = np.zeros(256, dtype=np.uint8)
for _digit, _character in enumerate("0123456789abcdef"):
    _NIBBLES[ord(_character)] = _digit
_HEX = np.array([place for place in range(_UUID) if place not in (8, 13, 18, 23)])

Bytes = npt.NDArray[np.uint8]


def id_token(kind: str) -> str:
    """Returns the token that the statement writes before the UUID of a row of this kind."""
    return ID + chr(_FIRST + _KINDS.index(kind))


def record_letter(place: int) -> str:
    """Returns the letter that stands for a kind of record in a token.

    `place` is the index of the kind in the list of kinds.
    """
    return chr(_FIRST + place)


@dataclass(frozen=True, slots=True)
class Rendered:
    """The JSON text of an answer, with what is needed for the disclosure log.

    `students` are the students whose records the text shows. `records` has the kinds of these records, as indices of
    `Plan.records`. `rows` is the number of rows in the text.
    """

    text: bytes
    students: frozenset[UUID]
    records: frozenset[int]
    rows: int


def render(raw: bytes) -> Rendered:
    """Replaces the tokens in the text that a statement returned.

    An id token becomes a public id. A token that says which student a row is about is removed; the students and the
    kinds of records are returned for the disclosure log.
    """
    if len(raw) <= MAX_SHORT:
        return _render_short(raw)
    text = np.frombuffer(raw, dtype=np.uint8).copy()
    low = np.flatnonzero(text < 15)
    codes = text[low]
    keep = np.ones(len(text), dtype=bool)
    _write_ids(text, keep, low[codes == ord(ID)])
    same, about, rows = low[codes == ord(SAME)], low[codes == ord(ABOUT)], low[codes == ord(ROW)]
    records = set(text[same + 1].tolist()) | set(text[about + 1].tolist())
    students = _uuids(text, about + 2)
    for places, width in ((same, 2), (about, 2 + _UUID), (rows, 1)):
        keep[(places[:, None] + np.arange(width)).ravel()] = False
    number = len(same) + len(about) + len(rows)
    return Rendered(text[keep].tobytes(), students, frozenset(letter - _FIRST for letter in records), number)


def _render_short(raw: bytes) -> Rendered:
    """Renders a short text token by token, with the same result as `render`."""
    students: set[UUID] = set()
    records: set[int] = set()
    rows = 0

    def replace(token: re.Match[bytes]) -> bytes:
        nonlocal rows
        kind, row_id, same, about, student = token.groups()
        if kind is not None:
            return b'"%b"' % ids.format_id(_KINDS[kind[0] - _FIRST], UUID(row_id.decode())).encode()
        rows += 1
        if record := same or about:
            records.add(record[0] - _FIRST)
        if student is not None:
            students.add(UUID(student.decode()))
        return b""

    return Rendered(_TOKEN.sub(replace, raw), frozenset(students), frozenset(records), rows)


def _write_ids(text: Bytes, keep: npt.NDArray[np.bool_], places: npt.NDArray[np.intp]) -> None:
    if not len(places):
        return
    nibbles = _NIBBLES[text[places[:, None] + (2 + _HEX)]]
    bits = np.zeros((len(places), 130), dtype=np.uint8)
    bits[:, 2:] = np.unpackbits(nibbles[:, ::2] << 4 | nibbles[:, 1::2], axis=1)
    fives = np.packbits(bits.reshape(-1, 26, 5), axis=2)[:, :, 0] >> 3
    written = np.empty((len(places), _QUOTED_ID_LENGTH), dtype=np.uint8)
    written[:, 0] = written[:, _QUOTED_ID_LENGTH - 1] = ord('"')
    written[:, 1:4] = _PREFIXES[text[places + 1]]
    written[:, 4] = ord("_")
    written[:, 5:31] = _ALPHABET[fives]
    text[places[:, None] + np.arange(_QUOTED_ID_LENGTH)] = written
    keep[(places[:, None] + np.arange(_QUOTED_ID_LENGTH, 2 + _UUID)).ravel()] = False


def _uuids(text: Bytes, places: npt.NDArray[np.intp]) -> frozenset[UUID]:
    if not len(places):
        return frozenset()
    raw: Any = np.ascontiguousarray(text[places[:, None] + np.arange(_UUID)]).view(f"S{_UUID}")
    return frozenset(DriverUUID(identifier.decode()) for identifier in set(raw[:, 0].tolist()))
