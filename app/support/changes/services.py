"""Updates the day since which a concern has had no active support, after supports began, ended or were suspended.

The update belongs to the transaction that changes the supports, which has already locked the students of the supports.
One statement updates all concerns.
"""

from collections.abc import Collection
from typing import Any, cast
from uuid import UUID

from sqlalchemy import CursorResult, any_, case, exists, literal, null, select, update
from sqlalchemy import cast as sql_cast
from sqlalchemy.types import Date

from app.access.work import Work
from app.concern.models import Concern
from app.concern.rules import ConcernState
from app.roster.lookup import IdList, today_of
from app.support.models import Support, SupportConcern
from app.support.rules import SupportState


async def follow_services(work: Work, support_ids: Collection[UUID]) -> int:
    """Updates the column `unserved_since` of the concerns of these supports. Returns the number of changed concerns.

    An accepted concern that has lost its last active support is unserved from today on. A concern with an active
    support is served. The version of the concern stays the same, because nobody has changed the concern itself. The
    function checks no permission of its own: the calling command has checked one.
    """
    if not support_ids:
        return 0
    is_served = exists().where(
        SupportConcern.district_id == work.district_id,
        SupportConcern.concern_id == Concern.id,
        Support.district_id == work.district_id,
        Support.id == SupportConcern.support_id,
        Support.state == SupportState.ACTIVE,
    )
    of_supports = select(SupportConcern.concern_id).where(
        SupportConcern.district_id == work.district_id,
        SupportConcern.support_id == any_(sql_cast(sorted(support_ids), IdList)),
    )
    today = sql_cast(literal(await today_of(work)), Date)
    await work.db.flush()
    result = await work.db.execute(
        update(Concern)
        .where(
            Concern.district_id == work.district_id,
            Concern.id.in_(of_supports),
            Concern.state == ConcernState.ACCEPTED,
            Concern.unserved_since.is_(None) != is_served,
        )
        .values(unserved_since=case((is_served, null()), else_=today))
        .execution_options(synchronize_session=False)
    )
    return cast(CursorResult[Any], result).rowcount
