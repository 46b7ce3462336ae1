"""Reads what is needed to check a batch of scores (its students, staff and measures), and inserts new scores.

The students of the batch are locked before anything is read. The number of statements does not depend on the number of
scores. The functions check no permission of their own: the calling command has checked one.
"""

# ruff: noqa: S608  # only our own names are formatted into statements; values are bound

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, Final
from uuid import UUID

from app.access.work import Work
from app.core import ids
from app.core.arrays import rows_of
from app.core.clock import today_in
from app.core.db import json_text
from app.core.errors import AimlineError, NotFound
from app.evidence.models import Score
from app.playbook.lookup import opened_code, unknown_name
from app.playbook.measures.in_process import MeasureVersion, measures_in_process
from app.playbook.models import Measure
from app.roster.lookup import ids_of_names, keep_clock
from app.roster.student_lock import LOCKED_STUDENTS, LockedStudent, lock_named_subjects, note_locked

TERMS: Final = f"""
WITH {LOCKED_STUDENTS}
SELECT l.*, m.*, a.*,
       ARRAY (SELECT s.id FROM person AS s WHERE s.district_id = $1 AND s.id = ANY ($3::uuid[]) AND NOT s.is_student),
       (SELECT d.time_zone FROM district AS d WHERE d.district_id = $1),
       (SELECT k.today FROM test_clock AS k WHERE k.district_id = $1)
FROM (SELECT array_agg(l.id), array_agg(array_to_string(l.school_ids, ' ')), array_agg(l.removed_at)
      FROM locked AS l) AS l,
     (SELECT array_agg(m.code), array_agg(m.area_id), array_agg(m.id), array_agg(m.version), array_agg(m.updated_at)
      FROM measure AS m
      WHERE m.district_id = $1 AND (m.code = ANY ($4::text[]) OR m.id = ANY ($5::uuid[]))) AS m,
     (SELECT array_agg(a.id), array_agg(a.parent_id), array_agg(a.code), array_agg(a.secured)
      FROM area AS a WHERE a.district_id = $1) AS a"""
"""One row of arrays: of the students, of the measures and of the areas, each with one array for each column."""
COLUMNS: Final = (
    *("id", "student_id", "school_ids", "secured_area", "measure_id", "purpose", "taken_on", "attempt", "value"),
    *("form", "given_by", "sender", "external_id", "recorded_at", "version"),
)
_SENT: Final = "jsonb_populate_recordset(NULL::score, $2::jsonb)"
INSERT_NEW: Final = f"""
INSERT INTO score (district_id, {", ".join(COLUMNS)})
SELECT $1, {", ".join(f"r.{name}" for name in COLUMNS)} FROM {_SENT} AS r
WHERE NOT EXISTS (
    SELECT FROM {_SENT} AS n CROSS JOIN LATERAL (
        SELECT s.id FROM score AS s
        WHERE s.district_id = $1 AND s.student_id = n.student_id AND s.measure_id = n.measure_id
          AND s.taken_on = n.taken_on AND s.attempt = n.attempt OFFSET 0) AS same)
  AND NOT EXISTS (
    SELECT FROM {_SENT} AS n CROSS JOIN LATERAL (
        SELECT s.id FROM score AS s
        WHERE s.district_id = $1 AND s.sender = n.sender AND s.external_id = n.external_id OFFSET 0) AS same)
ON CONFLICT DO NOTHING RETURNING id"""
"""Inserts all of the scores, or none if one of them matches a stored score.

If another transaction has meanwhile inserted a score with the same external id, only that score is left out.
"""


@dataclass(frozen=True, slots=True)
class ScoreTerms:
    """The students, staff and measures that a batch of scores names, keyed by the names that the sender used.

    A student or member of staff is left out if there is none with this name that the caller may see. The value for a
    measure is a pair: the measure, and the code of its secured area or None. For a measure that cannot be used, the
    value is instead the error to report.
    """

    today: date
    students: Mapping[str, LockedStudent]
    staff: Mapping[str, UUID]
    measures: Mapping[str, tuple[Measure, str | None] | AimlineError]


async def load_terms(work: Work, students: Iterable[str], staff: Iterable[str], measures: Iterable[str]) -> ScoreTerms:
    """Locks these students until the end of the transaction, and returns what is needed to check their scores.

    Students and staff are given by id or external id, measures by id or code.
    """
    await lock_named_subjects(work)
    student_ids = await ids_of_names(work, students, "student")
    staff_ids = await ids_of_names(work, staff, "person")
    keys, errors = _measure_keys(measures)
    codes = [key for key in keys.values() if isinstance(key, str)]
    measure_ids = [key for key in keys.values() if isinstance(key, UUID)]
    row = await work.run(
        TERMS,
        (
            work.district_id,
            sorted(set(student_ids.values())),
            list(staff_ids.values()),
            codes,
            measure_ids,
        ),
    )
    ((*arrays, found_staff, zone, moved_to),) = row
    student_rows, measure_rows, areas = (rows_of(arrays[at]) for at in (slice(3), slice(3, 8), slice(8, 12)))
    if zone is None:
        raise NotFound("district")
    keep_clock(work, zone, moved_to)
    locked = [(student, [UUID(school) for school in schools.split()], gone) for student, schools, gone in student_rows]
    students_by_id = note_locked(work, locked)
    found_measures = await _measures(work, measure_rows, areas)
    return ScoreTerms(
        today=moved_to or today_in(zone),
        students={name: students_by_id[one] for name, one in student_ids.items() if one in students_by_id},
        staff={name: one for name, one in staff_ids.items() if one in set(found_staff)},
        measures={
            name: errors.get(name) or found_measures.get(keys[name]) or unknown_name("measure", "/measure")
            for name in (*keys, *errors)
        },
    )


def _measure_keys(names: Iterable[str]) -> tuple[dict[str, str | UUID], dict[str, AimlineError]]:
    """Parses each measure name into a code or an id.

    Returns the codes and ids, keyed by name, and the errors of malformed names, keyed by name.
    """
    keys: dict[str, str | UUID] = {}
    errors: dict[str, AimlineError] = {}
    for name in names:
        try:
            is_id = name.startswith(f"{ids.PREFIXES['measure']}_")
            keys[name] = ids.parse_id("measure", name, "/measure") if is_id else name
        except AimlineError as error:
            errors[name] = error
        if "\x00" in name:  # PostgreSQL cannot store this text and would raise an error.
            errors[name] = unknown_name("measure", "/measure")
    return {name: key for name, key in keys.items() if name not in errors}, errors


async def _measures(
    work: Work, rows: Sequence[tuple[Any, ...]], areas: Iterable[tuple[Any, ...]]
) -> dict[str | UUID, tuple[Measure, str | None] | AimlineError]:
    """Returns each measure with its secured area. For a measure that the caller may not use, returns an error instead.

    The result has each measure under its code and under its id.

    * `rows` has a row for each measure: its code, the id of its area, and the values of a `MeasureVersion`.
    * `areas` has the measures' areas and all areas above them. Each has its id, the id of its parent, its code, and
      whether it is secured.
    """
    versions: list[MeasureVersion] = [row[2:] for row in rows]
    measures = await measures_in_process(work, versions)
    areas_by_id = {area[0]: area for area in areas}
    entries: dict[str | UUID, tuple[Measure, str | None] | AimlineError] = {}
    for code, area_id, measure_id, *_ in rows:
        area = areas_by_id.get(area_id)
        while area is not None and not area[3]:
            area = areas_by_id.get(area[1]) if area[1] else None
        try:
            entry: tuple[Measure, str | None] | AimlineError = (
                measures[measure_id],
                None if area is None else opened_code(work, area[2]),
            )
        except AimlineError as error:
            entry = error
        entries[code] = entries[measure_id] = entry
    return entries


async def insert_new(work: Work, scores: Sequence[Score]) -> set[UUID]:
    """Inserts these scores, or none if one of them matches a stored score. Returns the ids of the inserted scores."""
    rows = [{name: getattr(score, name) for name in COLUMNS} for score in scores]
    return {row[0] for row in await work.run(INSERT_NEW, (work.district_id, json_text(rows)))}
