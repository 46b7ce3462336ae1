"""Changes the state of runs in the database, with the transitions that `app.sis.rules` allows. Never creates a run."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Row, update

from app.access.permission import Can
from app.access.work import Work, needs
from app.sis.models import SisRun
from app.sis.rules import RunState, require_transition


@needs(Can.READ_SYNC)
async def change_states(
    work: Work,
    following: RunState,
    where: Sequence[ColumnElement[bool]],
    values: Mapping[str, Any],
    *,
    of: Collection[RunState] = (RunState.RUNNING,),
) -> Sequence[Row[UUID, UUID, bool]]:
    """Sets the state of those of the district's runs that are in one of the states `of` and match `where`.

    `following` is the new state, and `values` are other columns to set. Returns the id, the source and `dry` of each
    changed run. Raises `IllegalTransition` if the new state may not follow each state in `of`, even if no run matches.
    """
    require_transition(of, following)
    changed = await work.db.execute(
        update(SisRun)
        .where(SisRun.district_id == work.district_id, SisRun.state.in_(of), *where)
        .values({"state": following, **values})
        .returning(SisRun.id, SisRun.source_id, SisRun.dry)
    )
    return changed.all()
