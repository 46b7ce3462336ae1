"""Defines Relay's Node and converts ids. Never reads a row."""

from uuid import UUID

import strawberry

from app.core import ids
from app.core.errors import Invalid


@strawberry.interface(description="Every object with an id; the id's prefix tells its type.")
class Node:
    """An object with an id."""

    id: strawberry.ID


def show_id(kind: str, row_id: UUID) -> strawberry.ID:
    """Returns an id in its public form."""
    return strawberry.ID(ids.format_id(kind, row_id))


def parse_id(kind: str, text: str) -> UUID | None:
    """Returns the row id in a public id, or None if the text is no id of this kind."""
    try:
        return ids.parse_id(kind, text)
    except Invalid:
        return None
