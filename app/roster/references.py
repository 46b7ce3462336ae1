"""Owns how a roster row is named from outside: by Aimline's id, or by a source and its `sourcedId`. Pure."""

from dataclasses import dataclass
from uuid import UUID

from app.core import ids
from app.core.errors import Invalid, Violation

SIS = "sis:"
ALIAS_KINDS = {"student": "person", "person": "person", "org": "org", "class": "class"}


@dataclass(frozen=True, slots=True)
class Reference:
    """Either `id`, or `source` and `sourced_id`."""

    kind: str
    id: UUID | None = None
    source: str = ""
    sourced_id: str = ""


def parse(kind: str, text: str, pointer: str = "") -> Reference:
    """Reads `stu_…` or `sis:<source>:<sourcedId>`; raises `Invalid` at `pointer` for anything else."""
    if text.startswith(SIS):
        source, _, sourced_id = text.removeprefix(SIS).partition(":")
        if source and sourced_id:
            return Reference(kind, source=source, sourced_id=sourced_id)
        detail = "An external id reads sis:<source>:<sourcedId>."
        raise Invalid([Violation(pointer, "reference.malformed", detail)])
    return Reference(kind, id=ids.read(kind, text, pointer))
