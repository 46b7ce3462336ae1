"""Owns how a roster row is named from outside: by Aimline's id, or by a source and its `sourcedId`. Pure."""

from dataclasses import dataclass
from uuid import UUID

from app.core import ids
from app.core.errors import Invalid, NotFound, Violation

SIS = "sis:"
ALIAS_KINDS = {"student": "person", "person": "person", "org": "org", "class": "class"}


@dataclass(frozen=True, slots=True)
class Reference:
    """Either `id`, or `source` and `sourced_id`."""

    kind: str
    id: UUID | None = None
    source: str = ""
    sourced_id: str = ""


def parse(kind: str, text: str, pointer: str | None = None) -> Reference:
    """Reads `stu_…` or `sis:<source>:<sourcedId>`.

    Anything else raises `Invalid` at `pointer` where the name stood in a body, else `NotFound`: there is no such row.
    """
    try:
        if not text.startswith(SIS):
            return Reference(kind, id=ids.read(kind, text, pointer or ""))
    except Invalid:
        if pointer is None:
            raise NotFound(kind) from None
        raise
    source, _, sourced_id = text.removeprefix(SIS).partition(":")
    # PostgreSQL stores no NUL, so no row has it in its name.
    if source and sourced_id and "\x00" not in text:
        return Reference(kind, source=source, sourced_id=sourced_id)
    if pointer is None:
        raise NotFound(kind)
    detail = "An external id reads sis:<source>:<sourcedId>."
    raise Invalid([Violation(pointer, "reference.malformed", detail)])
