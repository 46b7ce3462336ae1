"""Changes the states of runs in the database, by the transitions that `app.sis.rules` allows. Creates no runs."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Row, func, update

from app.access.permission import Can
from app.access.work import Work, needs
from app.core.ids import new_id
from app.sis.models import SisNotice, SisRun
from app.sis.rules import NoticeState, RunState, require_transition

NOTIFIED = (RunState.HELD, RunState.FAILED, RunState.FAILED_TO_APPLY)
"""The states about which people are notified."""


@needs(Can.READ_SYNC)
async def change_states(
    work: Work,
    following: RunState,
    where: Sequence[ColumnElement[bool]],
    values: Mapping[str, Any],
    *,
    of: Collection[RunState] = (RunState.RUNNING,),
) -> Sequence[Row[UUID, UUID, bool]]:
    """Changes the district's runs that match `where` to the state `following`. Only runs in a state in `of` change.

    `values` are other columns to set. If people must be notified of the new state, the notices are created too. Returns
    the id, the source and the flag `dry` of each changed run. Raises `IllegalTransition` if `following` is not allowed
    after one of the states in `of`, even if no run matches.
    """
    require_transition(of, following)
    changed = await work.db.execute(
        update(SisRun)
        .where(SisRun.district_id == work.district_id, SisRun.state.in_(of), *where)
        .values({"state": following, **values})
        .returning(SisRun.id, SisRun.source_id, SisRun.dry)
    )
    rows = changed.all()
    if following in NOTIFIED:
        for row in rows:
            if not row.dry:
                await add_notices(work, following, row.source_id, row.id)
    return rows


@needs(Can.READ_SYNC)
async def add_notices(work: Work, kind: str, source_id: UUID, run_id: UUID | None) -> None:
    """Creates notices that tell people about a run, or about its source if `run_id` is None. A worker will send them.

    `kind` says what happened, such as `held`.
    """
    for channel in ("email", "chat"):
        work.db.add(
            SisNotice(
                district_id=work.district_id,
                id=new_id(),
                source_id=source_id,
                run_id=run_id,
                kind=str(kind),
                channel=channel,
                state=NoticeState.PENDING,
                due=func.now(),
            )
        )
