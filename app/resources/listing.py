"""Declares the lists of a resource with their filters, sort orders and flags.

The condition of a filter is built once, with a bind parameter in the place of the value, so that one plan can be used
for every value.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from sqlalchemy import ColumnElement

from app.access.permission import Can
from app.access.work import Work

T = TypeVar("T")
Resolver = Callable[[Work, str, str | None], Awaitable[Any]]
"""A function that resolves a caller's text, such as `sis:…` or an area's code, into a filter's value, such as a row
id.

The third argument is a JSON pointer. The function raises `Invalid` at this pointer, or `NotFound` if the pointer is
None.
"""


@dataclass(frozen=True)
class Filter(Generic[T]):
    """A filter of a list, or an argument of a link or a computed value.

    `name` is REST's name and `graphql` GraphQL's (in snake case), if the two differ. `value_type` is the type of the
    value as a caller writes it: `str`, `int`, `bool`, `date` or a `StrEnum`. `resolve` turns the caller's value into
    the value that the condition takes, whose type is `bound`. If `narrow` is true, the list is read by an index of this
    filter, whatever the schools. `schools` is the model with the school columns that a filter by school uses. `most` is
    the largest length of a text.
    """

    name: str
    value_type: type[Any]
    condition: Callable[[T], ColumnElement[bool]] | None
    description: str = ""
    example: Any = None
    graphql: str | None = None
    resolve: Resolver | None = None
    bound: Any = None
    narrow: bool = False
    schools: Any = None
    most: int = 200
    default: Any = None

    def shown_as(self, face: str) -> str:
        """Returns the filter's name in an API, in snake case."""
        return self.graphql or self.name if face == "graphql" else self.name


@dataclass(frozen=True)
class Flag:
    """A filter whose value is true or false; its condition is `on` if the value is true, and `off` otherwise."""

    name: str
    description: str
    on: ColumnElement[bool] | None = None
    off: ColumnElement[bool] | None = None
    requires: tuple[Can, ...] = ()

    def shown_as(self, face: str) -> str:
        """Returns the flag's name, which is the same in both APIs."""
        return self.name


@dataclass(frozen=True)
class Sort:
    """An order of a list, as columns that are never null, the last of which is unique. A caller reverses the order
    with `-`.
    """

    name: str
    columns: tuple[Any, ...]
    description: str


@dataclass(frozen=True)
class Listing:
    """A list of a resource, which is a root field in GraphQL and the path `/<name>` in REST.

    `order` is the order without `sort`; by default it is the order of ids, which is the order of creation. `descending`
    reverses it. `schools` is the model with the school columns by which rows are read for a caller who may see some
    schools only. With `paged=False`, all rows are returned at once, up to `most`. `changed_at` is the column that
    `updated_since` compares. `search` is the condition of `q`. `condition` is true for every row of the list.
    """

    name: str
    resource: Any
    description: str
    filters: tuple[Filter[Any], ...] = ()
    flags: tuple[Flag, ...] = ()
    order: tuple[Any, ...] = ()
    descending: bool = False
    sorts: tuple[Sort, ...] = ()
    condition: ColumnElement[bool] | None = None
    schools: Any = None
    requires: tuple[Can, ...] = ()
    paged: bool = True
    most: int = 2000
    assumed: int = 50
    changed_at: Any = None
    search: Callable[[Any], ColumnElement[bool]] | None = None

    def filter_named(self, name: str) -> Filter[Any] | Flag | None:
        """Returns the filter or flag that has this name in REST."""
        return self.by_face("rest").get(name)

    def by_face(self, face: str) -> Mapping[str, Filter[Any] | Flag]:
        """Returns the filters and flags, keyed by their names in the API `face`, in snake case."""
        criteria: tuple[Filter[Any] | Flag, ...] = (*self.filters, *self.flags)
        return {filter_.shown_as(face): filter_ for filter_ in criteria}
