"""Owns the writes of scores. A score belongs to student, measure and administration, never to a support.

It is upserted by the sender's external id, else by student, measure, date and attempt; one bad score of many
is refused alone and named, the others are taken. Of two that say different things of one score neither is taken.
"""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from datetime import date
from uuid import UUID

from sqlalchemy import any_, cast, select

from app.access.permission import Can
from app.access.work import Work, needs
from app.core.clock import now, today_in
from app.core.errors import AimlineError, Invalid, Violation
from app.core.ids import new_id
from app.evidence.amend import change_of
from app.evidence.models import Score
from app.evidence.rules import MOST_AT_ONCE, Range, find_contradictions, unknown_form, violations_of
from app.playbook.lookup import area_by_id, locate_measure, secured_code
from app.playbook.models import Measure
from app.roster.lookup import IdList, locate_staff_by_name, zone_of
from app.roster.models import Person
from app.roster.student_lock import lock_students_by_name


@dataclass(frozen=True, slots=True)
class NewScore:
    """A score as a sender gives it; names are ids or external ids, `measure` a code or an id."""

    student: str
    measure: str
    taken_on: date
    value: float
    attempt: int = 1
    purpose: str = "progress"
    form: str | None = None
    given_by: str | None = None
    external_id: str | None = None


@dataclass(frozen=True, slots=True)
class RecordedScore:
    """What became of one score: `recorded`, `amended`, `unchanged`, or `refused` with the reasons.

    `was_on`: the day that an amended score had before.
    """

    outcome: str
    score: Score | None = None
    violations: tuple[Violation, ...] = ()
    was_on: date | None = None


class _Known:
    """What a batch needs to know, read at once: the people, the measures, and the scores that are there already."""

    def __init__(self, today: date, sender: UUID | None) -> None:
        self.today = today
        self.sender = sender
        self.students: dict[str, Person] = {}
        self.staff: dict[str, Person] = {}
        self.measures: dict[str, tuple[Measure, str | None] | AimlineError] = {}
        self.by_key: dict[tuple[UUID, UUID, date, int], Score] = {}
        self.by_name: dict[str, Score] = {}

    def forget(self, score: Score) -> None:
        self.by_key.pop((score.student_id, score.measure_id, score.taken_on, score.attempt), None)

    def keep(self, score: Score) -> None:
        self.by_key[score.student_id, score.measure_id, score.taken_on, score.attempt] = score
        if score.external_id is not None:
            self.by_name[score.external_id] = score


@needs(Can.RECORD_SCORES)
async def record_scores(work: Work, new: Sequence[NewScore], *, at: str = "/scores") -> list[RecordedScore]:
    """Takes up to 500 scores, each by itself; the result has one entry for each, in order."""
    if not 1 <= len(new) <= MOST_AT_ONCE:
        raise Invalid([Violation(at, "scores.count", f"Send 1 to {MOST_AT_ONCE} scores at once.")])
    known = await _read(work, new)
    others = find_contradictions([_identity(score, known) for score in new])
    taken = []
    for position, score in enumerate(new):
        pointer = f"{at}/{position}" if at else ""
        other = f"{at}/{others[position]}" if position in others else None
        try:
            taken.append(_take(work, score, known, pointer, other))
        except Invalid as error:
            taken.append(RecordedScore("refused", violations=error.violations))
        except AimlineError as error:
            taken.append(RecordedScore("refused", violations=(Violation(pointer, error.code, error.detail),)))
    await work.db.flush()
    return taken


async def _read(work: Work, new: Sequence[NewScore]) -> _Known:
    known = _Known(today_in(await zone_of(work)), work.principal.client_id)
    known.students = await lock_students_by_name(work, (score.student for score in new))
    given_by = [score.given_by for score in new if score.given_by is not None]
    known.staff = await locate_staff_by_name(work, given_by) if given_by else {}
    for name in {score.measure for score in new}:
        try:
            measure = await locate_measure(work, name, "/measure")
            known.measures[name] = (measure, await secured_code(work, await area_by_id(work, measure.area_id)))
        except AimlineError as error:
            known.measures[name] = error
    students = [person.id for person in known.students.values()]
    there = select(Score).where(Score.district_id == work.district_id)
    same_days = there.where(
        Score.student_id == any_(cast(students, IdList)), Score.taken_on.in_({score.taken_on for score in new})
    )
    # Read under the students' locks: nobody else writes these scores. What another student's score is called by is
    # only refused, so it needs none.
    for score in await work.db.scalars(same_days.execution_options(populate_existing=True)):
        known.keep(score)
    names = {score.external_id for score in new if score.external_id is not None}
    if names:
        same_names = there.where(Score.sender == work.principal.client_id, Score.external_id.in_(names))
        for score in await work.db.scalars(same_names.execution_options(populate_existing=True)):
            known.keep(score)
    # A name is its sender's own: another sender's, met on the same day, is no name here.
    known.by_name = {name: score for name, score in known.by_name.items() if score.sender == work.principal.client_id}
    return known


def _identity(new: NewScore, known: _Known) -> tuple[Hashable, Hashable, Hashable] | None:
    """Which score this is, by key and by name, and what is said of it, as `rules.doubled` takes it."""
    student, measured = known.students.get(new.student), known.measures[new.measure]
    if student is None or isinstance(measured, AimlineError):
        return None
    given_by = known.staff.get(new.given_by) if new.given_by is not None else None
    said = (float(new.value), new.purpose, new.form, None if given_by is None else given_by.id)
    return (student.id, measured[0].id, new.taken_on, new.attempt), new.external_id, said


def _take(work: Work, new: NewScore, known: _Known, at: str, other: str | None) -> RecordedScore:
    student, given_by, measure, secured_area = _who_and_what(new, known, at)
    violations = violations_of(
        new.value,
        new.taken_on,
        new.attempt,
        new.purpose,
        range_=Range(measure.lowest, measure.highest),
        today=known.today,
        at=at,
    )
    violations += unknown_form(new.form, measure.forms, at)
    if other is not None:
        detail = f"{at} and {other} say different things of the same score. Send it once, or give each its attempt."
        violations.append(Violation(at, "score.doubled", detail))
    if violations:
        raise Invalid(violations)
    there = _already_there(new, student.id, measure.id, known, at)
    if there is not None:
        known.forget(there)
        taken = _amend(work, there, new, given_by)
        known.keep(there)
        return taken
    score = Score(
        district_id=work.district_id,
        id=new_id(),
        student_id=student.id,
        school_ids=student.school_ids,
        secured_area=secured_area,
        measure_id=measure.id,
        purpose=new.purpose,
        taken_on=new.taken_on,
        attempt=new.attempt,
        value=float(new.value),
        form=new.form,
        given_by=given_by or work.principal.person_id,
        sender=work.principal.client_id,
        external_id=new.external_id,
        recorded_at=now(),
        version=1,
    )
    work.db.add(score)
    known.keep(score)
    return RecordedScore("recorded", score)


def _who_and_what(new: NewScore, known: _Known, at: str) -> tuple[Person, UUID | None, Measure, str | None]:
    violations = []
    unknown = "There is no such {} within this caller's reach."
    if new.student not in known.students:
        violations.append(Violation(f"{at}/student", "student.unknown", unknown.format("student")))
    if new.given_by is not None and new.given_by not in known.staff:
        violations.append(Violation(f"{at}/given_by", "person.unknown", unknown.format("person")))
    measured = known.measures[new.measure]
    if isinstance(measured, Invalid):
        told = measured.violations[0]
        violations.append(Violation(f"{at}/measure", told.code, told.detail))
    elif isinstance(measured, AimlineError):
        violations.append(Violation(f"{at}/measure", measured.code, measured.detail))
    if violations or isinstance(measured, AimlineError):
        raise Invalid(violations)
    given_by = known.staff[new.given_by].id if new.given_by is not None else None
    return known.students[new.student], given_by, *measured


def _already_there(new: NewScore, student_id: UUID, measure_id: UUID, known: _Known, at: str) -> Score | None:
    by_key = known.by_key.get((student_id, measure_id, new.taken_on, new.attempt))
    by_name = known.by_name.get(new.external_id) if new.external_id is not None else None
    detail = None
    if by_name is None:
        if by_key is None or not _is_anothers(by_key, new, known):
            return by_key
        detail = "The same sender gave the score of this student, measure, date and attempt another external id."
        raise Invalid([Violation(f"{at}/external_id", "score.two_identities", detail)])
    if by_key is not None and by_key is not by_name:
        detail = "This external id names another score than this student, measure, date and attempt do."
    elif (by_name.student_id, by_name.measure_id) != (student_id, measure_id):
        detail = "This external id belongs to another student's or measure's score, and stays with it."
    if detail is not None:
        raise Invalid([Violation(f"{at}/external_id", "score.two_identities", detail)])
    return by_name


def _is_anothers(score: Score, new: NewScore, known: _Known) -> bool:
    """Whether the sender knows this score by another name: two of its scores must not become one unseen."""
    named = (score.external_id, new.external_id)
    return None not in named and named[0] != named[1] and score.sender == known.sender


def _amend(work: Work, score: Score, new: NewScore, given_by: UUID | None) -> RecordedScore:
    wanted = {
        "taken_on": new.taken_on,
        "attempt": new.attempt,
        "purpose": new.purpose,
        "value": float(new.value),
        "form": new.form,
        "removed_at": None,
    }
    if given_by is not None:
        wanted["given_by"] = given_by
    if new.external_id is not None and score.external_id is None:
        wanted |= {"external_id": new.external_id, "sender": work.principal.client_id}
    changed = {name: value for name, value in wanted.items() if getattr(score, name) != value}
    if not changed:
        return RecordedScore("unchanged", score)
    was_on = score.taken_on
    # A score of this very batch has no row yet, and nothing that it was before.
    if score not in work.db.new:
        action = "restored" if score.removed_at is not None else "amended"
        work.db.add(change_of(work, score, action, None, given_by))
    for name, value in changed.items():
        setattr(score, name, value)
    score.version += 1
    return RecordedScore("amended", score, was_on=was_on)
