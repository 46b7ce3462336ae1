"""Creates, formats and parses the identifiers that the APIs show: UUIDv7 with a type prefix.

Does not use the database.

An identifier is `<prefix>_<26 characters>`: the 128 bits of a UUIDv7 (RFC 9562 §5.7) in Crockford's base 32, lower
case. The prefix states the type of the row, for GraphQL's `node(id)` and for readers of logs.
"""

import os
import threading
import time
from uuid import UUID

from app.core.errors import Invalid, Violation

ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
_VALUE = {character: number for number, character in enumerate(ALPHABET)}
_LENGTH = 26

PREFIXES = {
    "district": "dis",
    "client": "cli",
    "source": "src",
    "org": "org",
    "academic_session": "ter",
    "course": "cou",
    "class": "cls",
    "break": "brk",
    "student": "stu",
    "person": "per",
    "enrollment": "enr",
    "line_item": "lin",
    "result": "res",
    "assessment": "asm",
    "assessment_result": "asr",
    "team": "tea",
    "team_member": "tmb",
    "team_scope": "tsc",
    "protocol": "pro",
    "meeting_series": "mse",
    "meeting": "mee",
    "calendar_link": "clk",
    "agenda_item": "agi",
    "action_item": "act",
    "area": "are",
    "level": "lev",
    "measure": "mea",
    "benchmark": "bmk",
    "playbook": "pla",
    "screening_window": "scw",
    "signal_rule": "sru",
    "signal": "sig",
    "core_stall": "cst",
    "concern": "con",
    "support": "sup",
    "phase": "pha",
    "session": "ses",
    "group": "grp",
    "group_session": "gse",
    "handover": "han",
    "score": "sco",
    "attendance_record": "atr",
    "incident_kind": "ink",
    "incident": "inc",
    "verdict": "ver",
    "decision": "dec",
    "note": "not",
    "hypothesis_kind": "hyk",
    "hypothesis": "hyp",
    "intervention": "int",
    "calibration": "cal",
    "event": "evt",
    "endpoint": "end",
    "delivery": "del",
    "attempt": "att",
    "run": "run",
}
KIND_OF_PREFIX = {prefix: kind for kind, prefix in PREFIXES.items()}

_PAIRS = tuple(first + second for first in ALPHABET for second in ALPHABET)
_SHIFTS = range(120, -1, -10)
"""The bit positions of the groups of ten bits in an id, highest first. A group is encoded as two characters.

Encoding two characters at a time saves time, because a page of events contains hundreds of ids.
"""

_lock = threading.Lock()
_last = 0


def new_id() -> UUID:
    """Returns a new UUIDv7 that is greater than every id that this process created earlier."""
    global _last
    with _lock:
        # 48 bits of milliseconds and 12 bits of their fraction, so that order holds within a millisecond.
        stamp = time.time_ns() * 4096 // 1_000_000
        _last = max(_last + 1, stamp)
        stamp = _last
    random = int.from_bytes(os.urandom(8)) & ((1 << 62) - 1)
    return UUID(int=(stamp >> 12) << 80 | 0x7 << 76 | (stamp & 0xFFF) << 64 | 0b10 << 62 | random)


def format_id(kind: str, value: UUID) -> str:
    """Returns the public identifier of a row, such as `stu_01j…`."""
    return f"{PREFIXES[kind]}_{encode(value.int)}"


def encode(number: int) -> str:
    """Returns the 26 characters that stand for the 128 bits of a row id in its public identifier."""
    return "".join([_PAIRS[number >> shift & 1023] for shift in _SHIFTS])


def parse_id(kind: str, text: str, pointer: str = "") -> UUID:
    """Parses a public identifier of this kind into a row id; raises `Invalid` if it is malformed or of another kind."""
    actual_kind, value = parse_any_id(text, pointer)
    if actual_kind != kind:
        raise Invalid([Violation(pointer, "id.kind", f"This must be the id of a {kind}, {PREFIXES[kind]}_….")])
    return value


def parse_any_id(text: str, pointer: str = "") -> tuple[str, UUID]:
    """Parses a public identifier of any kind into its kind and row id; raises `Invalid` if it is malformed."""
    prefix, _, body = text.partition("_")
    kind = KIND_OF_PREFIX.get(prefix)
    number = 0
    well_formed = kind is not None and len(body) == _LENGTH and body[0] in "01234567"
    if well_formed:
        for character in body:
            if character not in _VALUE:
                well_formed = False
                break
            number = number << 5 | _VALUE[character]
    if not well_formed or kind is None:
        raise Invalid([Violation(pointer, "id.malformed", "This is not an id that Aimline has issued.")])
    return kind, UUID(int=number)
