"""Reads the calibration that applies to a measure and grade. Computes no estimates."""

from __future__ import annotations

from collections.abc import Collection
from uuid import UUID

from sqlalchemy import any_, cast, select

from app.access.permission import Can
from app.access.work import Work, needs
from app.response.judging.cohort import Calibrated
from app.response.models import CalibrationRow
from app.response.rules.monitor.calibration import Calibration
from app.roster.lookup import IdList


@needs(Can.JUDGE)
async def calibrations(work: Work, measure_ids: Collection[UUID]) -> dict[tuple[UUID, str | None], Calibrated]:
    """Returns the newest calibrations, keyed by measure and grade.

    If a district has too little data, it has no calibration, and the published defaults apply.
    """
    rows = await work.db.scalars(
        select(CalibrationRow)
        .where(
            CalibrationRow.district_id == work.district_id,
            CalibrationRow.measure_id == any_(cast(list(measure_ids), IdList)),
        )
        .order_by(CalibrationRow.number)
    )
    newest = {(row.measure_id, row.grade): row for row in rows}
    return {
        key: Calibrated(row.id, Calibration.from_json(row.estimates))
        for key, row in newest.items()
        if not row.published
    }
