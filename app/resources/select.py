"""Defines selections: the parts of the resources that a request reads, as a tree that is independent of API and SQL.

An API builds a selection from its request. `run.read` compiles it into one statement, and returns JSON text with the
same keys in the same order. The tree contains values (filters, limits, cursors), but the statement
depends only on which of these values are set, so that a compiled statement can be used again.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any
from uuid import UUID

from app.resources.declare import Resource

ResourceType = type[Resource[Any]]
Path = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Style:
    """How an API writes the values that differ between APIs: enum names, the offsets of instants, and totals."""

    face: str
    upper: bool
    offset: str
    more: str


REST_STYLE = Style("rest", upper=False, offset="Z", more='"more"')
GRAPHQL_STYLE = Style("graphql", upper=True, offset="+00:00", more="null")


@dataclass(frozen=True, slots=True)
class Constant:
    """A key of an object whose value is a fixed JSON text, such as GraphQL's `__typename`."""

    key: str
    text: str


@dataclass(frozen=True, slots=True)
class Pick:
    """A key of an object, with the member that gives its value.

    * `picks` are the selected members of the linked resource or structured value. Without `picks`, a link to one row
      shows the id of that row, and a structured value shows all its items.
    * `page` is the page of a paged link.
    * `arguments` are the resolved filters of a link, or the arguments of a computed value, by name.
    """

    key: str
    member: str
    picks: "Picks" = ()
    page: "Page | None" = None
    arguments: tuple[tuple[str, Any], ...] = ()


Picks = tuple["Pick | Constant", ...]


class KeptPicks(tuple["Pick | Constant", ...]):
    """Picks that many requests share, so that what follows from them alone is computed once."""

    @cached_property
    def is_plain(self) -> bool:
        """Returns whether no pick, also of a linked resource, has a page or arguments."""
        return _is_plain(self)

    structure: tuple[Any, ...] | None = None
    """The structure of the picks, after `compile.structure` has computed it."""


def _is_plain(picks: Picks) -> bool:
    return not any(
        isinstance(pick, Pick) and (pick.page is not None or pick.arguments or not _is_plain(pick.picks))
        for pick in picks
    )


def is_plain(picks: Picks) -> bool:
    """Returns True if it is known that no pick has a page or arguments, so that a search for them can be left out."""
    return not picks or (isinstance(picks, KeptPicks) and picks.is_plain)


@dataclass(frozen=True, slots=True)
class Rows:
    """The part of a page that shows the rows, as an array (REST's `items`, GraphQL's `nodes`)."""

    key: str
    picks: Picks


@dataclass(frozen=True, slots=True)
class Node:
    """The part of an edge with the row."""

    key: str
    picks: Picks


@dataclass(frozen=True, slots=True)
class Cursor:
    """The part of an edge with the row's cursor."""

    key: str


@dataclass(frozen=True, slots=True)
class Edges:
    """The part of a page with its Relay edges."""

    key: str
    parts: tuple[Node | Cursor | Constant, ...]


@dataclass(frozen=True, slots=True)
class Fact:
    """One field of a page's information: `has_next_page`, `has_previous_page`, `start_cursor` or `end_cursor`."""

    key: str
    name: str


@dataclass(frozen=True, slots=True)
class Info:
    """The part of a page with Relay's page information."""

    key: str
    parts: tuple[Fact | Constant, ...]


@dataclass(frozen=True, slots=True)
class Next:
    """The part of a page that shows the cursor of the next page, or null (REST's `next`)."""

    key: str


@dataclass(frozen=True, slots=True)
class Total:
    """The part of a page that shows how many rows the whole list has.

    The number is exact up to 25,000. For a longer list it is "more" in REST and null in GraphQL.
    """

    key: str


PagePart = Rows | Edges | Info | Next | Total | Constant


@dataclass(frozen=True, slots=True)
class Page:
    """A requested page: the parts that it shows, its length and its position.

    It contains `first` rows after the position `after`, or with `backward` the last `first` rows before it.
    `limit_name` and `after_name` are the API's names for `first` and `after`, which the pointers of errors use.
    """

    parts: tuple[PagePart, ...]
    first: int | None = None
    after: str | None = None
    backward: bool = False
    limit_name: str = "limit"
    after_name: str = "after"


@dataclass(frozen=True, slots=True)
class ListRoot:
    """A root of a selection that reads a list, with the resolved values of its filters and flags, keyed by name.

    A listing without pages has `picks`; any other listing has a `page`. `sort` is the name of an order. A leading `-`
    reverses the order.
    """

    key: str
    listing: str
    page: Page | None = None
    picks: Picks = ()
    filters: Mapping[str, Any] = field(default_factory=dict)
    sort: str | None = None
    updated_since: Any = None
    search: str | None = None


@dataclass(frozen=True, slots=True)
class RowRoot:
    """A root of a selection that reads one row by its row id."""

    key: str
    resource: ResourceType
    row_id: UUID
    picks: Picks


@dataclass(frozen=True, slots=True)
class WrittenRoot:
    """A root of a selection that reads the rows which a command of this transaction has returned.

    The answer is an array of objects with `id` and `row`. To read the rows, the caller needs no permission except the
    command's. The rows are shown even if the command removed them. To read the links of the rows, the caller needs the
    permissions of the links.
    """

    key: str
    resource: ResourceType
    row_ids: tuple[UUID, ...]
    picks: Picks


Root = ListRoot | RowRoot | WrittenRoot


def parts_with_rows(page: Page) -> Iterator[tuple[Path, Picks]]:
    """Yields the parts of a page that show rows: each part's path, and the selected members of the part's rows."""
    for part in page.parts:
        if isinstance(part, Rows):
            yield (part.key,), part.picks
        elif isinstance(part, Edges):
            for inner in part.parts:
                if isinstance(inner, Node):
                    yield (part.key, inner.key), inner.picks
