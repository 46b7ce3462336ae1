"""Reads short texts that say what an agenda item is about, for items that do not say it themselves.

* For a support, the text has the area and what is done.
* For any other record about a student, the text is the area.
* For a core stall, the text has the grade and the measure.
* For an action item, it is the item's own text.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Final
from uuid import UUID

from sqlalchemy import Text, and_, any_, cast, literal, null, select, union_all

from app.access.permission import Can
from app.access.work import Work, needs
from app.action.models import ActionItem
from app.concern.models import Concern
from app.hypothesis.models import Hypothesis
from app.playbook.models import Area, Measure
from app.roster.lookup import IdList
from app.signal.models import Signal
from app.signal.stalls.models import CoreStall
from app.support.models import Support

ABOUT_AREAS: Final[Mapping[str, tuple[Any, Can]]] = {
    "support": (Support, Can.READ_SUPPORTS),
    "concern": (Concern, Can.READ_CONCERNS),
    "signal": (Signal, Can.READ_SIGNALS),
    "hypothesis": (Hypothesis, Can.READ_HYPOTHESES),
}
"""The kinds of records that have an area, each with its table and with the permission to read the records."""


@needs(Can.READ_MEETINGS)
async def read_topics(work: Work, subjects: Iterable[tuple[str, UUID]]) -> Mapping[UUID, str]:
    """Returns a short text for each record that an agenda item is about, keyed by the record's id.

    `subjects` has the kind and the id of each record. If the caller may not read a kind of record, its records have no
    text. Every caller gets the texts of core stalls.
    """
    ids_by_kind: dict[str, list[UUID]] = {}
    for kind, subject_id in subjects:
        ids_by_kind.setdefault(kind, []).append(subject_id)
    topics = await _stalls(work, ids_by_kind.get("core_stall", []))
    if work.principal.may(Can.READ_ACTIONS):
        topics |= await _actions(work, ids_by_kind.get("action_item", []))
    return topics | await _areas(work, ids_by_kind)


async def _areas(work: Work, ids_by_kind: Mapping[str, list[UUID]]) -> dict[UUID, str]:
    """Returns the areas of records. The text of a support also says what is done. Executes at most one statement."""
    queries = []
    for kind, (model, permission) in ABOUT_AREAS.items():
        if not ids_by_kind.get(kind) or not work.principal.may(permission):
            continue
        of_area = Concern if model is Hypothesis else model
        query = select(
            literal(kind, Text).label("kind"),
            model.id.label("id"),
            model.student_id.label("student_id"),
            Area.name.label("area"),
            (Support.intervention if model is Support else cast(null(), Text)).label("intervention"),
        ).where(model.district_id == work.district_id, model.id == any_(cast(ids_by_kind[kind], IdList)))
        if model is Hypothesis:
            query = query.join(Concern, and_(Concern.district_id == work.district_id, Concern.id == model.concern_id))
        queries.append(query.join(Area, and_(Area.district_id == work.district_id, Area.id == of_area.area_id)))
    if not queries:
        return {}
    rows = (await work.db.execute(union_all(*queries))).all()
    for kind in ABOUT_AREAS:
        work.disclose(kind, {row.student_id for row in rows if row.kind == kind})
    return {row.id: row.area if row.intervention is None else f"{row.area}: {row.intervention}" for row in rows}


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
