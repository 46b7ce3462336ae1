"""Looks up entries of the intervention library. Checks no permission, because the calling commands have done so."""

from collections.abc import Collection
from uuid import UUID

from sqlalchemy import any_, cast, select

from app.access.work import Work
from app.core import ids
from app.core.errors import Invalid, Violation
from app.intervention.models import Intervention
from app.intervention.rules import InterventionState
from app.roster.lookup import IdList


async def locate_entry(work: Work, name: str, pointer: str) -> Intervention:
    """Returns the published entry with this code or id; raises `Invalid` at `pointer`."""
    if name.startswith(f"{ids.PREFIXES['intervention']}_"):
        named = Intervention.id == ids.parse_id("intervention", name, pointer)
    elif "\x00" in name:  # PostgreSQL cannot store this text and would raise an error.
        raise _unknown_entry(pointer)
    else:
        named = Intervention.code == name
    query = select(Intervention).where(
        Intervention.district_id == work.district_id, named, Intervention.state == InterventionState.PUBLISHED
    )
    entry: Intervention | None = await work.db.scalar(query)
    if entry is None:
        raise _unknown_entry(pointer)
    return entry


async def checklist_sizes(work: Work, entry_ids: Collection[UUID]) -> dict[UUID, int]:
    """Returns the number of parts of each entry's checklist, keyed by the entry's id."""
    if not entry_ids:
        return {}
    rows = await work.db.execute(
        select(Intervention.id, Intervention.checklist).where(
            Intervention.district_id == work.district_id, Intervention.id == any_(cast(list(entry_ids), IdList))
        )
    )
    return {entry_id: len(checklist) for entry_id, checklist in rows}


def _unknown_entry(pointer: str) -> Invalid:
    detail = "The intervention library has no such published entry."
    return Invalid([Violation(pointer, "intervention.unknown", detail)])
