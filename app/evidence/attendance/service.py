"""Records and removes attendance. A sent record that matches a stored record amends it; any other sent record is new.

Records match by the sender's external id, or else by student, day, period and class. An invalid record is refused with
every violation, and the other records are recorded.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from functools import partial
from typing import Annotated, Any
from uuid import UUID

from sqlalchemy import any_, cast, select

from app.access.permission import Can
from app.access.work import Work, needs
from app.core.clock import now
from app.core.errors import Invalid, NotFound, Violation
from app.core.ids import new_id
from app.core.inputs import About, Choices
from app.core.text import Text
from app.core.violations import Violations, input_violations, known_values, readable
from app.evidence.attendance.models import AttendanceRecord
from app.evidence.attendance.rules import MAX_BATCH, AttendanceStatus, violations_of_record
from app.requests.bulk import ItemOutcome, ItemResult, amend_row, result_of
from app.roster.lookup import IdList, ids_of_names, today_of
from app.roster.models import Person, SchoolClass
from app.roster.student_lock import lock_student_of, lock_students_by_name

BECAUSE = Text(min=1, max=500)
Key = tuple[UUID, date, str | None, UUID | None]
"""The student, day, period and class of a record."""


@dataclass(frozen=True, slots=True)
class NewAttendanceRecord:
    """A student's attendance on a day, or in one period or class of that day.

    Sending an unchanged record again changes nothing.
    """

    student: Annotated[
        str,
        About("The student: an id, or an external id `sis:<source>:<sourcedId>`.", "stu_01jq4n6d9zf3vbs0x5k2m7e8ta"),
    ]
    day: Annotated[date, About("The day.", date(2026, 9, 28))]
    status: Annotated[str, Choices(AttendanceStatus), About("Whether the student was there.", "absent")]
    period: Annotated[str | None, Text(min=1, max=40), About("The period of the day; null for the whole day.", "3")] = (
        None
    )
    school_class: Annotated[
        str | None,
        About("The class: an id, or an external id; null for the whole day.", "cls_01jq4n6d9zf3vbs0x5k2m7e8td"),
    ] = None
    excused: Annotated[bool, About("Whether an absence or a delay is excused.", False)] = False
    minutes_missed: Annotated[int | None, About("The minutes that were missed, if known.", 25)] = None
    external_id: Annotated[
        str | None,
        Text(min=1, max=200),
        About("The sender's own id, by which the record is inserted or updated.", "att-2026-09-28-4711"),
    ] = None


@dataclass(frozen=True, slots=True)
class _LoadedRows:
    """The students, classes and stored attendance records that are loaded to check the records of a request."""

    today: date
    students: dict[str, Person]
    classes: dict[str, UUID]
    by_key: dict[Key, AttendanceRecord]
    by_external_id: dict[str, AttendanceRecord]


@needs(Can.RECORD_ATTENDANCE)
async def record_attendance(
    work: Work, attendance: Sequence[NewAttendanceRecord], *, at: str = "/attendance", positions: Sequence[int]
) -> list[ItemResult]:
    """Records up to 500 attendance records; returns a result for each record, in order.

    `at` is the JSON Pointer of the list in the request, and `positions` has the index of each record in that list.
    """
    if not 1 <= len(attendance) <= MAX_BATCH:
        raise Invalid([Violation(at, "attendance.count", f"Send 1 to {MAX_BATCH} attendance records at once.")])
    loaded = await _load_rows(work, attendance)
    added: list[AttendanceRecord] = []
    written: set[UUID] = set()
    results = [
        result_of(partial(_record, work, new, loaded, f"{at}/{position}", added, written))
        for new, position in zip(attendance, positions, strict=True)
    ]
    work.db.add_all(added)
    await work.db.flush()
    return results


@needs(Can.RECORD_ATTENDANCE)
async def remove_attendance(
    work: Work,
    attendance_record_id: UUID,
    because: Annotated[str, BECAUSE, About("Why it is removed.", "It was another student.")],
) -> AttendanceRecord:
    """Removes an attendance record. Sending the same record again restores it."""
    BECAUSE.require(because, "/because")
    record = await lock_student_of(work, AttendanceRecord, AttendanceRecord.id, attendance_record_id)
    if record is None or record.removed_at is not None:
        raise NotFound("attendance_record")
    work.disclose("attendance_record", [record.student_id])
    record.removed_at, record.removed_because = now(), because
    record.version += 1
    await work.db.flush()
    return record


async def _load_rows(work: Work, attendance: Sequence[NewAttendanceRecord]) -> _LoadedRows:
    """Locks the students of a request, and loads the rows against which its records are checked."""
    students = await lock_students_by_name(work, readable(attendance, "student"))
    classes = await _classes_by_name(work, {name for name in readable(attendance, "school_class") if name is not None})
    external_ids = {name for name in readable(attendance, "external_id") if name is not None and "\x00" not in name}
    student_ids = sorted({student.id for student in students.values()})
    on_same_days = (
        AttendanceRecord.student_id == any_(cast(student_ids, IdList)),
        AttendanceRecord.day.in_(set(readable(attendance, "day"))),
    )
    by_sender = (AttendanceRecord.sender == work.principal.client_id, AttendanceRecord.external_id.in_(external_ids))
    by_key: dict[Key, AttendanceRecord] = {}
    by_external_id: dict[str, AttendanceRecord] = {}
    for conditions in (on_same_days, by_sender if external_ids else None):
        if conditions is None:
            continue
        query = select(AttendanceRecord).where(AttendanceRecord.district_id == work.district_id, *conditions)
        for row in await work.db.scalars(query.execution_options(populate_existing=True)):
            by_key[row.student_id, row.day, row.period, row.class_id] = row
            if row.external_id is not None and row.sender == work.principal.client_id:
                by_external_id[row.external_id] = row
    return _LoadedRows(await today_of(work), students, classes, by_key, by_external_id)


async def _classes_by_name(work: Work, names: Iterable[str]) -> dict[str, UUID]:
    """Returns the ids of the classes with these names, keyed by name. A name is a public id or an external id of a
    class.

    A name without a class is left out.
    """
    ids_by_name = await ids_of_names(work, names, "class")
    if not ids_by_name:
        return {}
    query = select(SchoolClass.id).where(
        SchoolClass.district_id == work.district_id,
        SchoolClass.id == any_(cast(list(ids_by_name.values()), IdList)),
    )
    present = set(await work.db.scalars(query))
    return {name: row_id for name, row_id in ids_by_name.items() if row_id in present}


def _record(
    work: Work,
    new: NewAttendanceRecord,
    loaded: _LoadedRows,
    at: str,
    added: list[AttendanceRecord],
    written: set[UUID],
) -> ItemResult:
    violations, values = Violations(input_violations(new, at)), known_values(new)
    violations.add(violations_of_record(values.get("day"), values.get("minutes_missed"), loaded.today, at))
    with violations:
        student = loaded.students.get(new.student)
        if student is None:
            detail = "There is no such student within this caller's reach."
            raise Invalid([Violation(f"{at}/student", "student.unknown", detail)])
        if student.removed_at is not None:
            detail = "This student has left. Attendance is recorded when the student is back."
            raise Invalid([Violation(f"{at}/student", "student.departed", detail)])
    class_id = None
    with violations:
        if new.school_class is not None:
            class_id = loaded.classes.get(new.school_class)
            if class_id is None:
                raise Invalid([Violation(f"{at}/school_class", "class.unknown", "There is no such class.")])
    violations.refuse()
    assert student is not None  # noqa: S101  # refused above
    key = (student.id, new.day, new.period, class_id)
    stored = _match(new, key, loaded, at)
    content = {
        **{"day": new.day, "period": new.period, "class_id": class_id, "status": new.status, "excused": new.excused},
        **{"minutes_missed": new.minutes_missed, "removed_at": None, "removed_because": None},
    }
    if stored is None:
        row = _new_row(work, student, new, content)
        added.append(row)
        written.add(row.id)
        _index(row, loaded, work)
        return ItemResult(ItemOutcome.RECORDED, row)
    if new.external_id is not None and stored.external_id is None:
        content |= {"external_id": new.external_id, "sender": work.principal.client_id}
    detail = "Another item of the request says something else of this student, day, period and class."
    former = (stored.student_id, stored.day, stored.period, stored.class_id)
    result = amend_row(stored, content, written, Violation(at, "attendance.doubled", detail))
    if result.outcome == ItemOutcome.AMENDED:
        loaded.by_key.pop(former, None)
        _index(stored, loaded, work)
    return result


def _match(new: NewAttendanceRecord, key: Key, loaded: _LoadedRows, at: str) -> AttendanceRecord | None:
    """Returns the stored record that a sent record amends, or None if the sent record is new.

    A stored record matches by the external id, or else by `key` (student, day, period and class). Raises `Invalid` if
    the external id and `key` lead to different records, or if the external id belongs to a record of another student.
    """
    by_key = loaded.by_key.get(key)
    by_external_id = None if new.external_id is None else loaded.by_external_id.get(new.external_id)
    if by_external_id is None:
        return by_key
    if by_external_id.student_id != key[0] or (by_key is not None and by_key is not by_external_id):
        detail = "This external id belongs to a record of another student, day, period or class."
        raise Invalid([Violation(f"{at}/external_id", "attendance.two_identities", detail)])
    return by_external_id


def _new_row(work: Work, student: Person, new: NewAttendanceRecord, content: dict[str, Any]) -> AttendanceRecord:
    return AttendanceRecord(
        district_id=work.district_id,
        id=new_id(),
        student_id=student.id,
        school_ids=student.school_ids,
        recorded_by=work.principal.person_id,
        sender=work.principal.client_id,
        external_id=new.external_id,
        recorded_at=now(),
        version=1,
        **content,
    )


def _index(row: AttendanceRecord, loaded: _LoadedRows, work: Work) -> None:
    loaded.by_key[row.student_id, row.day, row.period, row.class_id] = row
    if row.external_id is not None and row.sender == work.principal.client_id:
        loaded.by_external_id[row.external_id] = row
