"""Implements keyset pagination with encrypted cursors that are bound to the district, the list and its filter."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar
from uuid import UUID

import orjson

from app.core.crypto import Keyring
from app.core.cursor import PROCESS_SEAL, CursorSeal, cursor_seal
from app.core.errors import Malformed, Violation
from app.core.violations import ReadViolations

Row = TypeVar("Row")
DEFAULT_LIMIT = 50
MAX_LIMIT = 200
BIGINT = 2**63


@dataclass(frozen=True, slots=True)
class Page(Generic[Row]):
    """The rows of one page in order, with the cursor of the next page if there is one."""

    rows: Sequence[Row]
    next: str | None


@dataclass(frozen=True, slots=True)
class Keyset:
    """The start and the length of a requested page.

    The page begins after the row whose sort values are `after`; None means the beginning of the list. `bound` is a
    digest of the district, the list and its filter. Every cursor of the list is encrypted with this digest, so that it
    cannot be decrypted for another list.
    """

    seal: CursorSeal
    bound: bytes
    after: tuple[Any, ...] | None
    limit: int

    def after_id(self, place: int = 0) -> UUID:
        """Returns the row id that the cursor stores at index `place` of its sort values.

        Raises `Malformed` if the value at this index is not an id.
        """
        try:
            return UUID(str((self.after or ())[place]))
        except (ValueError, IndexError):
            raise _invalid_cursor() from None

    def after_number(self, place: int = 0) -> int:
        """Returns the whole number that the cursor stores as its last sort value, or 0 without a cursor.

        `place` is the index of this sort value. Raises `Malformed` if the cursor has another number of sort values, or
        if the value is not a whole number.
        """
        if self.after is None:
            return 0
        number = self.after[place] if len(self.after) == place + 1 else None
        if type(number) is not int or not 0 <= number < BIGINT:
            raise _invalid_cursor()
        return number

    def mark(self, *position: Any) -> str:
        """Returns the cursor of the page that begins after the row with these sort values."""
        return self.seal.seal(self.bound, position)

    def cut(self, rows: Sequence[Row], key: Any) -> Page[Row]:
        """Returns the first `limit` rows as a page, with a cursor to the next page if there are more rows.

        `key` is a function that returns the sort values of a row.
        """
        if len(rows) <= self.limit:
            return Page(rows, None)
        page_rows = rows[: self.limit]
        return Page(page_rows, self.mark(*key(page_rows[-1])))


def page_size(limit: int | None, pointer: str = "/limit") -> int:
    """Returns the number of rows of a page, or the default; raises `Malformed` at `pointer` if it is out of range."""
    size = DEFAULT_LIMIT if limit is None else limit
    if not 1 <= size <= MAX_LIMIT:
        raise Malformed([Violation(pointer, "page.limit", f"A page has 1 to {MAX_LIMIT} rows.")])
    return size


def keyset(
    district_id: UUID,
    listing: str,
    filters: dict[str, Any],
    cursor: str | None,
    limit: int | None,
    keyring: Keyring | None = None,
) -> Keyset:
    """Returns the `Keyset` for the cursor and the limit of a request.

    Raises `Malformed` for a cursor of another list or district, an outdated or edited cursor, and an invalid limit.
    With `keyring`, every process can decrypt the cursors. The APIs need this, because another process may receive the
    request for the next page. Without `keyring`, only this process can decrypt the cursors.
    """
    violations = ReadViolations()
    with violations:
        size = page_size(limit)
    scope = orjson.dumps(
        [str(district_id), listing, {k: v for k, v in filters.items() if v is not None}],
        option=orjson.OPT_SORT_KEYS,
        default=str,
    )
    bound = hashlib.sha256(scope).digest()
    seal = PROCESS_SEAL if keyring is None else cursor_seal(keyring)
    position = None if cursor is None else seal.open(bound, cursor)
    with violations:
        if cursor is not None and position is None:
            raise _invalid_cursor()
    violations.refuse()
    return Keyset(seal, bound, position, size)


def _invalid_cursor() -> Malformed:
    detail = "This cursor was edited, or belongs to another list, filter or district. Start again without a cursor."
    return Malformed([Violation("/after", "page.cursor", detail)])
