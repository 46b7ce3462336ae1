"""Declares the lists of a resource with their filters, sort orders and flags.

The condition of a filter is built once, with a bind parameter in the place of the value, so that one plan can be used
for every value.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Generic, TypeVar
from uuid import UUID

from sqlalchemy import ColumnElement

from app.access.permission import Can
from app.access.work import Work
from app.core.errors import Malformed, Violation

T = TypeVar("T")
MAX_SEARCH = 200
"""The largest number of characters of a search text."""
SEARCH = (
    "Only people whose given or family name, or both in either order, or e-mail address (of staff) begins with this "
    "text, in upper or lower case."
)
"""The description of `q` in the OpenAPI document and in the GraphQL schema."""
Resolver = Callable[[Work, str, str | None], Awaitable[Any]]
"""A function that resolves a caller's text, such as `sis:…` or an area's code, into a filter's value, such as a row
id.

The third argument is a JSON pointer. The function raises `Invalid` at this pointer, or `NotFound` if the pointer is
None.
"""


@dataclass(frozen=True)
class Filter(Generic[T]):
    """A filter of a list, or an argument of a link or a computed value.

    * `name` is the name in REST. `graphql` is the name in GraphQL (in snake case) if it differs.
    * `value_type` is the type of the value as a caller writes it: `str`, `int`, `bool`, `date` or a `StrEnum`.
    * `resolve` converts the caller's value into the value that is compared, for example a code into a row's id. `bound`
      is the type of the converted value.
    * `narrow` is true if the filter leaves only a few rows. A list with this filter is read by an index on the filtered
      column, and never by an index by school.
    * `schools`, for a filter by school, is the model whose table has columns for the schools of a row.
    * `most` is the largest number of characters of a text.
    * `of_adult`, for a filter by a member of staff, has the names of the filters, flags and sorts that show how well
      students do. `violations_of_adult` restricts their use together with this filter.
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
    of_adult: tuple[str, ...] | None = None

    def shown_as(self, face: str) -> str:
        """Returns the filter's name in an API (`rest` or `graphql`), in snake case."""
        return self.graphql or self.name if face == "graphql" else self.name


@dataclass(frozen=True)
class Flag:
    """A filter whose value is true or false. `on` is the condition for true, and `off` the condition for false."""

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
    """A sort order that a list offers, as columns that are never null. The last column is unique.

    A caller reverses a sort order by writing `-` before its name. `requires` has the permissions that a caller needs to
    use the order, because the sequence of the rows reveals something about the values in these columns.
    """

    name: str
    columns: tuple[Any, ...]
    description: str
    requires: tuple[Can, ...] = ()


@dataclass(frozen=True)
class Listing:
    """A list of a resource, which is a top-level field in GraphQL and the path `/<name>` in REST.

    * `order` applies if a request has no `sort`. By default it is the order of ids, which is the order of creation.
    * `descending` reverses that order.
    * `condition` is true for every row of the list.
    * `schools` is the model whose table has columns for the schools of a row. If a caller may see only some schools,
      the list is read by an index on these columns.
    * `paged` is False for a list that returns all rows at once, up to `most`.
    * `assumed` is the number of rows from which the cost of a list without pages is computed.
    * `changed_at` is the column that `updated_since` compares. With that filter the rows are in the order of this
      column, so that an index can be used.
    * `search` returns the condition of the filter `q`.
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

    def sort_named(self, name: str) -> Sort | None:
        """Returns the order with this name; a leading `-` is ignored."""
        return next((sort for sort in self.sorts if sort.name == name.removeprefix("-")), None)

    def filter_named(self, name: str) -> Filter[Any] | Flag | None:
        """Returns the filter or flag that has this name in REST."""
        return self.by_face("rest").get(name)

    def by_face(self, face: str) -> Mapping[str, Filter[Any] | Flag]:
        """Returns the filters and flags, keyed by their names in an API (`rest` or `graphql`, in snake case)."""
        criteria: tuple[Filter[Any] | Flag, ...] = (*self.filters, *self.flags)
        return {filter_.shown_as(face): filter_ for filter_ in criteria}


def updated_since_words(listing: Listing) -> str:
    """Returns the description of the parameter `updated_since` in the contracts of both APIs."""
    order = ", in the order of their changes unless `sort` is given" if listing.paged else ""
    return (
        f"Only rows that were created or changed at this instant or later{order}. A change becomes visible when it is "
        "committed: begin ten minutes before the last read. Removed rows are not listed; the change feed reports them."
    )


def sort_words(listing: Listing) -> str:
    """Returns the description of the parameter `sort` in the contracts of both APIs."""
    words = []
    for sort in listing.sorts:
        scopes = "".join(f" It needs `{can.value}` too." for can in sort.requires)
        words.append(f"`{sort.name}`: {sort.description}{scopes}")
    return f"{' '.join(words)} `-` before the name reverses the order."


def check_offset(pointer: str, instant: datetime | None) -> datetime | None:
    """Returns the instant unchanged; raises `Malformed` at `pointer` if it has no UTC offset.

    Without an offset, the instant would be ambiguous.
    """
    if instant is not None and instant.tzinfo is None:
        detail = "An instant has an offset, such as 2026-09-28T10:00:00Z."
        raise Malformed([Violation(pointer, "instant.no_offset", detail)])
    return instant


def violations_of_adult(
    listing: Listing, filters: Mapping[str, Any], sort: str | None, person_id: UUID | None
) -> list[tuple[str, Violation]]:
    """Returns the violations of filters that name a member of staff.

    Each result is a pair: the name of the parameter (a filter, a flag or `sort`), and its violation with an empty
    pointer.

    No list may show how the students of one adult do in comparison with those of another. So a request that acts for a
    person can name only this person. A request that acts for nobody can name anybody, but not together with a filter,
    flag or sort that says how students do.

    `filters` has the resolved values of the list's filters and flags, keyed by name. `person_id` is the acting person.
    """
    violations = []
    for one in listing.filters:
        if one.of_adult is None or filters.get(one.name) is None:
            continue
        if person_id is not None:
            if filters[one.name] != person_id:
                detail = "This is not the person that the request acts for."
                violations.append((one.name, Violation("", "caseload.of_another", detail)))
            continue
        detail = "Act for a person to combine this with a person's caseload. Nothing compares adults."
        combined = [name for name in one.of_adult if filters.get(name) not in (None, False)]
        if sort is not None and sort.removeprefix("-") in one.of_adult:
            combined.append("sort")
        violations += [(name, Violation("", "caseload.combined", detail)) for name in combined]
    return violations
