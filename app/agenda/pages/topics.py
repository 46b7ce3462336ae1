"""Writes short texts that say what an agenda item is about, for items that do not say it themselves.

* For a support, the text has the area and what is done.
* For any other record about a student, the text is the area.
* For a core stall, the text has the grade, the measure, the season of the window, and the school.
* For an action item, it is the item's own text.
"""

from app.attention.names import StallNames, SubjectNames


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
