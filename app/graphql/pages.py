"""Owns how a page looks in GraphQL: Relay connections over the keyset of the core. Never counts or skips rows."""

from collections.abc import Callable
from typing import Any, Generic, TypeVar

import strawberry

from app.core.errors import Invalid, Violation
from app.core.page import Keyset, Page, keyset
from app.graphql.door import OperationContext

T = TypeVar("T")
Row = TypeVar("Row")
POINTERS = {"/limit": "/first"}


@strawberry.type(description="Where a page stands in its list.")
class PageInfo:
    """Relay's PageInfo; pages go forward only."""

    has_next_page: bool
    has_previous_page: bool
    start_cursor: str | None
    end_cursor: str | None


@strawberry.type(description="A row of a list with its cursor.")
class Edge(Generic[T]):
    """Relay's edge."""

    node: T
    cursor: str


@strawberry.type(description="A page of a list: `first` rows (50 without it, 200 at most) after a cursor.")
class Connection(Generic[T]):
    """Relay's connection."""

    edges: list[Edge[T]]
    page_info: PageInfo


def place(
    asked: OperationContext, listing: str, filters: dict[str, Any], after: str | None, first: int | None
) -> Keyset:
    """Where a page starts; raises `Invalid` at `/after` or `/first`."""
    try:
        return keyset(asked.work.district_id, listing, filters, after, first, asked.work.keyring)
    except Invalid as error:
        raise type(error)(
            [Violation(POINTERS.get(one.pointer, one.pointer), one.code, one.detail) for one in error.violations]
        ) from None


def by_id(row: Any) -> tuple[str, ...]:
    """The place of a row in a list that is in the order of ids."""
    return (str(row.id),)


def connection(
    at: Keyset, page: Page[Row], shape: Callable[[Row], T], key: Callable[[Row], tuple[str, ...]] = by_id
) -> Connection[T]:
    """A page as a connection; `key` gives a row's place in the list's order."""
    edges = [Edge(node=shape(row), cursor=at.mark(*key(row))) for row in page.rows]
    return Connection(
        edges=edges,
        page_info=PageInfo(
            has_next_page=page.next is not None,
            has_previous_page=at.after is not None,
            start_cursor=edges[0].cursor if edges else None,
            end_cursor=edges[-1].cursor if edges else None,
        ),
    )


def nothing() -> Connection[Any]:
    """The page of a filter that names a row which is not there, or not this caller's to see."""
    return Connection(
        edges=[], page_info=PageInfo(has_next_page=False, has_previous_page=False, start_cursor=None, end_cursor=None)
    )
