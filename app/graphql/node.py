"""Defines Relay's interface Node, and converts row ids into public ids and back."""

from uuid import UUID

import strawberry

from app.core import ids
from app.core.errors import Invalid


@strawberry.interface(
    description="An object that `node` and `nodes` find by its id. The prefix of the id tells its type."
)
class Node:
    """Relay's interface for objects with an id."""

    id: strawberry.ID


def show_id(kind: str, row_id: UUID) -> strawberry.ID:
    """Returns the public form of an id."""
    return strawberry.ID(ids.format_id(kind, row_id))


def parse_id(kind: str, text: str) -> UUID | None:
    """Returns the row id in a public id, or None if the text is not an id of this kind."""
    try:
        return ids.parse_id(kind, text)
    except Invalid:
        return None
