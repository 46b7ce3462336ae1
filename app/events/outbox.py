"""Owns how an event is written: in the transaction of the fact, numbered last. Never sends anything."""

from uuid import UUID

from sqlalchemy import update

from app.access.work import Work
from app.core.clock import now
from app.core.errors import Misuse
from app.core.ids import new_id
from app.events.catalogue import Happened
from app.events.models import Event, EventCounter


def record(work: Work, happened: Happened) -> UUID:
    """Lays an event to be written with this unit of work; its id. A referral is never in a payload: it has no event."""
    if set(happened.ids) | {happened.type.subject} != set(happened.type.ids):
        raise Misuse(f"The event {happened.type.name} must carry the ids {happened.type.ids}.")
    event_id = new_id()
    work.pending_events.append((event_id, now(), happened))
    work.last("events", _number_and_write)
    return event_id


async def _number_and_write(work: Work) -> None:
    """Takes the numbers from the district's counter row, whose lock is held until the commit.

    The lock makes the order of numbers the order of commits, so that a reader of the feed skips none.
    """
    if not work.pending_events:
        return
    taken = await work.db.execute(
        update(EventCounter)
        .where(EventCounter.district_id == work.district_id)
        .values(last=EventCounter.last + len(work.pending_events))
        .returning(EventCounter.last)
    )
    seq = taken.scalar_one() - len(work.pending_events)
    for event_id, at, happened in work.pending_events:
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
            )
        )
    work.pending_events.clear()
