"""Generates the fields at the top of a query: all lists, all reads of one row, `node` and `nodes`."""

from datetime import datetime
from typing import Any, Final

import strawberry
from strawberry.types.field import StrawberryField

from app.access.permission import Can
from app.catalog import CATALOG
from app.core.text import camel
from app.graphql.names import NAME
from app.graphql.node import Node
from app.graphql.types import (
    connection_of,
    criterion_arguments,
    make_argument,
    make_field,
    page_arguments,
    type_of,
)
from app.resources.declare import GRAPHQL, declaration
from app.resources.listing import SEARCH, Listing, sort_words, updated_since_words

NODE: Final = "node"
NODES: Final = "nodes"
MAX_NODES: Final = 100
"""The largest number of ids in one call of `nodes`."""
NODE_WORDS: Final = (
    "null if it does not exist or the caller may not see it. Of the listed permissions, it needs only the one for "
    "reading objects of its type."
)


LISTINGS: Final = {camel(name): listing for name, listing in CATALOG.listings.items()}
"""The declared lists, keyed by the names of their fields."""
GETS: Final = {camel(name): resource for name, resource in CATALOG.gets.items()}
"""The resources whose rows can be read one at a time, keyed by the names of the GraphQL fields that read them."""


def query_fields() -> list[StrawberryField]:
    """Returns the fields at the top of a query that read rows of resources."""
    readable = tuple(dict.fromkeys(can for kind in CATALOG.by_kind.values() for can in declaration(kind).requires))
    ids: Any = list[strawberry.ID]
    fields = [
        make_field(
            NODE,
            Node | None,
            f"The object with this id; {NODE_WORDS}",
            readable,
            [make_argument("id", strawberry.ID, default=strawberry.UNSET)],
        ),
        make_field(
            NODES,
            list[Node | None],
            f"The objects with these ids, at most {MAX_NODES}, in order. An object is {NODE_WORDS}",
            readable,
            [make_argument("ids", ids, default=strawberry.UNSET)],
        ),
    ]
    for name, resource in CATALOG.gets.items():
        facts = declaration(resource)
        id_description = NAME if facts.locate is not None else "its id"
        fields.append(
            make_field(
                name,
                type_of(resource) | None,
                f"One row of type {facts.name}, by {id_description}.",
                (*facts.requires, *facts.get_requires),
                [make_argument("id", strawberry.ID, default=strawberry.UNSET)],
            )
        )
    return fields + [_listing_field(listing) for listing in CATALOG.listings.values()]


def permissions_of_listing(listing: Listing) -> tuple[Can, ...]:
    """Returns the permissions that a caller needs to read a list, even without any filter."""
    return (*declaration(listing.resource).requires, *listing.requires)


def _listing_field(listing: Listing) -> StrawberryField:
    criteria = listing.by_face(GRAPHQL).values()
    arguments = criterion_arguments(criteria)
    if not listing.paged:
        row: Any = type_of(listing.resource)
        type_: Any = list[row] | None
    else:
        type_ = connection_of(listing.resource) | None
        arguments = page_arguments() + arguments
    if listing.search is not None:
        arguments.append(make_argument("q", str | None, SEARCH))
    if listing.changed_at is not None:
        arguments.append(make_argument("updated_since", datetime | None, updated_since_words(listing)))
    if listing.sorts:
        arguments.append(make_argument("sort", str | None, sort_words(listing)))
    return make_field(listing.name, type_, listing.description, permissions_of_listing(listing), arguments)
