"""Decides about which kinds of records a note can be, and who may amend it. Pure."""

from uuid import UUID

from app.core.errors import Forbidden, Invalid, Violation

NOTED_KINDS = ("concern", "support")
"""The kinds of records about which a note can be. `service.NOTED` has the model of each."""


def check_kind(kind: str, pointer: str) -> None:
    """Raises `Invalid` if no note can be about a record of this kind."""
    if kind not in NOTED_KINDS:
        detail = f"A note is about one of these: {', '.join(NOTED_KINDS)}."
        raise Invalid([Violation(pointer, "note.about", detail)])


def check_author(author: UUID | None, author_client: UUID | None, person: UUID | None, client: UUID | None) -> None:
    """Raises `Forbidden` if neither the person nor, for a note that no person wrote, the client is its author."""
    is_author = author == person if author is not None else person is None and author_client == client
    if not is_author:
        raise Forbidden("Only its author amends a note. Write a note of your own.", code="note.of_another")
