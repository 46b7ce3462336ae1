"""Owns keyset pages: opaque cursors bound to the district, the filter and the order. Never counts or skips rows."""

import base64
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar
from uuid import UUID

import orjson

from app.core.errors import Malformed, Violation

Row = TypeVar("Row")
DEFAULT_LIMIT = 50
MAX_LIMIT = 200
BIGINT = 2**63


@dataclass(frozen=True, slots=True)
class Page(Generic[Row]):
    """Rows in order and, where more follow, the cursor of the next page."""

    rows: Sequence[Row]
    next: str | None


@dataclass(frozen=True, slots=True)
class Keyset:
    """Where a page starts and how long it may be; `bound` names what the cursor belongs to."""

    bound: str
    after: tuple[Any, ...] | None
    limit: int

    def after_id(self, place: int = 0) -> UUID:
        """The row id at a place of the cursor; raises `Malformed` where somebody made the cursor up."""
        try:
            return UUID(str((self.after or ())[place]))
        except (ValueError, IndexError):
            raise _made_up() from None

    def after_number(self, place: int = 0) -> int:
        """The number at a place of the cursor, the last one; 0 without a cursor."""
        if self.after is None:
            return 0
        number = self.after[place] if len(self.after) == place + 1 else None
        if type(number) is not int or not 0 <= number < BIGINT:
            raise _made_up()
        return number

    def mark(self, *place: Any) -> str:
        """A cursor at this place."""
        return _write(self.bound, place)

    def cut(self, rows: Sequence[Row], key: Any) -> Page[Row]:
        """A page out of up to `limit + 1` rows; `key` gives a row's place as a tuple."""
        if len(rows) <= self.limit:
            return Page(rows, None)
        kept = rows[: self.limit]
        return Page(kept, _write(self.bound, key(kept[-1])))


def keyset(district_id: UUID, listing: str, filters: dict[str, Any], cursor: str | None, limit: int | None) -> Keyset:
    """The keyset of a listing; raises `Malformed` for a foreign, stale or broken cursor and an unfit limit."""
    size = DEFAULT_LIMIT if limit is None else limit
    if not 1 <= size <= MAX_LIMIT:
        detail = f"A page holds 1 to {MAX_LIMIT} rows."
        raise Malformed([Violation("/limit", "page.limit", detail)])
    told = orjson.dumps(
        [str(district_id), listing, {k: v for k, v in filters.items() if v is not None}],
        option=orjson.OPT_SORT_KEYS,
        default=str,
    )
    bound = hashlib.sha256(told).hexdigest()[:16]
    return Keyset(bound, None if cursor is None else _read(bound, cursor), size)


def _write(bound: str, place: tuple[Any, ...]) -> str:
    return base64.urlsafe_b64encode(orjson.dumps([bound, *place], default=str)).decode().rstrip("=")


def _read(bound: str, cursor: str) -> tuple[Any, ...]:
    try:
        parts = orjson.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
        found, place = parts[0], tuple(parts[1:])
    except (ValueError, TypeError, IndexError, KeyError):
        found, place = None, ()
    if found != bound or any(isinstance(part, str) and "\x00" in part for part in place):
        raise _made_up()
    return place


def _made_up() -> Malformed:
    detail = "This cursor is of another list, filter or district. Start again without it."
    return Malformed([Violation("/after", "page.cursor", detail)])
