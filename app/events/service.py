"""Owns a district's event counter from its first day, and the epoch of its feed. Never changes an event."""

from sqlalchemy import update

from app.access.permission import Can
from app.access.work import Work, needs
from app.core.ids import new_id
from app.events.models import EventCounter


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
