"""Writes events in the transaction of the change that they report, and assigns their numbers last. Sends nothing."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from sqlalchemy import text, update

from app.access.work import Work
from app.core.clock import now
from app.core.errors import Misuse
from app.core.ids import new_id
from app.events.catalogue import EventType, NewEvent
from app.events.models import Event, EventCounter


@dataclass
class _StudentEvents:
    """The events of one type about many students, stored as columns with one entry for each student."""

    type: EventType
    at: datetime = field(default_factory=now)
    ids: list[UUID] = field(default_factory=list)
    students: list[UUID] = field(default_factory=list)
    schools: list[UUID] = field(default_factory=list)


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


def record(work: Work, event: NewEvent) -> UUID:
    """Adds an event to this unit of work, to be written before the commit. Returns the event's id.

    Events of referrals are not written, because a payload would reveal that a student was referred.
    """
    if set(event.ids) | {event.type.subject} != event.type.required_ids:
        raise Misuse(f"The event {event.type.name} must carry the ids {sorted(event.type.required_ids)}.")
    event_id = new_id()
    work.pending_events.append((event_id, now(), event))
    work.before_commit("events", _number_and_write, last=True)
    return event_id


def record_of_students(work: Work, type_: EventType, rows: Sequence[tuple[UUID, UUID]]) -> None:
    """Adds one event of this type for each pair of student and school in `rows`. One statement writes them before the
    commit.
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
        work.before_commit("events", _number_and_write, last=True)


async def _number_and_write(work: Work) -> None:
    """Takes numbers for the pending events from the district's counter row, and writes the events.

    The counter row stays locked until the commit. Thus the order of numbers is the order of commits, and a reader of
    the feed skips no event.
    """
    if not work.pending_events:
        return
    count = sum(len(pending.ids) if isinstance(pending, _StudentEvents) else 1 for pending in work.pending_events)
    result = await work.db.execute(
        update(EventCounter)
        .where(EventCounter.district_id == work.district_id)
        .values(last=EventCounter.last + count)
        .returning(EventCounter.last)
    )
    seq = result.scalar_one() - count
    for pending in work.pending_events:
        if isinstance(pending, _StudentEvents):
            await _write_student_events(work, pending, seq)
            seq += len(pending.ids)
            continue
        event_id, at, event = pending
        seq += 1
        ids = {event.type.subject: event.subject_id, **event.ids}
        work.db.add(
            Event(
                district_id=work.district_id,
                seq=seq,
                id=event_id,
                type=event.type.name,
                version=event.type.version,
                at=at,
                subject_kind=event.type.subject,
                subject_id=event.subject_id,
                subject_version=event.subject_version,
                student_id=event.student_id,
                school_ids=list(event.school_ids),
                secured_area=event.secured_area,
                ids={kind: str(value) for kind, value in ids.items()},
                counts={kind: dict(done) for kind, done in event.counts.items()} or None,
            )
        )
    work.pending_events.clear()


async def _write_student_events(work: Work, events: _StudentEvents, seq: int) -> None:
    parameters = {"district": work.district_id, "seq": seq, "type": events.type.name, "version": events.type.version}
    columns = {"at": events.at, "ids": events.ids, "students": events.students, "schools": events.schools}
    await work.db.execute(INSERT_STUDENT_EVENTS, parameters | columns)
