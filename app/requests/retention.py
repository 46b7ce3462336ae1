"""Deletes the responses that are stored for idempotency keys. Each response is deleted when it is a day old."""

from sqlalchemy import any_, cast, delete, select
from sqlalchemy.dialects.postgresql import ARRAY, BYTEA

from app.access.permission import Can
from app.access.work import Work, needs
from app.core.clock import now
from app.requests.idempotency import RETENTION
from app.requests.models import IdempotentRequest

AT_ONCE = 2000


@needs(Can.MAINTAIN)
async def expire_answers(work: Work, most: int = AT_ONCE) -> int:
    """Deletes up to `most` expired responses of a district, and returns their number.

    The caller repeats the call until it returns 0.
    """
    in_district = IdempotentRequest.district_id == work.district_id
    oldest_first = select(IdempotentRequest.digest).where(in_district, IdempotentRequest.at <= now() - RETENTION)
    digests = list(await work.db.scalars(oldest_first.order_by(IdempotentRequest.at).limit(most)))
    if digests:
        await work.db.execute(
            delete(IdempotentRequest).where(in_district, IdempotentRequest.digest == any_(cast(digests, ARRAY(BYTEA))))
        )
    return len(digests)
