"""Owns a district's event counter from its first day, the epoch of its feed, and what of it expires.

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
    """Makes the district's counter row; every event takes its number there."""
    work.db.add(EventCounter(district_id=work.district_id, last=0, epoch=new_id()))
    await work.db.flush()


@needs(Can.OPERATE)
async def begin_epoch(work: Work) -> None:
    """Makes every cursor of the feed that was given out end in `Gone`: after a restore, numbers are given out again."""
    here = EventCounter.district_id == work.district_id
    await work.db.execute(update(EventCounter).where(here).values(epoch=new_id()))


@needs(Can.DELIVER_WEBHOOKS)
async def expire_events(work: Work, upto: int, most: int, held: ColumnElement[bool]) -> int:
    """Deletes up to `most` events that are kept no longer, oldest first, but those that are `held`; how many.

    The counter remembers up to where: a cursor from before is told that something was lost.
    """
    query = (
        select(Event.seq)
        .where(Event.district_id == work.district_id, Event.seq <= upto, Event.at < now() - KEPT, ~held)
        .order_by(Event.seq)
        .limit(most)
    )
    gone = list((await work.db.scalars(query)).all())
    if not gone:
        return 0
    numbers = cast(gone, ARRAY(BigInteger))
    await work.db.execute(delete(Event).where(Event.district_id == work.district_id, Event.seq == any_(numbers)))
    await work.db.execute(
        update(EventCounter)
        .where(EventCounter.district_id == work.district_id)
        .values(expired=func.greatest(EventCounter.expired, gone[-1]))
    )
    return len(gone)
