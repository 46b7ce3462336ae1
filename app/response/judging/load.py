"""Owns how series are read for judging: all of a district's or some, with their cohorts, by few statements.

Never judges. Runs as the district: a cohort holds classmates whom a caseload hides. Over 250 lines, so that the
statements that one judgement takes stand together.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import Row, Select, any_, cast, or_, select, tuple_

from app.access.permission import Can
from app.access.work import Work, needs
from app.evidence.models import Score
from app.playbook.models import Measure
from app.playbook.queries import ChosenRule, Rulebook
from app.response.judging.delivered import Delivered
from app.response.rules.series import Dosage
from app.roster.calendar import Weeks, counted, monday_of, weeks_between, weeks_of_schools
from app.roster.lookup import IdList
from app.roster.models import Person
from app.support.lookup import DosageWindow, dosages_of
from app.support.models import Phase, Support

Cohort = tuple[UUID, UUID, str | None]
Running = Row[Support, Phase, list[str]]
Scored = Row[UUID, UUID, date, float, str | None]
Calendars = dict[UUID, list[tuple[date, bool]]]
"""By school, its weeks in order: the Monday, and whether there was instruction."""


class Seen(NamedTuple):
    """One score of a series: the instructional week in which it was taken, its value, its form."""

    id: UUID
    taken_on: date
    week: int
    value: float
    form: str | None


@dataclass(frozen=True, slots=True)
class Followed:
    """A support's running phase with all that its rule needs."""

    support: Support
    phase: Phase
    measure: Measure
    grade: str | None
    scores: tuple[Seen, ...]
    weeks: Weeks
    chosen: ChosenRule
    dosage: Dosage | None = None

    @property
    def cohort(self) -> Cohort:
        """Who takes the same forms in the same weeks: one measure, school and grade. Who has no school, has nobody."""
        school = self.support.school_ids[0] if self.support.school_ids else self.support.id
        return self.measure.id, school, self.grade

    @property
    def goal_week(self) -> int:
        """A goal within the first instructional week counts as one week away."""
        return max(self.week_of(self.phase.goal_on), 1)

    @property
    def last_week(self) -> int:
        """The instructional week of the last score; 0 where there is none."""
        return self.scores[-1].week if self.scores else 0

    def week_of(self, day: date) -> int:
        """Instructional weeks since the phase began."""
        return weeks_between(self.weeks, self.phase.begins_on, day)

    def monday_of_week(self, week: int) -> date:
        """The first Monday of an instructional week of this phase."""
        monday = begins = monday_of(self.phase.begins_on)
        while self.week_of(monday) < week:
            monday += timedelta(weeks=1)
        return max(monday, begins)


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which active supports: by pairs of student and measure, by id, of a measure at a school; all without."""

    pairs: Collection[tuple[UUID, UUID]] | None = None
    support_ids: Collection[UUID] | None = None
    measure_id: UUID | None = None
    school_id: UUID | None = None
    lock: bool = True


@dataclass(frozen=True, slots=True)
class Loaded:
    """The wanted series, and their classmates' beside them: by support."""

    wanted: dict[UUID, Followed] = field(default_factory=dict)
    beside: dict[UUID, Followed] = field(default_factory=dict)


@needs(Can.JUDGE)
async def load(work: Work, wanted: Wanted, rules: Rulebook) -> Loaded:
    """Reads active supports, their running phases, scores, weeks and dosage: six statements, however many series."""
    query = _which(work, wanted)
    rows = (await work.db.execute(query.with_for_update(of=Support) if wanted.lock else query)).all()
    if not rows:
        return Loaded()
    beside = [] if wanted.pairs is None and wanted.support_ids is None else await _beside(work, rows)
    every = [*rows, *beside]
    found = Loaded()
    followed, calendars = await _followed(work, every, rules)
    for number, one in enumerate(followed):
        (found.wanted if number < len(rows) else found.beside)[one.support.id] = one
    await _add_dosage(work, found.wanted, calendars)
    return found


@needs(Can.JUDGE)
async def load_history(work: Work, since: date, rules: Rulebook) -> list[Followed]:
    """Every phase that began on a day or later, running or ended, as a series: what a calibration rests on."""
    query = _phases(work).where(Support.state != "planned", Phase.begins_on >= since)
    followed, _ = await _followed(work, (await work.db.execute(query)).all(), rules)
    return followed


async def _followed(work: Work, rows: Sequence[Running], rules: Rulebook) -> tuple[list[Followed], Calendars]:
    """The series, and the weeks of their schools in all that time."""
    if not rows:
        return [], {}
    measures = await _measures(work, {support.measure_id for support, _, _ in rows})
    scores = await _scores(work, [phase.id for _, phase, _ in rows])
    calendars = await _calendars(work, rows, scores)
    weeks = _weeks(rows, calendars)
    found = []
    known: dict[tuple[int, date, date], int] = {}
    for support, phase, grades in rows:
        measure, numbers = measures[support.measure_id], weeks[phase.id]
        followed = Followed(
            support=support,
            phase=phase,
            measure=measure,
            grade=grades[0] if grades else None,
            scores=tuple(_seen(scores.get(phase.id, ()), numbers, phase.begins_on, known)),
            weeks=numbers,
            chosen=rules.rule_for(measure.code, support.area_id, support.school_ids),
        )
        found.append(followed)
    return found, calendars


def _seen(
    rows: Sequence[Scored], weeks: Weeks, begins: date, known: dict[tuple[int, date, date], int]
) -> Iterator[Seen]:
    """Scores with their weeks. known: weeks that were counted already, by calendar, first day and day."""
    calendar = id(weeks)
    for _, score_id, taken_on, value, form in rows:
        if (asked := (calendar, begins, taken_on)) not in known:
            known[asked] = weeks_between(weeks, begins, taken_on)
        yield Seen(score_id, taken_on, known[asked], value, form)


async def _add_dosage(work: Work, wanted: dict[UUID, Followed], calendars: Calendars) -> None:
    """What was delivered up to each wanted series' last score."""
    asked = [one for one in wanted.values() if one.scores]
    windows = [DosageWindow(one.support, one.phase, one.phase.begins_on, one.scores[-1].taken_on) for one in asked]
    numbers: dict[tuple[int, date], dict[date, int]] = {}
    for one, dosage in zip(asked, await dosages_of(work, windows, calendars), strict=True):
        known = numbers.setdefault((id(one.weeks), one.phase.begins_on), {})
        for week in dosage.weeks:
            if week.monday not in known:
                known[week.monday] = one.week_of(week.monday)
        by_number = tuple((known[week.monday], week) for week in dosage.weeks)
        wanted[one.support.id] = replace(one, dosage=Delivered((), (), True, dosage, by_number))


def _running(work: Work) -> Select[Support, Phase, list[str]]:
    return _phases(work).where(Support.state == "active", Phase.ends_on.is_(None))


def _phases(work: Work) -> Select[Support, Phase, list[str]]:
    return (
        select(Support, Phase, Person.grades)
        .join(Phase, (Phase.district_id == Support.district_id) & (Phase.support_id == Support.id))
        .join(Person, (Person.district_id == Support.district_id) & (Person.id == Support.student_id))
        .where(
            Support.district_id == work.district_id,
            Phase.district_id == work.district_id,
            Person.district_id == work.district_id,
        )
        .order_by(Support.id)
    )


def _which(work: Work, wanted: Wanted) -> Select[Support, Phase, list[str]]:
    query = _running(work)
    if wanted.pairs is not None:
        query = query.where(tuple_(Support.student_id, Support.measure_id).in_(sorted(wanted.pairs)))
    if wanted.support_ids is not None:
        query = query.where(Support.id == any_(cast(list(wanted.support_ids), IdList)))
    if wanted.measure_id is not None:
        query = query.where(Support.measure_id == wanted.measure_id)
    if wanted.school_id is not None:
        query = query.where(Support.school_ids.contains([wanted.school_id]))
    return query


async def _beside(work: Work, rows: Sequence[Running]) -> list[Running]:
    """The classmates of these: the same measure, a common school and grade."""
    ids = {support.id for support, _, _ in rows}
    schools = {school for support, _, _ in rows for school in support.school_ids[:1]}
    grades = {grade for _, _, grades in rows for grade in grades[:1]}
    query = _running(work).where(
        Support.measure_id == any_(cast(list({support.measure_id for support, _, _ in rows}), IdList)),
        Support.school_ids.overlap(list(schools)),
        or_(Person.grades.overlap(list(grades)), Person.grades == []) if grades else Person.grades == [],
    )
    return [row for row in await work.db.execute(query) if row[0].id not in ids]


async def _measures(work: Work, ids: set[UUID]) -> dict[UUID, Measure]:
    rows = await work.db.scalars(
        select(Measure).where(Measure.district_id == work.district_id, Measure.id == any_(cast(list(ids), IdList)))
    )
    return {row.id: row for row in rows}


async def _scores(work: Work, phase_ids: list[UUID]) -> dict[UUID, list[Scored]]:
    """The scores of each phase, oldest first; baseline scores are not part of it, the day it ends on is the next's."""
    rows = await work.db.execute(
        select(Phase.id.label("phase_id"), Score.id, Score.taken_on, Score.value, Score.form)
        .join(Support, (Support.district_id == Phase.district_id) & (Support.id == Phase.support_id))
        .join(
            Score,
            (Score.district_id == Support.district_id)
            & (Score.student_id == Support.student_id)
            & (Score.measure_id == Support.measure_id),
        )
        .where(
            Phase.district_id == work.district_id,
            Support.district_id == work.district_id,
            Score.district_id == work.district_id,
            Phase.id == any_(cast(phase_ids, IdList)),
            Score.taken_on >= Phase.begins_on,
            or_(Phase.ends_on.is_(None), Score.taken_on < Phase.ends_on),
            Score.purpose != "baseline",
            Score.removed_at.is_(None),
        )
        .order_by(Phase.id, Score.taken_on, Score.attempt, Score.id)
    )
    found: dict[UUID, list[Scored]] = {}
    for row in rows:
        found.setdefault(row.phase_id, []).append(row)
    return found


async def _calendars(work: Work, rows: Sequence[Running], scores: Mapping[UUID, Sequence[Scored]]) -> Calendars:
    schools = {school for support, _, _ in rows for school in support.school_ids}
    begins = min(phase.begins_on for _, phase, _ in rows)
    until = max(phase.goal_on for _, phase, _ in rows)
    until = max([until, *(row.taken_on for some in scores.values() for row in some[-1:])])
    return await weeks_of_schools(work, schools, begins, until)


def _weeks(rows: Sequence[Running], known: Calendars) -> dict[UUID, Weeks]:
    """Week numbers for each phase: those of its first school that has any, counted from where its phase begins."""
    cached: dict[tuple[UUID, date], Weeks] = {}
    found: dict[UUID, Weeks] = {}
    for support, phase, _ in rows:
        school = next((one for one in support.school_ids if one in known), None)
        if school is None:
            found[phase.id] = {}
            continue
        monday = monday_of(phase.begins_on)
        if (school, monday) not in cached:
            cached[school, monday] = counted([one for one in known[school] if one[0] >= monday])
        found[phase.id] = cached[school, monday]
    return found
