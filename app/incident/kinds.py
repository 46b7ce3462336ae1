"""Publishes and retires kinds of incidents. Each change publishes the next version of the playbook."""

from dataclasses import dataclass
from typing import Annotated
from uuid import UUID

from sqlalchemy import select

from app.access.permission import Can
from app.access.work import Work, needs
from app.core.errors import Conflict, Invalid, NotFound, Violation
from app.core.ids import new_id
from app.core.inputs import About
from app.core.text import Text
from app.core.violations import Violations, input_violations
from app.playbook.models import IncidentKind
from app.playbook.rules import is_code
from app.playbook.service import publish_next_version


@dataclass(frozen=True, slots=True)
class NewIncidentKind:
    """A kind of incident to be published, or a new name for an existing kind."""

    code: Annotated[str, Text(min=1, max=40), About("The code: small letters, digits, `-` and `_`.", "vaping")]
    name: Annotated[str, Text(min=1, max=200), About("The name.", "Vaping")]


@dataclass(frozen=True, slots=True)
class SavedIncidentKind:
    """A kind of incident, and whether it is new."""

    row: IncidentKind
    is_new: bool


@needs(Can.PUBLISH_PLAYBOOK)
async def publish_incident_kind(work: Work, new: NewIncidentKind) -> SavedIncidentKind:
    """Publishes a kind of incident in the next version of the playbook. A kind with the same code is replaced.

    If the kind with this code already has the same name, nothing is published.
    """
    violations = Violations(input_violations(new))
    with violations:
        if not is_code(new.code):
            detail = "A code has small letters, digits, `-` and `_`."
            raise Invalid([Violation("/code", "incident_kind.code", detail)])
    violations.refuse()
    earlier = await _kind_in_force(work, new.code)
    if earlier is not None and earlier.name == new.name:
        return SavedIncidentKind(earlier, is_new=False)
    number = (await publish_next_version(work)).number
    if earlier is not None:
        earlier.until_version = number
        await work.db.flush()
    row = IncidentKind(district_id=work.district_id, id=new_id(), code=new.code, name=new.name, from_version=number)
    work.db.add(row)
    await work.db.flush()
    return SavedIncidentKind(row, is_new=True)


@needs(Can.PUBLISH_PLAYBOOK)
async def retire_incident_kind(work: Work, incident_kind_id: UUID) -> IncidentKind:
    """Publishes the next version of the playbook without this kind. Existing incidents keep the kind."""
    is_row = (IncidentKind.district_id == work.district_id, IncidentKind.id == incident_kind_id)
    row = await work.db.scalar(select(IncidentKind).where(*is_row))
    if row is None:
        raise NotFound("incident_kind")
    if row.until_version is not None:
        raise Conflict("This kind of incident is not in force any more.", code="incident_kind.retired")
    row.until_version = (await publish_next_version(work)).number
    await work.db.flush()
    return row


async def _kind_in_force(work: Work, code: str) -> IncidentKind | None:
    """Returns the kind of incident with this code that is in force in the playbook, or None if there is none."""
    if "\x00" in code:  # PostgreSQL cannot store this text and would raise an error.
        return None
    query = select(IncidentKind).where(
        IncidentKind.district_id == work.district_id,
        IncidentKind.code == code,
        IncidentKind.until_version.is_(None),
    )
    row: IncidentKind | None = await work.db.scalar(query)
    return row
