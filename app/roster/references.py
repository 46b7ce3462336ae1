"""Parses the references to roster rows that callers send: an Aimline id, or a source with a `sourcedId`.

Does no input or output.
"""

from dataclasses import dataclass
from uuid import UUID

from app.core import ids
from app.core.errors import Invalid, NotFound, Violation

SIS = "sis:"
ALIAS_KINDS = {"student": "person", "person": "person", "org": "org", "class": "class"}


@dataclass(frozen=True, slots=True)
class Reference:
    """A parsed reference to a roster row. Either `id` is set, or both `source` and `sourced_id` are."""

    kind: str
    id: UUID | None = None
    source: str = ""
    sourced_id: str = ""


def parse(kind: str, text: str, pointer: str | None = None) -> Reference:
    """Parses a reference of the form `stu_…` or `sis:<source>:<sourcedId>`, and returns it. `kind` is the kind of row.

    Raises `NotFound` for any other text, or `Invalid` if `pointer` says where in a request's body the text was.
    """
    try:
        if not text.startswith(SIS):
            return Reference(kind, id=ids.parse_id(kind, text, pointer or ""))
    except Invalid:
        if pointer is None:
            raise NotFound(kind) from None
        raise
    source, _, sourced_id = text.removeprefix(SIS).partition(":")
    # PostgreSQL cannot store NUL, so no row has such an id.
    if source and sourced_id and "\x00" not in text:
        return Reference(kind, source=source, sourced_id=sourced_id)
    if pointer is None:
        raise NotFound(kind)
    detail = "An external id is written as sis:<source>:<sourcedId>."
    raise Invalid([Violation(pointer, "reference.malformed", detail)])
