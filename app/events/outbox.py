"""Owns how an event is written: in the transaction of the fact, numbered last. Never sends anything."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from sqlalchemy import text, update

from app.access.work import Work
from app.core.clock import now
from app.core.errors import Misuse
from app.core.ids import new_id
from app.events.catalogue import EventType, Happened
from app.events.models import Event, EventCounter


@dataclass
class _Many:
    """Students of schools to whom one thing happened, column by column."""

    type: EventType
    at: datetime = field(default_factory=now)
    ids: list[UUID] = field(default_factory=list)
    students: list[UUID] = field(default_factory=list)
    schools: list[UUID] = field(default_factory=list)


# One statement for however many; the numbers begin after `:seq`.
MANY = text(
    """INSERT INTO event (district_id, seq, id, type, version, at, subject_kind, subject_id, subject_version,
                          student_id, school_ids, secured_area, ids)
       SELECT :district, CAST(:seq AS bigint) + n, id, :type, :version, :at, 'student', student, 1, student,
              ARRAY[school], NULL, jsonb_build_object('student', student, 'school', school)
       FROM unnest(CAST(:ids AS uuid[]), CAST(:students AS uuid[]), CAST(:schools AS uuid[]))
            WITH ORDINALITY AS x (id, student, school, n)
       ON CONFLICT DO NOTHING"""
)


def record(work: Work, happened: Happened) -> UUID:
    """Lays an event to be written with this unit of work; its id. A referral is never in a payload: it has no event."""
    if set(happened.ids) | {happened.type.subject} != happened.type.carried:
        raise Misuse(f"The event {happened.type.name} must carry the ids {sorted(happened.type.carried)}.")
    event_id = new_id()
    work.pending_events.append((event_id, now(), happened))
    work.before_commit("events", _number_and_write, last=True)
    return event_id


def record_of_students(work: Work, type_: EventType, rows: Sequence[tuple[UUID, UUID]]) -> None:
    """Lays the same for many students, each with a school: written as one statement, however many they are."""
    if type_.carried != {"student", "school"}:
        raise Misuse(f"The event {type_.name} does not carry a student and a school.")
    if rows:
        many = _Many(type_)
        for student, school in rows:
            many.ids.append(new_id())
            many.students.append(student)
            many.schools.append(school)
        work.pending_events.append(many)
        work.before_commit("events", _number_and_write, last=True)


async def _number_and_write(work: Work) -> None:
    """Takes the numbers from the district's counter row, whose lock is held until the commit.

    The lock makes the order of numbers the order of commits, so that a reader of the feed skips none.
    """
    if not work.pending_events:
        return
    count = sum(len(laid.ids) if isinstance(laid, _Many) else 1 for laid in work.pending_events)
    taken = await work.db.execute(
        update(EventCounter)
        .where(EventCounter.district_id == work.district_id)
        .values(last=EventCounter.last + count)
        .returning(EventCounter.last)
    )
    seq = taken.scalar_one() - count
    for laid in work.pending_events:
        if isinstance(laid, _Many):
            await _write_many(work, laid, seq)
            seq += len(laid.ids)
            continue
        event_id, at, happened = laid
        seq += 1
        ids = {happened.type.subject: happened.subject_id, **happened.ids}
        work.db.add(
            Event(
                district_id=work.district_id,
                seq=seq,
                id=event_id,
                type=happened.type.name,
                version=happened.type.version,
                at=at,
                subject_kind=happened.type.subject,
                subject_id=happened.subject_id,
                subject_version=happened.subject_version,
                student_id=happened.student_id,
                school_ids=list(happened.school_ids),
                secured_area=happened.secured_area,
                ids={kind: str(value) for kind, value in ids.items()},
                counts={kind: dict(done) for kind, done in happened.counts.items()} or None,
            )
        )
    work.pending_events.clear()


async def _write_many(work: Work, many: _Many, seq: int) -> None:
    asked = {"district": work.district_id, "seq": seq, "type": many.type.name, "version": many.type.version}
    listed = {"at": many.at, "ids": many.ids, "students": many.students, "schools": many.schools}
    await work.db.execute(MANY, asked | listed)
