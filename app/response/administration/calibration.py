"""Owns calibrations: what a district's own series say of a measure, kept by number, and read back. Never changed.

They are estimated from scores alone. A true false-alarm rate cannot be known there, and is not claimed.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from datetime import timedelta
from uuid import UUID

from sqlalchemy import func, select

from app.access.permission import Can
from app.access.work import Work, needs
from app.core.clock import now, today_in
from app.core.ids import new_id
from app.core.page import Keyset, Page
from app.response.judging import finalize
from app.response.judging.calibrated import calibrations as in_force
from app.response.judging.cohort import Placed, batch_of, on_one_calendar
from app.response.judging.load import load_history
from app.response.judging.series import Cohort, Line
from app.response.models import Calibration
from app.response.rules.calibrate.district import calibrate_batch
from app.response.rules.monitor.calibration import PUBLISHED
from app.response.rules.monitor.calibration import Calibration as Estimates
from app.roster.lookup import page_by_id, zone_of

REACHES_BACK = timedelta(days=365)
"""Phases that began longer ago were another year's forms and students."""


@needs(Can.OPERATE)
async def calibrate_district(work: Work) -> list[Calibration]:
    """Estimates each growth measure from the last year's series, over all grades and by grade, and keeps the result.

    Below the stated amount of data the published defaults hold, and the row says so. Series are judged again by the
    worker with what was found; that raises no alerts.
    """
    since = today_in(await zone_of(work)) - REACHES_BACK
    series = [one for one in await load_history(work, since) if _fit(one)]
    held = await in_force(work, {one.measure.id for one in series})
    number = await work.db.scalar(
        select(func.max(Calibration.number)).where(Calibration.district_id == work.district_id)
    )
    made = []
    for (measure_id, grade), some in sorted(
        _by_measure(series).items(), key=lambda one: (str(one[0][0]), one[0][1] or "")
    ):
        found = calibrate_batch(batch_of(*_placed(some)))
        made.append(_row(work, (number or 0) + 1, measure_id, grade, found))
    work.db.add_all(made)
    await work.db.flush()
    # Where too little is left of what was estimated, verdicts go back to the published defaults.
    if held or any(not row.published for row in made):
        await finalize.schedule_rules(work, quiet=True)
    return made


@needs(Can.READ_PLAYBOOK)
async def calibrations(work: Work, keyset: Keyset) -> Page[Calibration]:
    """A page of calibrations, in the order in which they were made."""
    page: Page[Calibration] = await page_by_id(
        work, keyset, select(Calibration).where(Calibration.district_id == work.district_id), Calibration.id
    )
    return page


def _fit(one: Line) -> bool:
    return one.measure.kind == "growth" and bool(one.measure.sem) and bool(one.scores) and one.last_week > 0


def _by_measure(series: Sequence[Line]) -> dict[tuple[UUID, str | None], list[Line]]:
    """By measure over all grades, and by grade where there is more than one."""
    found: dict[tuple[UUID, str | None], list[Line]] = defaultdict(list)
    for one in series:
        found[one.measure.id, None].append(one)
        if one.grade is not None:
            found[one.measure.id, one.grade].append(one)
    return found


def _placed(series: Sequence[Line]) -> tuple[list[Placed], list[int]]:
    """The series on their cohorts' calendars, and the numbers of their cohorts."""
    cohorts: dict[Cohort, list[Line]] = defaultdict(list)
    for one in series:
        cohorts[one.cohort].append(one)
    placed, numbers = [], []
    for number, cohort in enumerate(sorted(cohorts, key=str)):
        placed += on_one_calendar(cohorts[cohort])
        numbers += [number] * len(cohorts[cohort])
    return placed, numbers


def _row(work: Work, number: int, measure_id: UUID, grade: str | None, found: Estimates) -> Calibration:
    published = (found.prior, found.noise, found.thresholds) == (
        PUBLISHED.prior,
        PUBLISHED.noise,
        PUBLISHED.thresholds,
    )
    said = found.as_json()
    names = ("observed", "expected", "estimates", "series", "scores")
    return Calibration(
        district_id=work.district_id,
        id=new_id(),
        number=number,
        measure_id=measure_id,
        grade=grade,
        made_at=now(),
        series=found.series,
        scores=found.scores,
        published=published,
        estimates=said,
        report={name: said[name] for name in names},
    )
