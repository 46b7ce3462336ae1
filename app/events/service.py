"""Owns a district's event counter from its first day."""

from app.access.permission import Can
from app.access.work import Work, needs
from app.events.models import EventCounter


@needs(Can.OPERATE)
async def open_counter(work: Work) -> None:
    """Makes the district's counter row; every event takes its number there."""
    work.db.add(EventCounter(district_id=work.district_id, last=0))
    await work.db.flush()
