"""Writes events in the same transaction as the change that they report. Sends nothing.

Each event gets its number just before the commit.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol
from uuid import UUID

from sqlalchemy import text

from app.access.work import Work
from app.core.clock import now
from app.core.db import json_text
from app.core.errors import Misuse
from app.core.ids import new_id
from app.events.catalogue import EventType, NewEvent


@dataclass
class _StudentEvents:
    """Events of one type about many students. Each list has one entry for each event."""

    type: EventType
    at: datetime = field(default_factory=now)
    ids: list[UUID] = field(default_factory=list)
    students: list[UUID] = field(default_factory=list)
    schools: list[UUID] = field(default_factory=list)


WRITE_LAST = "SELECT app.write_last($1, $2, $3, $4)"
# One statement writes any number of events. Their numbers begin after `:seq`.
INSERT_STUDENT_EVENTS = text(
    """INSERT INTO event (district_id, seq, id, type, version, at, subject_kind, subject_id, subject_version,
                          student_id, school_ids, secured_area, ids)
       SELECT :district, CAST(:seq AS bigint) + n, id, :type, :version, :at, 'student', student, 1, student,
              ARRAY[school], NULL, jsonb_build_object('student', student, 'school', school)
       FROM unnest(CAST(:ids AS uuid[]), CAST(:students AS uuid[]), CAST(:schools AS uuid[]))
            WITH ORDINALITY AS x (id, student, school, n)
       ON CONFLICT DO NOTHING"""
)


class StudentRow(Protocol):
    """A row about one student, with the schools and the secured area that decide who may see it."""

    @property
    def id(self) -> UUID:
        """Returns the id of the row."""

    @property
    def version(self) -> int:
        """Returns the version of the row."""

    @property
    def student_id(self) -> UUID:
        """Returns the id of the student that the row is about."""

    @property
    def school_ids(self) -> Sequence[UUID]:
        """Returns the ids of the student's schools."""

    @property
    def secured_area(self) -> str | None:
        """Returns the code of the row's secured area, or None."""


def student_event(type_: EventType, row: StudentRow, more: Mapping[str, UUID] | None = None) -> NewEvent:
    """Returns an event about `row`, a record about a student, with the student's id and the ids in `more`."""
    return NewEvent(
        type=type_,
        subject_id=row.id,
        subject_version=row.version,
        ids={"student": row.student_id, **(more or {})},
        student_id=row.student_id,
        school_ids=tuple(row.school_ids),
        secured_area=row.secured_area,
    )


def record(work: Work, event: NewEvent) -> UUID:
    """Adds an event to this unit of work, to be written before the commit. Returns the event's id.

    Must not be called for a referral, because the event's payload would reveal that the student was referred.
    """
    if set(event.ids) | {event.type.subject} != event.type.required_ids:
        raise Misuse(f"The event {event.type.name} must carry the ids {sorted(event.type.required_ids)}.")
    event_id = new_id()
    work.pending_events.append((event_id, now(), event))
    work.before_commit("events", _write_last, last=True)
    return event_id


def write_weeks_last(work: Work) -> None:
    """Registers the jobs in `Work.week_rows` to be written just before the events get their numbers.

    This is one of the last steps before the commit. Each job makes a worker judge a finished week of one student again.
    """
    work.before_commit("events", _write_last, last=True)


def record_of_students(work: Work, type_: EventType, rows: Sequence[tuple[UUID, UUID]]) -> None:
    """Adds an event of this type for each pair of a student and a school in `rows`.

    All of them are written by one statement before the commit.
    """
    if type_.required_ids != {"student", "school"}:
        raise Misuse(f"The event {type_.name} does not carry a student and a school.")
    if rows:
        events = _StudentEvents(type_)
        for student, school in rows:
            events.ids.append(new_id())
            events.students.append(student)
            events.schools.append(school)
        work.pending_events.append(events)
        work.before_commit("events", _write_last, last=True)


async def _write_last(work: Work) -> None:
    """Writes what must come last in a transaction: the jobs in `Work.week_rows`, then the events with their numbers.

    The numbers are taken from the district's counter row, which stays locked until the commit. Thus the order of
    numbers is the order of commits, and a reader of the feed skips no event.
    """
    rows: list[Mapping[str, Any]] = []
    of_students: list[tuple[_StudentEvents, int]] = []
    count = 0
    for pending in work.pending_events:
        if isinstance(pending, _StudentEvents):
            of_students.append((pending, count))
            count += len(pending.ids)
        else:
            count += 1
            rows.append({"place": count, **_row_of(*pending)})
    weeks, work.week_rows = work.week_rows, []
    work.pending_events.clear()
    if not count and not weeks:
        return
    parameters = (work.district_id, json_text(weeks), json_text(rows), count)
    ((before_first,),) = await work.run(WRITE_LAST, parameters)
    for events, place in of_students:
        await _write_student_events(work, events, before_first + place)


def _row_of(event_id: UUID, at: datetime, event: NewEvent) -> dict[str, Any]:
    """Returns the values of the columns of an event, without its district and its number."""
    ids = {event.type.subject: event.subject_id, **event.ids}
    return {
        "id": event_id,
        "type": event.type.name,
        "version": event.type.version,
        "at": at,
        "subject_kind": event.type.subject,
        "subject_id": event.subject_id,
        "subject_version": event.subject_version,
        "student_id": event.student_id,
        "school_ids": list(event.school_ids),
        "secured_area": event.secured_area,
        "ids": {kind: str(value) for kind, value in ids.items()},
        "counts": {kind: dict(done) for kind, done in event.counts.items()} or None,
    }


async def _write_student_events(work: Work, events: _StudentEvents, seq: int) -> None:
    parameters = {"district": work.district_id, "seq": seq, "type": events.type.name, "version": events.type.version}
    columns = {"at": events.at, "ids": events.ids, "students": events.students, "schools": events.schools}
    await work.db.execute(INSERT_STUDENT_EVENTS, parameters | columns)
