"""Loads the series of a district or of some supports for judging, with their cohorts. Judges nothing.

Students whom the caller may not see are read too, because they belong to the cohorts. The number of statements does not
depend on the number of series.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from typing import Any, Final, ParamSpec, TypeVar
from uuid import UUID

from sqlalchemy import ColumnElement, Select, Uuid, and_, any_, cast, func, literal, literal_column, or_, select

from app.access.permission import Can
from app.access.work import Work, needs
from app.core.clock import monday_of
from app.core.errors import NotFound
from app.playbook.measures.in_process import measures_in_process, rulebook_in_force
from app.playbook.models import Measure
from app.playbook.queries import Rulebook
from app.response.judging.cohort import Calibrated, Key
from app.response.judging.points import combine_by_day
from app.response.judging.series import Cohort, MonitoredSeries, Scores, ScoreSeries, WeeklyDelivery
from app.response.judging.state import CurrentState, CurrentVerdict, current_state
from app.response.judging.statement import (
    ACTIVE,
    BY_IDS,
    BY_PAIRS,
    FOLLOWED,
    FURTHER,
    FURTHER_BY_PAIRS,
    OF_PAIR,
    PhaseRole,
    PhaseRow,
    StoredVerdict,
    series_statement,
)
from app.response.rules.monitor.calibration import Calibration
from app.roster.calendar import Weeks, counted, weeks_between
from app.roster.lookup import IdList
from app.roster.student_lock import lock_students
from app.support.dosage import DeliveredSessions
from app.support.lookup import DosageWindow, compute_dosages
from app.support.models import Phase, Support

P = ParamSpec("P")
R = TypeVar("R")
MANY: Final = 40
"""The number of series from which on a thread loads and judges them. One series takes up to a millisecond."""
SCORES_OF_SERIES: Final = 200
"""This many scores take about as long as a series. A series usually has fewer, but a client may record any number."""
Calendars = dict[UUID, list[tuple[date, bool]]]
"""The weeks of each school, in order and keyed by school: each week's Monday, and whether it had instruction."""

NOWHERE = UUID(int=0)
"""The id that means "no school" where supports are grouped by school."""


def first_school() -> ColumnElement[UUID]:
    """Returns SQL for the first school of a support's student, or `NOWHERE` if the student has no school."""
    return func.coalesce(Support.school_ids[1], literal(NOWHERE, Uuid))


def has_measure(measure_ids: Collection[UUID]) -> ColumnElement[bool]:
    """Returns the condition that one of these measures is the first or an additional measure of a support."""
    ids = cast(list(set(measure_ids)), IdList)
    is_further = and_(func.cardinality(Support.more_measures) > literal_column("0"), Support.more_measures.overlap(ids))
    return or_(Support.measure_id == any_(ids), is_further)


@dataclass(frozen=True, slots=True)
class SeriesSelection:
    """The conditions that select the active supports to load.

    Without any condition, all active supports are loaded. The conditions are pairs of student and measure, ids, a
    measure, and the first school of the student. With `lock`, the students of the supports are locked.
    """

    pairs: Collection[tuple[UUID, UUID]] | None = None
    support_ids: Collection[UUID] | None = None
    measure_id: UUID | None = None
    school_id: UUID | None = None
    lock: bool = True


@dataclass(frozen=True, slots=True)
class LoadedSeries:
    """The series to be judged, and the other series of their cohorts.

    * `requested` has the series to be judged, keyed by `ScoreSeries.series_id`.
    * `classmates` are series of classmates whose phases have not ended, keyed in the same way.
    * `ended` are phases of the same cohorts that have ended.
    * `current` has the current verdict of each requested series that was judged before, keyed by `series_id`. `states`
      has the state of each support that was judged before, keyed by the support's id.
    * `calibrated` has the newest calibrations. If a district has too little data for a calibration, the published
      defaults apply.

    The scores of classmates and of ended phases show how difficult the forms (versions of a test) were.
    """

    requested: dict[UUID, MonitoredSeries] = field(default_factory=dict)
    classmates: dict[UUID, ScoreSeries] = field(default_factory=dict)
    ended: list[ScoreSeries] = field(default_factory=list)
    current: dict[UUID, CurrentVerdict] = field(default_factory=dict)
    states: dict[UUID, CurrentState] = field(default_factory=dict)
    calibrated: dict[Key, Calibrated] = field(default_factory=dict)
    size: int = 0
    """The number of loaded series, where a long series counts as several."""

    @property
    def running(self) -> list[ScoreSeries]:
        """Returns all running series: the requested ones, and those of their classmates."""
        return [*(monitored.score_series for monitored in self.requested.values()), *self.classmates.values()]

    def others(self, series_ids: Collection[UUID]) -> list[ScoreSeries]:
        """Returns all loaded series except the running series with these ids."""
        return [*(series for series in self.running if series.series_id not in series_ids), *self.ended]


@needs(Can.JUDGE)
async def load(work: Work, selection: SeriesSelection) -> LoadedSeries:
    """Loads the selected active supports with their running phases, scores, weeks, dosage and current verdicts.

    Executes one statement for any number of series. A second statement locks the students who are not locked yet.
    """
    if selection.lock:
        await _lock_students(work, selection)
    statement, values = _statement_of(work, selection)
    rows = await _rows_of(await work.run(statement, (work.district_id, *values)))
    if not rows:
        return LoadedSeries()
    version_id = rows[0].playbook_version_id
    if version_id is None:
        raise NotFound("playbook")
    rules = await rulebook_in_force(work, version_id, {row.area_id for row in rows})
    measures = await measures_in_process(work, rows[0].measures)
    return await compute(_size_of(rows), _assemble, work.district_id, rows, rules, measures)


async def compute(size: int, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """Calls `function`, which must be pure, and returns its result.

    If `size`, a number of series, is large, it runs in a thread, so that the event loop continues with other requests.
    """
    if size < MANY:
        return function(*args, **kwargs)
    return await asyncio.to_thread(function, *args, **kwargs)


async def _rows_of(records: Sequence[Sequence[Any]]) -> list[PhaseRow]:
    return await compute(len(records), lambda: [PhaseRow.of(record) for record in records])


def _size_of(rows: Sequence[PhaseRow]) -> int:
    """Returns the number of series, where a long series counts as several."""
    scores = sum(len(row.score_ids or ()) + len(row.baseline_ids or ()) for row in rows)
    return len(rows) + scores // SCORES_OF_SERIES


def _assemble(
    district_id: UUID, rows: Sequence[PhaseRow], rules: Rulebook, measures: Mapping[UUID, Measure]
) -> LoadedSeries:
    """Builds the loaded series from rows of phases. Pure."""
    series, calendars = _build_series(rows, measures)
    loaded = LoadedSeries(calibrated=_calibrations_of(rows[0]), size=_size_of(rows))
    for row, score_series in zip(rows, series, strict=True):
        if row.role == PhaseRole.CLASSMATE:
            loaded.classmates[row.series_id] = score_series
        elif row.role == PhaseRole.ENDED:
            loaded.ended.append(score_series)
        else:
            support, phase = _models_of(district_id, row)
            chosen = rules.rule_for(score_series.measure.code, row.area_id, row.school_ids)
            loaded.requested[row.series_id] = MonitoredSeries(
                score_series,
                support,
                phase,
                chosen,
                measures=1 + len(row.more_measures),
                offset=_weeks_into_phase(row, calendars),
            )
            if row.verdict_id is not None:
                state = loaded.states.setdefault(row.support_id, current_state(row, row.verdict_id))
                if row.verdict is not None:
                    loaded.current[row.series_id] = CurrentVerdict(StoredVerdict(*row.verdict), state)
    _add_dosage(loaded.requested, {row.series_id: row for row in rows if row.role == PhaseRole.REQUESTED}, calendars)
    return loaded


@needs(Can.JUDGE)
async def load_history(work: Work, since: date) -> list[ScoreSeries]:
    """Returns the series of all running and ended phases that began on the day `since` or later.

    The calibration uses these series.
    """
    started = "s.district_id = $1 AND s.measure_id IS NOT NULL AND s.state <> 'planned'"
    statement = series_statement("support AS s", started, phases="p.begins_on >= $2", cohorts=False)
    rows = await _rows_of(await work.run(statement, (work.district_id, since)))
    if not rows:
        return []
    measures = await measures_in_process(work, rows[0].measures)
    series, _ = await compute(_size_of(rows), _build_series, rows, measures)
    return series


def _statement_of(work: Work, selection: SeriesSelection) -> tuple[str, list[Any]]:
    """Returns the statement that reads the selected series, and the statement's parameters from the second one on.

    The first parameter is the district's id. If `selection.lock` is set, the statement reads only students that the
    transaction has locked before. A student who was added to the roster after the locks were taken is left out; the
    sync that added the student judges the student's series.
    """
    if selection.pairs is not None:
        pairs = sorted(pair for pair in set(selection.pairs) if not selection.lock or pair[0] in work.locked_students)
        values: list[Any] = [[student for student, _ in pairs], [measure for _, measure in pairs]]
        statement = series_statement(
            BY_PAIRS, "true", further_supports=FURTHER_BY_PAIRS, further_condition="true", goals=OF_PAIR
        )
        return statement, values
    supports, conditions, values = "support AS s", [ACTIVE], []
    further, goals = [ACTIVE, FURTHER], FOLLOWED
    if selection.support_ids is not None:
        supports, values = BY_IDS, [sorted(set(selection.support_ids))]
    for condition, value in (
        ("s.measure_id = ${}::uuid", selection.measure_id),
        (f"coalesce(s.school_ids[1], '{NOWHERE}'::uuid) = ${{}}::uuid", selection.school_id),
        ("s.student_id = ANY (${}::uuid[])", list(work.locked_students) if selection.lock else None),
    ):
        if value is not None:
            values.append(value)
            conditions.append(condition.format(len(values) + 1))
            if value is selection.measure_id:
                goals = f"g.measure_id = ${len(values) + 1}::uuid"
                further.append(f"${len(values) + 1}::uuid = ANY (s.more_measures)")
            else:
                further.append(conditions[-1])
    further_condition = " AND ".join(further)
    return series_statement(
        supports, " AND ".join(conditions), further_condition=further_condition, goals=goals
    ), values


async def _lock_students(work: Work, selection: SeriesSelection) -> None:
    """Locks the students of the selected supports, except those that this transaction has already locked."""
    students = {student_id for student_id, _ in selection.pairs or ()}
    if selection.pairs is None:
        query = select(Support.student_id).where(Support.district_id == work.district_id, Support.state == "active")
        students = set(await work.db.scalars(_restrict(selection, query)))
    await lock_students(work, students - work.locked_students)


def _restrict(selection: SeriesSelection, query: Select[Any]) -> Select[Any]:
    if selection.support_ids is not None:
        query = query.where(Support.id == any_(cast(list(set(selection.support_ids)), IdList)))
    if selection.measure_id is not None:
        query = query.where(has_measure([selection.measure_id]))
    if selection.school_id is not None:
        query = query.where(first_school() == selection.school_id)
    return query


def _build_series(rows: Sequence[PhaseRow], measures: Mapping[UUID, Measure]) -> tuple[list[ScoreSeries], Calendars]:
    """Returns the series of these phases, and the calendars of the schools.

    The series that are to be judged have no scores after their goal date. The series of classmates keep such scores,
    because these scores still show how difficult a form (a version of the test) was.
    """
    calendars = _calendars_of(rows[0])
    built = []
    counted_weeks: dict[tuple[UUID, date], Weeks] = {}
    numbers_by_calendar: dict[tuple[int, date], dict[date, int]] = {}
    cohorts: dict[Cohort, Cohort] = {}
    for row in rows:
        weeks = _weeks_of(row, calendars, counted_weeks)
        ids, days, values, forms, same_day = combine_by_day(row.scores)
        # Week numbers that were counted for the same calendar and first day are reused.
        numbers = numbers_by_calendar.setdefault((id(weeks), row.begins_on), {})
        for day in {row.goal_on, *days}.difference(numbers):
            numbers[day] = weeks_between(weeks, row.begins_on, day)
        taken = Scores(ids, days, tuple(numbers[day] for day in days), values, forms, same_day)
        series = ScoreSeries(
            series_id=row.series_id,
            number=row.number,
            begins_on=row.begins_on,
            baseline=row.baseline,
            goal=row.goal,
            goal_week=max(numbers[row.goal_on], 1),
            measure=measures[row.measure_id],
            cohort=cohorts.setdefault(cohort := row.cohort, cohort),
            scores=taken.until(row.goal_on) if row.role == PhaseRole.REQUESTED else taken,
            weeks=weeks,
            before=combine_by_day(row.baseline_scores).values,
            goal_on=row.goal_on,
        )
        built.append(series)
    return built, calendars


def _add_dosage(requested: dict[UUID, MonitoredSeries], rows: Mapping[UUID, PhaseRow], calendars: Calendars) -> None:
    """Adds to each requested series the dosage up to its last score."""
    scored = [
        (monitored, last_on)
        for monitored in requested.values()
        if (last_on := monitored.score_series.last_on) is not None
    ]
    windows = [
        DosageWindow(monitored.support, monitored.phase, monitored.score_series.begins_on, last_on)
        for monitored, last_on in scored
    ]
    delivered = [
        [DeliveredSessions(*sums) for sums in rows[monitored.score_series.series_id].delivered]
        for monitored, _ in scored
    ]
    numbers: dict[tuple[int, date], dict[date, int]] = {}
    for (monitored, _), dosage in zip(scored, compute_dosages(windows, delivered, calendars), strict=True):
        score_series = monitored.score_series
        week_numbers = numbers.setdefault((id(score_series.weeks), score_series.begins_on), {})
        for week in dosage.weeks:
            if week.monday not in week_numbers:
                week_numbers[week.monday] = score_series.week_of(week.monday)
        by_number = tuple((week_numbers[week.monday], week) for week in dosage.weeks)
        requested[score_series.series_id] = replace(monitored, dosage=WeeklyDelivery((), (), True, dosage, by_number))


def _models_of(district_id: UUID, row: PhaseRow) -> tuple[Support, Phase]:
    """Returns the support and the phase of a row, with the columns that judging needs.

    The objects belong to no database session.
    """
    about = {"district_id": district_id, "student_id": row.student_id, "school_ids": row.school_ids}
    about |= {"secured_area": row.secured_area}
    support = Support(
        **about,
        id=row.support_id,
        area_id=row.area_id,
        measure_id=row.first_measure_id,
        more_measures=row.more_measures,
        version=row.version,
        suspended_on=row.suspended_on,
        resumed_on=row.resumed_on,
    )
    phase = Phase(
        **about,
        id=row.phase_id,
        support_id=row.support_id,
        number=row.number,
        begins_on=row.phase_begins_on,
        ends_on=row.ends_on,
        goal_on=row.goal_on,
        minutes_per_session=row.minutes_per_session,
        sessions_per_week=row.sessions_per_week,
    )
    return support, phase


def _weeks_into_phase(row: PhaseRow, calendars: Calendars) -> int:
    """Returns how many instructional weeks lie between the beginning of a phase and the beginning of the row's series.

    It is 0 unless an additional measure was added to the support during the phase.
    """
    if row.begins_on == row.phase_begins_on:
        return 0
    return weeks_between(
        _weeks_of(row._replace(begins_on=row.phase_begins_on), calendars, {}), row.phase_begins_on, row.begins_on
    )


def _calibrations_of(row: PhaseRow) -> dict[Key, Calibrated]:
    """Returns the newest calibrations, keyed by measure and grade."""
    return {
        (measure_id, grade): Calibrated(calibration_id, Calibration.from_json(estimates))
        for measure_id, grade, calibration_id, estimates in row.calibrations
    }


def _calendars_of(row: PhaseRow) -> Calendars:
    calendars: Calendars = {}
    for school_id, monday, instructional in zip(
        row.week_schools or (), row.week_mondays or (), row.week_instructional or (), strict=True
    ):
        calendars.setdefault(school_id, []).append((monday, instructional))
    return calendars


def _weeks_of(row: PhaseRow, calendars: Calendars, counted_weeks: dict[tuple[UUID, date], Weeks]) -> Weeks:
    """Returns the number of each week of a phase, counted from the start of the phase.

    Uses the calendar of the first of the student's schools that has one. If no school has one, the result is empty.
    """
    school = next((school_id for school_id in row.school_ids if school_id in calendars), None)
    if school is None:
        return {}
    monday = monday_of(row.begins_on)
    if (school, monday) not in counted_weeks:
        counted_weeks[school, monday] = counted([week for week in calendars[school] if week[0] >= monday])
    return counted_weeks[school, monday]
