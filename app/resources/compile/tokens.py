r"""Replaces the marks in the text that a statement returns. A mark begins with a control byte.

PostgreSQL returns JSON text, in which marks stand at the places that Python completes. JSON text contains no control
byte itself, because every string in it is escaped.

    \x01 kind uuid        the id of a row
    \x02 record           a row about the same student as the row that encloses it
    \x03 record uuid      a row about this student
    \x0e                  a row about no student
    \x04 slot : json \x05  a position in a list, to be encrypted into a cursor
    \x06 slot : json \x07  a value that Python completes
    \x08 slot : \x07       a link with more rows than it may have
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

import numpy as np
from asyncpg.pgproto.pgproto import UUID as DriverUUID

from app.core import ids

ID, SAME, ABOUT, ROW = "\x01", "\x02", "\x03", "\x0e"
POSITION, POSITION_END, VALUE, END, TOO_MANY = "\x04", "\x05", "\x06", "\x07", "\x08"
POSITIONS = re.compile(rb"\x04(\d+):([^\x05]*)\x05")
VALUES = re.compile(rb"\x06(\d+):([^\x07]*)\x07")
TOO_MANY_ROWS = re.compile(rb"\x08(\d+):\x07")

FEW = 8
"""The largest number of ids that are formatted one by one. NumPy is faster only for more ids."""
_FIRST = 48
_UUID = 36

_KINDS = tuple(ids.PREFIXES)
_OPENINGS = {_FIRST + place: f'"{ids.PREFIXES[kind]}_'.encode() for place, kind in enumerate(_KINDS)}
"""The quote and the prefix of a public id, keyed by the character code of the kind in an id token."""
_BODY = 26
_ALPHABET = np.frombuffer(ids.ALPHABET.encode(), dtype=np.uint8)
_HIGH_SHIFTS = np.arange(61, 0, -5, dtype=np.uint64)
_LOW_SHIFTS = np.arange(55, -1, -5, dtype=np.uint64)
"""The distances by which the halves of a UUID are shifted, so that the lowest five bits stand for one character.

Between those of the high and of the low half is the one character whose bits are in both halves.
"""


def id_token(kind: str) -> str:
    """Returns the mark that an SQL statement writes before a UUID.

    The mark says that the UUID is an id of this kind.
    """
    return ID + chr(_FIRST + _KINDS.index(kind))


def record_letter(place: int) -> str:
    """Returns the letter that stands for a kind of record in the text that a statement returns.

    `place` is the index of the kind in `Plan.records`.
    """
    return chr(_FIRST + place)


@dataclass(frozen=True, slots=True)
class Rendered:
    """The JSON text of a response, with what is needed for the disclosure log.

    `students` are the students whose records the text shows. `records` has the kinds of these records, as indices of
    `Plan.records`. `rows` is the number of rows in the text.
    """

    text: bytes
    students: frozenset[UUID]
    records: frozenset[int]
    rows: int


def render(raw: bytes) -> Rendered:
    """Replaces the marks in the text that a statement returned, and returns the resulting JSON.

    A UUID that is marked as an id becomes a public id. The marks that say which students the rows are about are
    removed; these students, and the kinds of the records, are returned for the disclosure log.
    """
    text, students, about = _take_out(raw, ABOUT.encode(), _UUID)
    text, _, same = _take_out(text, SAME.encode(), 0)
    rows, row = len(about) + len(same), ROW.encode()
    if row in text:
        rows += text.count(row)
        text = text.replace(row, b"")
    records = frozenset(letter - _FIRST for letter in {*about, *same})
    return Rendered(_with_public_ids(text), frozenset(map(DriverUUID, set(_bytes_of(students)))), records, rows)


def _take_out(text: bytes, token: bytes, width: int) -> tuple[bytes, list[bytes], bytes]:
    """Removes every `token` together with the letter and the `width` characters that follow it.

    Returns the remaining text, the removed characters of each place, and the removed letters. `token` is the control
    byte of a mark for the disclosure log. The letter is the kind of record, and the characters are a student's UUID.
    """
    if token not in text:
        return text, [], b""
    first, *pieces = text.split(token)
    end = 1 + width
    remaining = b"".join([first, *[piece[end:] for piece in pieces]])
    return remaining, [piece[1:end] for piece in pieces], bytes([piece[0] for piece in pieces])


def _with_public_ids(text: bytes) -> bytes:
    """Returns the text with public ids in place of the UUIDs that are marked as ids."""
    first, *pieces = text.split(ID.encode())
    if not pieces:
        return text
    end = 1 + _UUID
    uuids = [piece[1:end] for piece in pieces]
    written = [
        b'%b%b"%b' % (_OPENINGS[piece[0]], body, piece[end:])
        for piece, body in zip(pieces, _bodies_of(uuids), strict=True)
    ]
    return b"".join([first, *written])


def _bodies_of(uuids: Sequence[bytes]) -> list[bytes]:
    """Returns the 26 characters that follow the prefix in the public id of each UUID."""
    if len(uuids) <= FEW:
        return [ids.encode(int(uuid.replace(b"-", b""), 16)).encode() for uuid in uuids]
    halves = np.frombuffer(b"".join(_bytes_of(uuids)), dtype=">u8").astype(np.uint64).reshape(-1, 2)
    high, low = halves[:, :1], halves[:, 1:]
    fives = np.empty((len(uuids), _BODY), dtype=np.uint64)
    fives[:, :13] = high >> _HIGH_SHIFTS
    fives[:, 13:14] = high << np.uint64(4) | low >> np.uint64(60)
    fives[:, 14:] = low >> _LOW_SHIFTS
    characters = _ALPHABET[fives & np.uint64(31)].tobytes()
    return [characters[begin : begin + _BODY] for begin in range(0, len(characters), _BODY)]


def _bytes_of(uuids: Sequence[bytes]) -> list[bytes]:
    """Returns the 16 bytes of each UUID. The UUIDs are given in their usual form of 36 characters."""
    joined = bytes.fromhex(b"".join(uuids).decode().replace("-", ""))
    return [joined[begin : begin + 16] for begin in range(0, len(joined), 16)]
