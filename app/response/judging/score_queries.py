"""Reads the scores of phases and the scores of their baselines with one statement. Judges nothing."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, timedelta
from functools import cache
from typing import Any, Protocol
from uuid import UUID

from sqlalchemy import ARRAY, Date, Select, Uuid, bindparam, cast, func, or_, select, true
from sqlalchemy.dialects.postgresql import aggregate_order_by

from app.access.permission import Can
from app.access.work import Work, needs
from app.core.db import lateral_lookup
from app.evidence.models import Score
from app.response.judging.points import ScoreColumns, combine_by_day
from app.roster.lookup import IdList

BASELINE_WINDOW = timedelta(weeks=12)
"""The time before a support in which scores count as points of its baseline. These points may show a trend."""

DISTRICT = bindparam("district", type_=Uuid())
DAYS: ARRAY[date] = ARRAY(Date)
PHASE_ARRAYS = {"phase_id": IdList, "student_id": IdList, "measure_id": IdList, "begins_on": DAYS, "ends_on": DAYS}
SCORE_ARRAYS = {**PHASE_ARRAYS, "baseline_since": DAYS}
"""The SQL types of the array parameters of the statement that reads scores, keyed by name.

Each array has one item per phase. `baseline_since` is null for a phase whose baseline points are not needed.
"""


class PhaseKeys(Protocol):
    """The properties of a phase that are needed to select its scores."""

    @property
    def phase_id(self) -> UUID: ...
    @property
    def student_id(self) -> UUID: ...
    @property
    def measure_id(self) -> UUID: ...
    @property
    def number(self) -> int: ...
    @property
    def begins_on(self) -> date: ...
    @property
    def ends_on(self) -> date | None: ...


@needs(Can.JUDGE)
async def load_scores(
    work: Work, plans: Sequence[PhaseKeys], requested: int
) -> tuple[dict[UUID, ScoreColumns], dict[UUID, tuple[float, ...]]]:
    """Returns the progress scores of each phase, oldest first, and its baseline points, both keyed by phase.

    Baseline points are returned only if the phase is one of the first `requested` ones and the first phase of its
    support. Screening scores, and scores of the day on which a phase ends, are left out.
    """
    arrays: dict[str, list[Any]] = {name: [getattr(plan, name) for plan in plans] for name in PHASE_ARRAYS}
    arrays["baseline_since"] = [
        plan.begins_on - BASELINE_WINDOW if position < requested and plan.number == 1 else None
        for position, plan in enumerate(plans)
    ]
    rows = (await work.db.execute(_select_scores(), {"district": work.district_id, **arrays})).all()
    scores = {row[0]: (tuple(row[1]), tuple(row[2]), tuple(row[3]), tuple(row[4])) for row in rows if row[1]}
    baselines = {
        row[0]: combine_by_day((tuple(row[5]), tuple(row[6]), tuple(row[7]), ("",) * len(row[5]))).values
        for row in rows
        if row[5]
    }
    return scores, baselines


@cache
def _select_scores() -> Select[Any]:
    arrays = [cast(bindparam(name), array_type) for name, array_type in SCORE_ARRAYS.items()]
    requested = func.unnest(*arrays).table_valued(*SCORE_ARRAYS, name="requested").render_derived()
    order = (Score.taken_on, Score.attempt, Score.id)
    columns = {"ids": Score.id, "days": Score.taken_on, "numbers": Score.value, "forms": func.coalesce(Score.form, "")}
    aggregates = [func.array_agg(aggregate_order_by(column, *order)).label(name) for name, column in columns.items()]
    of_measure = (
        Score.district_id == DISTRICT,
        Score.student_id == requested.c.student_id,
        Score.measure_id == requested.c.measure_id,
        Score.removed_at.is_(None),
    )
    series = lateral_lookup(
        select(*aggregates).where(
            *of_measure,
            Score.taken_on >= requested.c.begins_on,
            or_(requested.c.ends_on.is_(None), Score.taken_on < requested.c.ends_on),
            Score.purpose == "progress",
        ),
        "series",
    )
    baseline = lateral_lookup(
        select(*aggregates[:3]).where(
            *of_measure,
            Score.taken_on >= requested.c.baseline_since,
            Score.taken_on <= requested.c.begins_on,
            or_(Score.taken_on < requested.c.begins_on, Score.purpose == "baseline"),
            Score.purpose != "screening",
        ),
        "baseline",
    )
    selected = select(requested.c.phase_id, *series.c, *baseline.c)
    return selected.select_from(requested).join(series, true()).join(baseline, true())
