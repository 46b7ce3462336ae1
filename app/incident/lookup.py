"""Looks up kinds of incidents. Checks no permission, because the calling command has checked it."""

from sqlalchemy import select

from app.access.work import Work
from app.core.errors import Invalid, Violation
from app.playbook.models import IncidentKind


async def load_kinds(work: Work) -> list[IncidentKind]:
    """Returns all kinds of incidents, those of earlier versions of the playbook included. Checks no permission."""
    query = select(IncidentKind).where(IncidentKind.district_id == work.district_id)
    return list(await work.db.scalars(query.order_by(IncidentKind.id)))


def unknown_kind(pointer: str) -> Invalid:
    """Returns the error for a code for which the playbook has no kind of incident."""
    return Invalid([Violation(pointer, "incident_kind.unknown", "The playbook has no such kind of incident.")])
