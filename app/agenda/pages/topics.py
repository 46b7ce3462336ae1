"""Reads short texts that say what an agenda item is about, for items that do not say it themselves.

* For a support, the text has the area and what is done.
* For any other record about a student, the text is the area.
* For a core stall, the text has the grade, the measure, the season of the window, and the school.
* For an action item, it is the item's own text.
"""

from collections.abc import Iterable, Mapping
from uuid import UUID

from app.access.permission import Can
from app.access.work import Work, needs
from app.attention.names import StallNames, SubjectNames, read_stall_names, read_subject_names


@needs(Can.READ_MEETINGS)
async def read_topics(work: Work, subjects: Iterable[tuple[str, UUID]]) -> Mapping[UUID, str]:
    """Returns a short text for each record that an agenda item is about, keyed by the record's id.

    `subjects` has the kind and the id of each record. If the caller may not read a kind of record, its records have no
    text.
    """
    pairs, reader = list(subjects), work.principal
    names = dict(await read_subject_names(work, pairs))
    if stall_ids := [row_id for kind, row_id in pairs if kind == "core_stall"]:
        async with work.as_district("agenda"):
            names |= await read_stall_names(work, reader, stall_ids)
    return {row_id: topic for row_id, each in names.items() if (topic := topic_of(each)) is not None}


def topic_of(names: SubjectNames) -> str | None:
    """Returns a short text made of the names of a record, or None if there are none."""
    if names.stall is not None:
        return _topic_of_stall(names.stall)
    if names.area is None or names.intervention is None:
        return names.area or names.text
    return f"{names.area}: {names.intervention}"


def _topic_of_stall(stall: StallNames) -> str:
    """Returns a text such as `Grade 3: Oral reading fluency, winter, North School`."""
    season = None if stall.season is None else f"{stall.season} screening"
    school = "all schools" if stall.school_id is None else stall.school_name
    details = ", ".join(each for each in (stall.measure_name, season, school) if each is not None)
    grade = f"Grade {stall.grade.lstrip('0') or stall.grade}"
    return f"{grade}: {details}" if details else grade
