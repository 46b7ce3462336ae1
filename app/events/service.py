"""Creates a district's event counter, deletes expired events, and invalidates old cursors after a restore.

Never changes an event.
"""

from sqlalchemy import ColumnElement, any_, cast, delete, func, select, update
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.types import BigInteger

from app.access.permission import Can
from app.access.work import Work, needs
from app.core.clock import now
from app.core.ids import new_id
from app.events.feed import KEPT
from app.events.models import Event, EventCounter


@needs(Can.OPERATE)
async def open_counter(work: Work) -> None:
    """Creates the district's counter row, from which every event takes its number."""
    work.db.add(EventCounter(district_id=work.district_id, last=0, epoch=new_id()))
    await work.db.flush()


@needs(Can.OPERATE)
async def begin_epoch(work: Work) -> None:
    """Gives the feed a new epoch (an id of the feed), which makes all earlier cursors invalid.

    This is needed after a restore from a backup, because new events may then get numbers that were already used before
    the restore.
    """
    in_district = EventCounter.district_id == work.district_id
    await work.db.execute(update(EventCounter).where(in_district).values(epoch=new_id()))


@needs(Can.DELIVER_WEBHOOKS)
async def expire_events(work: Work, upto: int, most: int, is_needed: ColumnElement[bool]) -> int:
    """Deletes up to `most` events with numbers up to `upto`, oldest first, except those that match `is_needed`.

    Returns the number of deleted events. The counter stores the last deleted number, so that a reader with an older
    cursor learns that events are missing.
    """
    query = (
        select(Event.seq)
        .where(Event.district_id == work.district_id, Event.seq <= upto, Event.at < now() - KEPT, ~is_needed)
        .order_by(Event.seq)
        .limit(most)
    )
    expired = list((await work.db.scalars(query)).all())
    if not expired:
        return 0
    numbers = cast(expired, ARRAY(BigInteger))
    await work.db.execute(delete(Event).where(Event.district_id == work.district_id, Event.seq == any_(numbers)))
    await work.db.execute(
        update(EventCounter)
        .where(EventCounter.district_id == work.district_id)
        .values(expired=func.greatest(EventCounter.expired, expired[-1]))
    )
    return len(expired)
