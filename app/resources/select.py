"""Defines selections. A selection is a tree of the fields and links that a request reads.

It is independent of API and SQL. At its top are lists and single rows, which are called roots. An API builds a
selection from its request. `run.read` compiles it into one statement, and returns JSON text with the same keys in the
same order. The tree contains values (filters, limits, cursors), but the statement depends only on which of these values
are set, so that a compiled statement can be used again.
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
    """How one of the two APIs writes values that the other API writes differently.

    * `face` is the API: `rest` or `graphql`.
    * `upper`: whether an enum is shown by its name, in upper case.
    * `more`: the JSON for a total that is too large to be counted.
    """

    face: str
    upper: bool
    more: str


REST_STYLE = Style("rest", upper=False, more='"more"')
GRAPHQL_STYLE = Style("graphql", upper=True, more="null")


@dataclass(frozen=True, slots=True)
class Constant:
    """A key of a JSON object in the response. Its value is a fixed JSON text, such as GraphQL's `__typename`."""

    key: str
    text: str


@dataclass(frozen=True, slots=True)
class Pick:
    """A key of a JSON object in the response. Its value comes from the field, link or value `member` of the resource.

    * `picks` are the selected keys, if the value is itself a linked row or an object. Without `picks`, a link to one
      row shows the id of that row, and an object shows all its items.
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
    """A selection of fields, links and values that is kept in memory, because many requests make the same selection.

    Results that depend only on this selection are computed once.
    """

    @cached_property
    def is_plain(self) -> bool:
        """Returns whether no selected link or value, at any depth, has a page or arguments."""
        return _is_plain(self)

    structure: tuple[Any, ...] | None = None
    """The structure of the picks, after `compile.structure` has computed it."""


def _is_plain(picks: Picks) -> bool:
    return not any(
        isinstance(pick, Pick) and (pick.page is not None or pick.arguments or not _is_plain(pick.picks))
        for pick in picks
    )


def is_plain(picks: Picks) -> bool:
    """Returns whether it is known that no selected link or value has a page or arguments.

    This can be known for `KeptPicks` and for an empty selection. For any other selection the result is False, and the
    caller has to look through the selection.
    """
    return not picks or (isinstance(picks, KeptPicks) and picks.is_plain)


@dataclass(frozen=True, slots=True)
class Rows:
    """Selects the rows of a page, as an array (REST's `items`, GraphQL's `nodes`)."""

    key: str
    picks: Picks


@dataclass(frozen=True, slots=True)
class Node:
    """Selects the row of an edge (Relay's `node`)."""

    key: str
    picks: Picks


@dataclass(frozen=True, slots=True)
class Cursor:
    """Selects the cursor of an edge."""

    key: str


@dataclass(frozen=True, slots=True)
class Edges:
    """Selects the Relay edges of a page: pairs of a row and its cursor."""

    key: str
    parts: tuple[Node | Cursor | Constant, ...]


@dataclass(frozen=True, slots=True)
class Fact:
    """Selects one field of Relay's page information, such as `has_next_page`; `name` is the field's name."""

    key: str
    name: str


@dataclass(frozen=True, slots=True)
class Info:
    """Selects Relay's page information of a page."""

    key: str
    parts: tuple[Fact | Constant, ...]


@dataclass(frozen=True, slots=True)
class Next:
    """Selects the cursor of the next page, or null if there is none (REST's `next`)."""

    key: str


@dataclass(frozen=True, slots=True)
class Total:
    """Selects the number of rows of the whole list.

    The number is exact up to 25,000. For a longer list it is "more" in REST and null in GraphQL.
    """

    key: str


PagePart = Rows | Edges | Info | Next | Total | Constant


@dataclass(frozen=True, slots=True)
class Page:
    """A page that a request selects. `parts` says what the page shows, such as its rows or its total.

    It contains at most `first` rows directly after the position `after`, or with `backward` directly before it.
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
    """A list at the top of a selection.

    `filters` has the resolved values of the list's filters and flags, keyed by name. A list without pages has `picks`;
    any other list has a `page`. `sort` is the name of an order. A leading `-` reverses the order.
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
    """A single row at the top of a selection, given by its row id."""

    key: str
    resource: ResourceType
    row_id: UUID
    picks: Picks


@dataclass(frozen=True, slots=True)
class WrittenRoot:
    """Selects the rows that a command of this transaction has returned.

    The response is an array of objects with `id` and `row`. To read the rows, the caller needs no permission except the
    command's. The rows are shown even if the command removed them. To read the links of the rows, the caller needs the
    permissions of the links.
    """

    key: str
    resource: ResourceType
    row_ids: tuple[UUID, ...]
    picks: Picks


Root = ListRoot | RowRoot | WrittenRoot


def parts_with_rows(page: Page) -> Iterator[tuple[Path, Picks]]:
    """Yields each place of a page at which rows are shown, with the fields and links that are selected there.

    A place is a path in the response. REST shows rows at `("items",)`. A GraphQL page can show them twice: at
    `("nodes",)` and at `("edges", "node")`.
    """
    for part in page.parts:
        if isinstance(part, Rows):
            yield (part.key,), part.picks
        elif isinstance(part, Edges):
            for inner in part.parts:
                if isinstance(inner, Node):
                    yield (part.key, inner.key), inner.picks
