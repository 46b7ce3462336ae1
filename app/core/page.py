"""Owns keyset pages: sealed cursors bound to the district, the list and its filter. Never counts or skips rows."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar
from uuid import UUID

import orjson

from app.core.crypto import Keyring
from app.core.cursor import PROCESS_SEAL, CursorSeal, cursor_seal
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
    """Where a page starts and how long it may be; `bound` is a digest of what its cursors belong to."""

    seal: CursorSeal
    bound: bytes
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
        return self.seal.seal(self.bound, place)

    def cut(self, rows: Sequence[Row], key: Any) -> Page[Row]:
        """A page out of up to `limit + 1` rows; `key` gives a row's place as a tuple."""
        if len(rows) <= self.limit:
            return Page(rows, None)
        kept = rows[: self.limit]
        return Page(kept, self.mark(*key(kept[-1])))


def keyset(
    district_id: UUID,
    listing: str,
    filters: dict[str, Any],
    cursor: str | None,
    limit: int | None,
    keyring: Keyring | None = None,
) -> Keyset:
    """The keyset of a list; raises `Malformed` for a foreign, stale or edited cursor and an unfit limit.

    A face gives the keyring, so that its cursors open in every process; without it they open in this process only.
    """
    size = DEFAULT_LIMIT if limit is None else limit
    if not 1 <= size <= MAX_LIMIT:
        detail = f"A page holds 1 to {MAX_LIMIT} rows."
        raise Malformed([Violation("/limit", "page.limit", detail)])
    owner = orjson.dumps(
        [str(district_id), listing, {k: v for k, v in filters.items() if v is not None}],
        option=orjson.OPT_SORT_KEYS,
        default=str,
    )
    bound = hashlib.sha256(owner).digest()
    seal = PROCESS_SEAL if keyring is None else cursor_seal(keyring)
    place = None if cursor is None else seal.open(bound, cursor)
    if cursor is not None and place is None:
        raise _made_up()
    return Keyset(seal, bound, place, size)


def _made_up() -> Malformed:
    detail = "This cursor was changed, or is of another list, filter or district. Start again without it."
    return Malformed([Violation("/after", "page.cursor", detail)])
