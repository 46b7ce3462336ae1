"""Owns the writes of scores. A score belongs to student, measure and administration, never to a support.

It is upserted by the sender's external id, else by student, measure, date and attempt; one bad score of many
is refused alone and named, the others are taken.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from uuid import UUID

from sqlalchemy import and_, or_, select

from app.access.permission import Can
from app.access.work import Work, needs
from app.core.clock import now, today_in
from app.core.errors import AimlineError, Invalid, Violation
from app.core.ids import new_id
from app.evidence.models import Score
from app.evidence.rules import MOST_AT_ONCE, Range, violations_of
from app.playbook.lookup import area_by_id, locate_measure, secured_code
from app.playbook.models import Measure
from app.roster.lookup import locate_staff, locate_student, zone_of
from app.roster.models import Person


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
class TakenScore:
    """What became of one score: `recorded`, `amended`, `unchanged`, or `refused` with the reasons."""

    outcome: str
    score: Score | None = None
    violations: tuple[Violation, ...] = ()


class _Lookups:
    """What a batch asks for again and again, asked for once."""

    def __init__(self, today: date) -> None:
        self.today = today
        self.students: dict[str, Person] = {}
        self.staff: dict[str, Person] = {}
        self.measures: dict[str, tuple[Measure, str | None]] = {}


@needs(Can.RECORD_SCORES)
async def record_scores(work: Work, new: Sequence[NewScore], *, at: str = "/scores") -> list[TakenScore]:
    """Takes up to 500 scores, each by itself; the result has one entry for each, in order."""
    if not 1 <= len(new) <= MOST_AT_ONCE:
        raise Invalid([Violation(at, "scores.count", f"Send 1 to {MOST_AT_ONCE} scores at once.")])
    lookups = _Lookups(today_in(await zone_of(work)))
    taken = []
    for position, score in enumerate(new):
        pointer = f"{at}/{position}" if at else ""
        try:
            taken.append(await _take(work, score, lookups, pointer))
        except Invalid as error:
            taken.append(TakenScore("refused", violations=error.violations))
        except AimlineError as error:
            taken.append(TakenScore("refused", violations=(Violation(pointer, error.code, error.detail),)))
    await work.db.flush()
    return taken


async def _take(work: Work, new: NewScore, lookups: _Lookups, at: str) -> TakenScore:
    student = lookups.students.get(new.student)
    if student is None:
        student = lookups.students[new.student] = await locate_student(work, new.student, f"{at}/student")
    if new.measure not in lookups.measures:
        measure = await locate_measure(work, new.measure, f"{at}/measure")
        secured = await secured_code(work, await area_by_id(work, measure.area_id))
        lookups.measures[new.measure] = (measure, secured)
    measure, secured_area = lookups.measures[new.measure]
    given_by = None
    if new.given_by is not None:
        if new.given_by not in lookups.staff:
            lookups.staff[new.given_by] = await locate_staff(work, new.given_by, f"{at}/given_by")
        given_by = lookups.staff[new.given_by].id
    violations = violations_of(
        new.value,
        new.taken_on,
        new.attempt,
        new.purpose,
        range_=Range(measure.lowest, measure.highest),
        today=lookups.today,
        at=at,
    )
    if violations:
        raise Invalid(violations)
    there = await _already_there(work, new, student.id, measure.id, at)
    if there is not None:
        return await _amend(work, there, new, given_by)
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
    await work.db.flush()
    return TakenScore("recorded", score)


async def _already_there(work: Work, new: NewScore, student_id: UUID, measure_id: UUID, at: str) -> Score | None:
    natural = and_(
        Score.student_id == student_id,
        Score.measure_id == measure_id,
        Score.taken_on == new.taken_on,
        Score.attempt == new.attempt,
    )
    named = and_(Score.sender == work.principal.client_id, Score.external_id == new.external_id)
    query = select(Score).where(
        Score.district_id == work.district_id, natural if new.external_id is None else or_(natural, named)
    )
    rows = (await work.db.scalars(query.with_for_update())).all()
    if len(rows) > 1:
        detail = "This external id names another score than this student, measure, date and attempt do."
        raise Invalid([Violation(f"{at}/external_id", "score.two_identities", detail)])
    if rows and (rows[0].student_id, rows[0].measure_id) != (student_id, measure_id):
        detail = "This external id belongs to another student's or measure's score, and stays with it."
        raise Invalid([Violation(f"{at}/external_id", "score.two_identities", detail)])
    return rows[0] if rows else None


async def _amend(work: Work, score: Score, new: NewScore, given_by: UUID | None) -> TakenScore:
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
        return TakenScore("unchanged", score)
    for name, value in changed.items():
        setattr(score, name, value)
    score.version += 1
    await work.db.flush()
    return TakenScore("amended", score)
