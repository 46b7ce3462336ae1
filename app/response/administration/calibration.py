"""Makes and reads calibrations. A calibration has estimates for one measure, made from a district's own series.

The estimates say how noisy the scores are, how much the forms (the versions of a test) differ in difficulty, and how
fast students grow. Calibrations are numbered and never changed. They are estimated from scores alone. A district's true
false-alarm rate cannot be known from scores, so none is stated.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from datetime import timedelta
from uuid import UUID

from sqlalchemy import func, select

from app.access.permission import Can
from app.access.work import Work, needs
from app.core.clock import now
from app.core.ids import new_id
from app.core.page import Keyset, Page
from app.response.judging import finalize
from app.response.judging.calibrated import calibrations as in_force
from app.response.judging.cohort import Placed, batch_of, on_one_calendar
from app.response.judging.load import load_history
from app.response.judging.series import Cohort, ScoreSeries
from app.response.models import CalibrationRow
from app.response.rules.calibrate.district import calibrate_batch
from app.response.rules.monitor.calibration import PUBLISHED, Calibration
from app.roster.lookup import page_by_id, today_of

REACHES_BACK = timedelta(days=365)
"""Phases that began longer ago than this are left out, because today's forms and students are different."""


@needs(Can.OPERATE)
async def calibrate_district(work: Work) -> list[CalibrationRow]:
    """Makes calibrations of each growth measure, over all grades and by grade. Saves and returns them.

    A calibration is estimated from the series of the last year. If there is too little data, the published defaults
    apply, and the saved row states this. A worker then judges the series again with the new estimates, without raising
    alerts.
    """
    since = await today_of(work) - REACHES_BACK
    series = [score_series for score_series in await load_history(work, since) if _can_calibrate(score_series)]
    previous = await in_force(work, {score_series.measure.id for score_series in series})
    number = await work.db.scalar(
        select(func.max(CalibrationRow.number)).where(CalibrationRow.district_id == work.district_id)
    )
    rows = []
    for (measure_id, grade), series_of_key in sorted(
        _by_measure(series).items(), key=lambda item: (str(item[0][0]), item[0][1] or "")
    ):
        estimates = calibrate_batch(batch_of(*_place_on_calendars(series_of_key)))
        rows.append(_row(work, (number or 0) + 1, measure_id, grade, estimates))
    work.db.add_all(rows)
    await work.db.flush()
    # A measure that now has too little data returns to the published defaults.
    if previous or any(not row.published for row in rows):
        await finalize.schedule_rules(work, quiet=True)
    return rows


@needs(Can.READ_PLAYBOOK)
async def calibrations(work: Work, keyset: Keyset) -> Page[CalibrationRow]:
    """Returns a page of calibrations, in the order in which they were made."""
    page: Page[CalibrationRow] = await page_by_id(
        work, keyset, select(CalibrationRow).where(CalibrationRow.district_id == work.district_id), CalibrationRow.id
    )
    return page


def _can_calibrate(score_series: ScoreSeries) -> bool:
    return (
        score_series.measure.kind == "growth"
        and bool(score_series.sem)
        and bool(score_series.scores)
        and score_series.last_week > 0
    )


def _by_measure(series: Sequence[ScoreSeries]) -> dict[tuple[UUID, str | None], list[ScoreSeries]]:
    """Groups the series, and returns the groups keyed by measure and grade.

    The group with the grade None has the series of all grades, including the series of unknown grade.
    """
    by_measure: dict[tuple[UUID, str | None], list[ScoreSeries]] = defaultdict(list)
    for score_series in series:
        by_measure[score_series.measure.id, None].append(score_series)
        if score_series.grade is not None:
            by_measure[score_series.measure.id, score_series.grade].append(score_series)
    return by_measure


def _place_on_calendars(series: Sequence[ScoreSeries]) -> tuple[list[Placed], list[int]]:
    """Returns the series, grouped by cohort, and for each of them the index of its cohort.

    Each cohort has a calendar of its own, on which `on_one_calendar` places its series.
    """
    cohorts: dict[Cohort, list[ScoreSeries]] = defaultdict(list)
    for score_series in series:
        cohorts[score_series.cohort].append(score_series)
    placed, numbers = [], []
    for number, cohort in enumerate(sorted(cohorts, key=str)):
        placed += on_one_calendar(cohorts[cohort])
        numbers += [number] * len(cohorts[cohort])
    return placed, numbers


def _row(work: Work, number: int, measure_id: UUID, grade: str | None, estimates: Calibration) -> CalibrationRow:
    published = (estimates.prior, estimates.noise, estimates.thresholds) == (
        PUBLISHED.prior,
        PUBLISHED.noise,
        PUBLISHED.thresholds,
    )
    as_json = estimates.as_json()
    reported = ("observed", "expected", "estimates", "series", "scores")
    return CalibrationRow(
        district_id=work.district_id,
        id=new_id(),
        number=number,
        measure_id=measure_id,
        grade=grade,
        made_at=now(),
        series=estimates.series,
        scores=estimates.scores,
        published=published,
        estimates=as_json,
        report={name: as_json[name] for name in reported},
    )
