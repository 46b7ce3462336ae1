"""Decrypts the cursors of a selection before the read, and encrypts the cursors of the response after it.

A cursor is bound to the district, the list, its filters and its order. The cursor of a link is also bound to the row
that has the link. A cursor is refused if it is forged, if it belongs to another list, or if its values do not have the
types of the columns in the order.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any
from uuid import UUID

import orjson
from sqlalchemy import Date, DateTime, Float, Integer, Uuid

from app.access.work import Work
from app.core.errors import Malformed, Violation
from app.core.page import Keyset, keyset
from app.core.violations import ReadViolations
from app.resources.catalog import Catalog
from app.resources.compile.roots import order_of
from app.resources.compile.scope import CursorSlot, table_of
from app.resources.declare import CannotCompile, declaration
from app.resources.members import ManyMember, OneMember
from app.resources.select import ListRoot, Page, Path, Pick, Picks, ResourceType, Root, is_plain, parts_with_rows

DETAIL = "This cursor was edited, or belongs to another list, filter or district. Start again without a cursor."
STORED_FORMS: dict[type[Any], tuple[type[Any], Any]] = {
    Uuid: (str, UUID),
    Integer: (int, int),
    Float: (int | float, float),  # type: ignore[dict-item]  # isinstance accepts a union
    DateTime: (str, datetime.fromisoformat),
    Date: (str, date.fromisoformat),
}
"""The forms in which a cursor stores the values of its position, keyed by the type of the column.

Each entry has the type of the stored value and the function that parses it. The values of all other columns are stored
as text.
"""


@dataclass(frozen=True, slots=True)
class OpenPage:
    """A page, with what a cursor of the page must match: the name, the filters and the order of its list."""

    page: Page
    listing: str
    filters: dict[str, Any]
    columns: tuple[Any, ...]
    parent: Any


@dataclass
class Places:
    """The decrypted cursors of a selected list or row, and what is needed to encrypt the cursors of the response.

    `values` has the SQL parameters of each page, keyed by path: the limit, and the position at which the page begins.
    """

    values: dict[Path, Any] = field(default_factory=dict)
    keysets: dict[Path, Keyset] = field(default_factory=dict)
    after_name: str = "after"
    following: str | None = None

    def seal(self, cursors: Sequence[CursorSlot], slot: int, raw: bytes) -> bytes:
        """Returns the encrypted cursor of a row, as a JSON string.

        `raw` has the row's position in its list: its sort values, as a JSON array. `slot` is the index in `cursors` of
        the page that shows the row.
        """
        cursor = self.keysets[cursors[slot].path].mark(*orjson.loads(raw))
        if cursors[slot].following:
            self.following = cursor
        return f'"{cursor}"'.encode()

    def foreign(self) -> Malformed:
        """Returns the error for a cursor that belongs to another row.

        For example, a cursor of one student's supports was sent with a request for the supports of another student.
        """
        return Malformed([Violation(f"/{self.after_name}", "page.cursor", DETAIL)])


def open_pages(work: Work, catalog: Catalog, root: Root) -> Places:
    """Returns the decrypted cursor and the limit of each page that a request selects.

    `root` is the list or row that the request selects. Raises `Malformed` with all invalid cursors and limits.
    """
    places, violations = Places(), ReadViolations()
    for path, opened in _pages(catalog, root):
        with violations:
            _open_page(work, places, path, opened)
    violations.refuse()
    return places


def _open_page(work: Work, places: Places, path: Path, opened: OpenPage) -> None:
    """Adds the decrypted cursor and the limit of one page to `places`; raises `Malformed`."""
    page = opened.page
    try:
        position = keyset(work.district_id, opened.listing, opened.filters, page.after, page.first, work.keyring)
    except Malformed as error:
        raise _renamed(error, page) from None
    places.keysets[path] = position
    places.values |= {(*path, "limit"): position.limit, (*path, "more"): position.limit + 1}
    if page.after is not None:
        places.after_name = page.after_name
        columns = opened.columns if opened.parent is None else (opened.parent, *opened.columns)
        for place, value in enumerate(_typed(position.after or (), columns, page)):
            places.values[(*path, "after", place)] = value


def _pages(catalog: Catalog, root: Root) -> Iterator[tuple[Path, OpenPage]]:
    if isinstance(root, ListRoot):
        listing = catalog.listings.get(root.listing)
        if listing is None:
            raise CannotCompile(f"There is no list {root.listing}.")
        if root.page is None:
            yield from _below(catalog, listing.resource, root.picks, ())
            return
        filters: dict[str, Any] = {name: value for name, value in root.filters.items() if value not in (None, False)}
        filters |= {"sort": root.sort, "updated_since": root.updated_since, "q": root.search}
        columns = order_of(listing, root).columns
        yield (), OpenPage(root.page, listing.name, filters, columns, None)
        for keys, picks in parts_with_rows(root.page):
            yield from _below(catalog, listing.resource, picks, keys)
    else:
        yield from _below(catalog, root.resource, root.picks, ())


def _below(catalog: Catalog, resource: ResourceType, picks: Picks, path: Path) -> Iterator[tuple[Path, OpenPage]]:
    for pick in () if is_plain(picks) else picks:
        if not isinstance(pick, Pick):
            continue
        member = catalog.member(resource, pick.member)
        at = (*path, pick.key)
        if isinstance(member, ManyMember) and pick.page is not None:
            facts = declaration(resource)
            columns = member.order or (declaration(member.target).key,)
            yield at, OpenPage(pick.page, f"{facts.name}.{member.name}", dict(pick.arguments), columns, facts.key)
            for keys, inner in parts_with_rows(pick.page):
                yield from _below(catalog, member.target, inner, (*at, *keys))
        elif isinstance(member, OneMember | ManyMember):
            yield from _below(catalog, member.target, pick.picks, at)


def _typed(position: Sequence[Any], columns: Sequence[Any], page: Page) -> list[Any]:
    """Returns the sort values in a cursor, converted to the types of their columns.

    Raises `Malformed` if a value does not have its column's type.
    """
    invalid = Malformed([Violation(f"/{page.after_name}", "page.cursor", DETAIL)])
    if len(position) != len(columns):
        raise invalid
    typed: list[Any] = []
    for value, column in zip(position, columns, strict=True):
        type_ = type(table_of(column.class_).c[column.key].type)
        stored_type, parse = next((read for base, read in STORED_FORMS.items() if issubclass(type_, base)), (str, str))
        if isinstance(value, bool) or not isinstance(value, stored_type):
            raise invalid
        try:
            typed.append(parse(value))
        except ValueError:
            raise invalid from None
    return typed


def _renamed(error: Malformed, page: Page) -> Malformed:
    """Returns the error with pointers that use the API's names of the limit and the cursor, such as `/first`."""
    names = {"/limit": f"/{page.limit_name}", "/after": f"/{page.after_name}"}
    return Malformed(
        [
            Violation(names.get(violation.pointer, violation.pointer), violation.code, violation.detail)
            for violation in error.violations
        ]
    )
