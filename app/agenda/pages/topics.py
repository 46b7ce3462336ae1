"""Reads short texts that say what an agenda item is about, for items that do not say it themselves.

Items about core stalls (grades whose share at the benchmark fell) get their grade and measure, and action items their
text.
"""

from collections.abc import Iterable, Mapping
from uuid import UUID

from sqlalchemy import and_, any_, cast, select

from app.access.permission import Can
from app.access.work import Work, needs
from app.action.models import ActionItem
from app.playbook.models import Measure
from app.roster.lookup import IdList
from app.signal.stalls.models import CoreStall


@needs(Can.READ_MEETINGS)
async def read_topics(work: Work, subjects: Iterable[tuple[str, UUID]]) -> Mapping[UUID, str]:
    """Returns short texts that say what agenda items are about, keyed by the id of the record that an item is about.

    `subjects` has the kind and the id of each such record. The text of a core stall is its grade and measure. The text
    of an action item is returned only if the caller may read action items. Records of other kinds have no text.
    """
    ids_by_kind: dict[str, list[UUID]] = {}
    for kind, subject_id in subjects:
        ids_by_kind.setdefault(kind, []).append(subject_id)
    topics = await _stalls(work, ids_by_kind.get("core_stall", []))
    if work.principal.may(Can.READ_ACTIONS):
        topics |= await _actions(work, ids_by_kind.get("action_item", []))
    return topics


async def _stalls(work: Work, stall_ids: list[UUID]) -> dict[UUID, str]:
    if not stall_ids:
        return {}
    query = (
        select(CoreStall.id, CoreStall.grade, Measure.name)
        .join(Measure, and_(Measure.district_id == work.district_id, Measure.id == CoreStall.measure_id))
        .where(CoreStall.district_id == work.district_id, CoreStall.id == any_(cast(stall_ids, IdList)))
    )
    # A member of the team sees the item, but not the core stalls of a school.
    async with work.as_district("agenda"):
        rows = (await work.db.execute(query)).all()
    return {stall_id: f"Grade {grade.removeprefix('0')}: {measure}" for stall_id, grade, measure in rows}


async def _actions(work: Work, action_ids: list[UUID]) -> dict[UUID, str]:
    if not action_ids:
        return {}
    query = select(ActionItem.id, ActionItem.text, ActionItem.student_id).where(
        ActionItem.district_id == work.district_id, ActionItem.id == any_(cast(action_ids, IdList))
    )
    rows = (await work.db.execute(query)).all()
    work.disclose("action_item", (row.student_id for row in rows if row.student_id is not None))
    return {row.id: row.text for row in rows}
