"""Owns Relay's Node, and how ids go in and out. Never reads a row."""

from uuid import UUID

import strawberry

from app.core import ids
from app.core.errors import Invalid


@strawberry.interface(description="Whatever has an id of Aimline's: the prefix says what it is.")
class Node:
    """A row with an id."""

    id: strawberry.ID


def shown(kind: str, row_id: UUID) -> strawberry.ID:
    """An id as faces show it."""
    return strawberry.ID(ids.show(kind, row_id))


def maybe_shown(kind: str, row_id: UUID | None) -> strawberry.ID | None:
    """As `shown`, for a row that may not be there."""
    return None if row_id is None else shown(kind, row_id)


def named(kind: str, text: str) -> UUID | None:
    """The row that an id names; None for whatever is no id of this kind: there is no such row."""
    try:
        return ids.read(kind, text)
    except Invalid:
        return None
