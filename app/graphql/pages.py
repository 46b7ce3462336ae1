"""Formats a page in GraphQL: Relay connections over the keyset of the core. Never counts or skips rows."""

from collections.abc import Callable
from typing import Any, Generic, TypeVar

import strawberry

from app.core.errors import Invalid, Violation
from app.core.page import Keyset, Page, keyset
from app.graphql.door import OperationContext

T = TypeVar("T")
Row = TypeVar("Row")
POINTERS = {"/limit": "/first"}


@strawberry.type(description="The position of a page in its list.")
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


@strawberry.type(description="A page of a list: `first` rows (by default 50, at most 200) after a cursor.")
class Connection(Generic[T]):
    """Relay's connection."""

    edges: list[Edge[T]]
    page_info: PageInfo


def page_keyset(
    context: OperationContext, listing: str, filters: dict[str, Any], after: str | None, first: int | None
) -> Keyset:
    """Returns the keyset of a page; raises `Invalid` at `/after` or `/first`."""
    try:
        return keyset(context.work.district_id, listing, filters, after, first, context.work.keyring)
    except Invalid as error:
        raise type(error)(
            [
                Violation(POINTERS.get(violation.pointer, violation.pointer), violation.code, violation.detail)
                for violation in error.violations
            ]
        ) from None


def by_id(row: Any) -> tuple[str, ...]:
    """Returns a row's position in a list that is ordered by id."""
    return (str(row.id),)


def connection(
    position: Keyset, page: Page[Row], shape: Callable[[Row], T], key: Callable[[Row], tuple[str, ...]] = by_id
) -> Connection[T]:
    """Returns a page as a connection; `key` is a function that returns a row's position in the list's order."""
    edges = [Edge(node=shape(row), cursor=position.mark(*key(row))) for row in page.rows]
    return Connection(
        edges=edges,
        page_info=PageInfo(
            has_next_page=page.next is not None,
            has_previous_page=position.after is not None,
            start_cursor=edges[0].cursor if edges else None,
            end_cursor=edges[-1].cursor if edges else None,
        ),
    )


def empty_page() -> Connection[Any]:
    """Returns an empty page, for a filter whose row the caller cannot see."""
    return Connection(
        edges=[], page_info=PageInfo(has_next_page=False, has_previous_page=False, start_cursor=None, end_cursor=None)
    )
