"""Looks up kinds of hypotheses. Checks no permission, because the calling commands have done so."""

from sqlalchemy import select

from app.access.work import Work
from app.core.errors import Invalid, Violation
from app.playbook.models import HypothesisKind


async def kind_in_force(work: Work, code: str) -> HypothesisKind | None:
    """Returns the kind of hypothesis with this code that is in force in the playbook, or None if there is none."""
    if "\x00" in code:  # PostgreSQL cannot store this text and would raise an error.
        return None
    query = select(HypothesisKind).where(
        HypothesisKind.district_id == work.district_id,
        HypothesisKind.code == code,
        HypothesisKind.until_version.is_(None),
    )
    row: HypothesisKind | None = await work.db.scalar(query)
    return row


async def locate_kind(work: Work, code: str, pointer: str) -> HypothesisKind:
    """Returns the kind of hypothesis in force with this code; raises `Invalid` at `pointer` if there is none."""
    kind = await kind_in_force(work, code)
    if kind is None:
        detail = "The playbook has no such kind of hypothesis."
        raise Invalid([Violation(pointer, "hypothesis_kind.unknown", detail)])
    return kind
