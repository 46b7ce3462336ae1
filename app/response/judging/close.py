"""Closes the open alerts of supports that changed or ended, or whose goal date has passed. Judges no series."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Final
from uuid import UUID

from sqlalchemy import ColumnElement, all_, and_, any_, case, cast, exists, func, literal, select, update
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.orm import InstrumentedAttribute
from sqlalchemy.types import Text

from app.access.permission import Can
from app.access.work import Work, needs
from app.events.catalogue import EventType
from app.events.outbox import record
from app.response.judging.alerts import AlertRecord, from_json, record_as_json
from app.response.models import ResponseState, VerdictRow
from app.roster.lookup import IdList
from app.support.models import Support
from app.support.phase import support_event

LAST_WEEK: Final = 1_000_000
"""A week number that is higher than every week of a phase.

If a phase's last alert has this week, the phase can open no further alert.
"""


@needs(Can.JUDGE)
async def close_alerts(
    work: Work,
    support_ids: Collection[UUID],
    event: EventType,
    *,
    of_measures_outside: Collection[UUID] | None = None,
    passed: Mapping[UUID, Collection[UUID]] = {},
) -> int:
    """Closes the open alerts of these supports with the event `event`, and returns their number.

    An alert that was opened without an event, for example because of a backfill, is closed without an event too. After
    an alert is closed, the support gets another alert only in a new phase. Two arguments change this:

    * `of_measures_outside` has the measures that the support still has. Only alerts that were opened by verdicts on
      other measures are closed. The support can get another alert in the same phase.
    * `passed` is for supports of which some measures, but not all, have passed their goal date. It has these measures,
      keyed by support. The support can get another alert in the same phase, but not because of these measures.
    """
    is_open = and_(
        ResponseState.district_id == work.district_id,
        ResponseState.support_id == any_(cast(list(support_ids), IdList)),
        ResponseState.alert_id.is_not(None),
    )
    last_week = LAST_WEEK
    if of_measures_outside is not None:
        last_week = -1
        opened_by = exists().where(
            VerdictRow.district_id == work.district_id,
            VerdictRow.id == ResponseState.alert_id,
            VerdictRow.measure_id != all_(cast(list(of_measures_outside), IdList)),
        )
        is_open = and_(is_open, opened_by)
    query = (
        select(Support, ResponseState.verdict_id, ResponseState.alert_id, ResponseState.memory)
        .join(Support, and_(Support.district_id == work.district_id, Support.id == ResponseState.support_id))
        .where(is_open)
        .order_by(Support.id)
    )
    rows = (await work.db.execute(query)).all()
    if not rows:
        return 0
    for support, verdict_id, alert_id, memory in rows:
        if not from_json(memory, memory["phase"]).alert.quiet:
            record(work, support_event(event, support, {"verdict": verdict_id, "alert": alert_id}))
    closed: ColumnElement[Any] = _replace(ResponseState.memory, "alert", record_as_json(AlertRecord(week=last_week)))
    if passed:
        measures = {str(support_id): [str(each) for each in ids] for support_id, ids in passed.items()}
        expired = cast(literal(measures, JSONB), JSONB)[cast(ResponseState.support_id, Text)]
        closed = case(
            (
                ResponseState.support_id == any_(cast(list(passed), IdList)),
                func.jsonb_set(
                    _replace(ResponseState.memory, "alert", record_as_json(AlertRecord())), _path("expired"), expired
                ),
            ),
            else_=closed,
        )
    await work.db.execute(
        update(ResponseState)
        .where(is_open)
        .values(alert_id=None, memory=closed)
        .execution_options(synchronize_session=False)
    )
    return len(rows)


def _path(name: str) -> ColumnElement[Any]:
    path: ColumnElement[Any] = cast([name], ARRAY(Text))
    return path


def _replace(memory: ColumnElement[Any] | InstrumentedAttribute[Any], name: str, value: Any) -> ColumnElement[Any]:
    """Returns SQL for a copy of the JSON object `memory` in which the key `name` has the value `value`."""
    return func.jsonb_set(memory, _path(name), cast(literal(value, JSONB), JSONB))
