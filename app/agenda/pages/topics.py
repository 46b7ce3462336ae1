"""Reads short texts that say what an agenda item is about, for items that do not say it themselves.

* For a support, the text has the area and what is done.
* For any other record about a student, the text is the area.
* For a core stall, the text has the grade and the measure.
* For an action item, it is the item's own text.
"""

from collections.abc import Iterable, Mapping
from uuid import UUID

from sqlalchemy import and_, any_, cast, select

from app.access.permission import Can
from app.access.work import Work, needs
from app.attention.names import SubjectNames, read_subject_names
from app.playbook.models import Measure
from app.roster.lookup import IdList
from app.signal.stalls.models import CoreStall


@needs(Can.READ_MEETINGS)
async def read_topics(work: Work, subjects: Iterable[tuple[str, UUID]]) -> Mapping[UUID, str]:
    """Returns a short text for each record that an agenda item is about, keyed by the record's id.

    `subjects` has the kind and the id of each record. If the caller may not read a kind of record, its records have no
    text. Every caller gets the texts of core stalls.
    """
    pairs = list(subjects)
    names = await read_subject_names(work, pairs)
    topics = {row_id: topic for row_id, each in names.items() if (topic := topic_of(each)) is not None}
    return topics | await read_stalls(work, [row_id for kind, row_id in pairs if kind == "core_stall"])


def topic_of(names: SubjectNames) -> str | None:
    """Returns a short text made of the names of a record, or None if there are none."""
    if names.area is None or names.intervention is None:
        return names.area or names.text
    return f"{names.area}: {names.intervention}"


@needs(Can.READ_MEETINGS)
async def read_stalls(work: Work, stall_ids: list[UUID]) -> dict[UUID, str]:
    """Returns the grade and the measure of core stalls as a short text, by id."""
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
