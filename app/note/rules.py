"""Decides which kinds of records can have notes, and who may amend a note. Pure."""

from collections.abc import Sequence
from uuid import UUID

from app.core.errors import Forbidden, Invalid, Violation

NOTED_KINDS = ("concern", "support", "agenda_item")
"""The kinds of records that can have notes."""
NOTED_BY_ID = ("concern", "support")
"""The kinds of records that `write_note` accepts. A command of the agenda writes the notes about an agenda item."""


def check_kind(kind: str, pointer: str, kinds: Sequence[str] = NOTED_KINDS) -> None:
    """Raises `Invalid` at `pointer` if `kind` is not one of `kinds`.

    By default, `kinds` are all kinds of records that can have notes.
    """
    if kind not in kinds:
        elsewhere = " A note about an agenda item is written at the item." if kind in NOTED_KINDS else ""
        detail = f"A note is about one of these: {', '.join(kinds)}.{elsewhere}"
        raise Invalid([Violation(pointer, "note.about", detail)])


def check_author(author: UUID | None, author_client: UUID | None, person: UUID | None, client: UUID | None) -> None:
    """Raises `Forbidden` unless the caller is the author of the note.

    For a note that no person wrote, the caller must be the client that wrote the note, and must not act for a person.
    """
    is_author = author == person if author is not None else person is None and author_client == client
    if not is_author:
        raise Forbidden("Only its author amends a note. Write a note of your own.", code="note.of_another")
