"""Records scores. A score belongs to a student, a measure and an administration, never to a support.

* A sent score that matches a stored one amends it. It matches by the sender's external id, or else by student, measure,
  date and attempt.
* Any other sent score is stored as a new one.
* An invalid score is refused with its violations, and the other scores of the batch are recorded.
* Two scores of a batch that contradict each other are both refused.

This file exceeds 250 lines because each input states its description and an example.
"""

from collections.abc import Hashable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import date
from typing import Annotated, TypeVar
from uuid import UUID

from sqlalchemy import any_, cast, select

from app.access.permission import Can
from app.access.work import Work, needs
from app.core.clock import now
from app.core.errors import AimlineError, Invalid, Violation
from app.core.ids import new_id
from app.core.inputs import About, Choices
from app.core.text import Text
from app.core.violations import Unread, Violations, input_violations, known_values, readable
from app.evidence.amend import change_of
from app.evidence.latest import find_last_scores, last_days
from app.evidence.models import Score
from app.evidence.rules import MAX_BATCH, ScorePurpose, find_contradictions, violations_of
from app.evidence.terms import ScoreTerms, insert_new, load_terms
from app.playbook.models import Measure
from app.roster.latest import set_last_scores
from app.roster.lookup import IdList

Found = TypeVar("Found")


@dataclass(frozen=True, slots=True)
class NewScore:
    """A score to be recorded: one administration of a measure. Sending the same score again changes nothing."""

    student: Annotated[
        str,
        About("The student: an id, or an external id `sis:<source>:<sourcedId>`.", "stu_01jq4n6d9zf3vbs0x5k2m7e8ta"),
    ]
    measure: Annotated[str, About("The measure: a code or an id.", "orf")]
    taken_on: Annotated[date, About("The day on which the score was taken.", date(2026, 9, 28))]
    value: Annotated[float, About("The value in the measure's unit.", 46.0)]
    attempt: Annotated[int, About("The attempt's number, where there were several on the day.", 1)] = 1
    purpose: Annotated[str, Choices(ScorePurpose), About("The purpose of the score.", "progress")] = "progress"
    form: Annotated[str | None, Text(max=100), About("The passage or version of the measure.", "A")] = None
    given_by: Annotated[
        str | None,
        About(
            "The person who administered it: an id, or an external id `sis:<source>:<sourcedId>`.",
            "per_01jq4n6d9zf3vbs0x5k2m7e8tb",
        ),
    ] = None
    external_id: Annotated[
        str | None,
        Text(min=1, max=200),
        About("The sender's own id, by which the score is inserted or updated.", "probe-8812"),
    ] = None


@dataclass(frozen=True, slots=True)
class RecordedScore:
    """The result for one sent score.

    * `outcome` is `recorded`, `amended`, `unchanged` or `refused`. A refused score has violations.
    * `was_on` is the date that an amended score had before the change.
    """

    outcome: str
    score: Score | None = None
    violations: tuple[Violation, ...] = ()
    was_on: date | None = None


class _ScoreBatch:
    """What is needed to record a batch of scores, and what has been decided so far.

    * `terms` has the students, staff and measures that the batch names.
    * `by_key` and `by_external_id` have the stored scores that a sent score may amend.
    * `added` are the new scores to insert.
    """

    def __init__(self, terms: ScoreTerms, sender: UUID | None, stored: Iterable[Score] = ()) -> None:
        self.terms = terms
        self.sender = sender
        self.added: list[Score] = []
        self.by_key: dict[tuple[UUID, UUID, date, int], Score] = {}
        self.by_external_id: dict[str, Score] = {}
        for score in stored:
            self.add(score)

    def remove(self, score: Score) -> None:
        self.by_key.pop((score.student_id, score.measure_id, score.taken_on, score.attempt), None)

    def add(self, score: Score) -> None:
        self.by_key[score.student_id, score.measure_id, score.taken_on, score.attempt] = score
        # An external id belongs to its sender; another sender's equal id does not identify this score.
        if score.external_id is not None and score.sender == self.sender:
            self.by_external_id[score.external_id] = score


@needs(Can.RECORD_SCORES)
async def record_scores(
    work: Work,
    new: Sequence[NewScore],
    *,
    at: str = "/scores",
    positions: Sequence[int] | None = None,
    saves_days: bool = True,
) -> list[RecordedScore]:
    """Records up to 500 scores; returns one result per score, in order.

    `positions` has the index of each score in the request; it is needed if the caller leaves out items of the request.
    By default, the day of each student's last score is saved in the student's row. If `saves_days` is false, the caller
    must do this.
    """
    if not 1 <= len(new) <= MAX_BATCH:
        raise Invalid([Violation(at, "scores.count", f"Send 1 to {MAX_BATCH} scores at once.")])
    given_by = [name for name in readable(new, "given_by") if name is not None]
    measures = set(readable(new, "measure"))
    terms = await load_terms(work, readable(new, "student"), given_by, measures)
    places = range(len(new)) if positions is None else positions
    pointers = [f"{at}/{place}" if at else "" for place in places]
    # Nearly always all scores are new. They are then inserted at once, unless one of them matches a stored score.
    batch = _ScoreBatch(terms, work.principal.client_id)
    results = _record_all(work, new, batch, pointers)
    inserted = set[UUID]()
    if all(result.outcome != "refused" and _can_be_inserted(result.score) for result in results):
        inserted = await insert_new(work, batch.added)
    if len(inserted) < len(batch.added) or not batch.added:
        batch = _ScoreBatch(terms, work.principal.client_id, await _load_stored(work, new, terms))
        results = [_as_recorded(result, inserted) for result in _record_all(work, new, batch, pointers)]
        work.db.add_all(batch.added)
        await work.db.flush()
    if saves_days:
        await set_last_scores(work, days_of_recorded(results))
    amended = {result.score.student_id for result in results if result.outcome == "amended" and result.score}
    await find_last_scores(work, amended)
    return results


def days_of_recorded(results: Sequence[RecordedScore]) -> dict[UUID, date]:
    """Returns the day of each student's latest score among the scores that were newly recorded.

    Scores of secured areas are left out.
    """
    return last_days(result.score for result in results if result.outcome == "recorded" and result.score)


def _record_all(
    work: Work, new: Sequence[NewScore], batch: _ScoreBatch, pointers: Sequence[str]
) -> list[RecordedScore]:
    """Returns the result of each score. New scores are added to the batch, but not inserted yet."""
    contradictions = find_contradictions([_identity(score, batch) for score in new])
    results = []
    for position, score in enumerate(new):
        other = pointers[contradictions[position]] if position in contradictions else None
        try:
            results.append(_record(work, score, batch, pointers[position], other))
        except Invalid as error:
            results.append(RecordedScore("refused", violations=error.violations))
        except Unread:
            results.append(RecordedScore("refused"))
        except AimlineError as error:
            violation = Violation(pointers[position], error.code, error.detail)
            results.append(RecordedScore("refused", violations=(violation,)))
    return results


def _can_be_inserted(score: Score | None) -> bool:
    """Returns whether `insert_new` can insert this score.

    The score must not be None, and its attempt number must fit PostgreSQL's type. A score with a larger attempt number
    is inserted through the ORM, which raises its own error.
    """
    return score is not None and score.attempt < 2**31


def _as_recorded(result: RecordedScore, inserted: set[UUID]) -> RecordedScore:
    """Returns the result of a score, with the outcome `recorded` if this batch has inserted the score.

    The batch is compared with the stored scores after its own scores were inserted. Without this correction, each score
    that it has inserted would be equal to a stored score, and its outcome would be `unchanged`.
    """
    is_new = result.score is not None and result.score.id in inserted
    return replace(result, outcome="recorded") if is_new and result.outcome == "unchanged" else result


async def _load_stored(work: Work, new: Sequence[NewScore], terms: ScoreTerms) -> list[Score]:
    """Returns the stored scores that may match the sent scores.

    The students of the sent scores are locked, so no other transaction writes these students' scores. A score of
    another student can be included too, if it has the external id of a sent score. That student needs no lock, because
    the sent score is then refused.
    """
    students = [student.id for student in terms.students.values()]
    in_district = select(Score).where(Score.district_id == work.district_id)
    on_same_days = in_district.where(
        Score.student_id == any_(cast(students, IdList)), Score.taken_on.in_(set(readable(new, "taken_on")))
    )
    stored = list(await work.db.scalars(on_same_days.execution_options(populate_existing=True)))
    external_ids = set(readable(new, "external_id")) - {None}
    if external_ids:
        with_same_external_ids = in_district.where(
            Score.sender == work.principal.client_id, Score.external_id.in_(external_ids)
        )
        stored += await work.db.scalars(with_same_external_ids.execution_options(populate_existing=True))
    return stored


def _identity(new: NewScore, batch: _ScoreBatch) -> tuple[Hashable, Hashable, Hashable] | None:
    """Returns the key, the external id and the content of a sent score, or None if the score is not valid.

    The key is student, measure, date and attempt. `find_contradictions` compares these values.
    """
    with suppress(Unread):
        identified = _student_and_measure(new, batch)
        if identified is not None:
            given_by = batch.terms.staff.get(new.given_by) if new.given_by is not None else None
            content = (float(new.value), new.purpose, new.form, given_by)
            return (*identified, new.taken_on, new.attempt), new.external_id, content
    return None


def _record(work: Work, new: NewScore, batch: _ScoreBatch, at: str, contradicted: str | None) -> RecordedScore:
    violations, values = Violations(input_violations(new, at)), known_values(new) | {"today": batch.terms.today}
    with violations:
        student = _found(batch.terms.students, new.student, "student", f"{at}/student")
        if student.removed_at is not None:
            detail = "This student has left: the supports are suspended, and scores are taken when the student is back."
            raise Invalid([Violation(f"{at}/student", "student.departed", detail)])
    with violations:
        given_by = None
        if new.given_by is not None:
            given_by = _found(batch.terms.staff, new.given_by, "person", f"{at}/given_by")
    with violations:
        measure, secured_area = _measure_of(batch, new.measure, f"{at}/measure")
        values |= {name: getattr(measure, name) for name in ("lowest", "highest", "forms")}
    violations.add(violations_of(values, at))
    if contradicted is not None:
        detail = f"{at} and {contradicted} contradict each other. Send the score once, or give each its own attempt."
        violations.add([Violation(at, "score.doubled", detail)])
    with violations:
        identified = _student_and_measure(new, batch)
        existing = None if identified is None else _match(new, *identified, batch, at)
    violations.refuse()
    if existing is not None:
        batch.remove(existing)
        result = _amend(work, existing, new, given_by, is_stored=existing not in batch.added)
        batch.add(existing)
        return result
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
    batch.added.append(score)
    batch.add(score)
    return RecordedScore("recorded", score)


def _found(people: Mapping[str, Found], name: str, noun: str, pointer: str) -> Found:
    if name not in people:
        detail = f"There is no such {noun} within this caller's reach."
        raise Invalid([Violation(pointer, f"{noun}.unknown", detail)])
    return people[name]


def _measure_of(batch: _ScoreBatch, name: str, pointer: str) -> tuple[Measure, str | None]:
    entry = batch.terms.measures[name]
    if isinstance(entry, Invalid):
        raise Invalid([replace(entry.violations[0], pointer=pointer)])
    if isinstance(entry, AimlineError):
        raise Invalid([Violation(pointer, entry.code, entry.detail)])
    return entry


def _student_and_measure(new: NewScore, batch: _ScoreBatch) -> tuple[UUID, UUID] | None:
    student, entry = batch.terms.students.get(new.student), batch.terms.measures[new.measure]
    return None if student is None or isinstance(entry, AimlineError) else (student.id, entry[0].id)


def _match(new: NewScore, student_id: UUID, measure_id: UUID, batch: _ScoreBatch, at: str) -> Score | None:
    by_key = batch.by_key.get((student_id, measure_id, new.taken_on, new.attempt))
    by_external_id = batch.by_external_id.get(new.external_id) if new.external_id is not None else None
    detail = None
    if by_external_id is None:
        if by_key is None or not _has_other_external_id(by_key, new, batch):
            return by_key
        detail = "This sender gave the score of this student, measure, date and attempt another external id before."
        raise Invalid([Violation(f"{at}/external_id", "score.two_identities", detail)])
    if by_key is not None and by_key is not by_external_id:
        detail = "This external id belongs to a score of another student, measure, date or attempt."
    elif (by_external_id.student_id, by_external_id.measure_id) != (student_id, measure_id):
        detail = "This external id belongs to a score of another student or measure."
    if detail is not None:
        raise Invalid([Violation(f"{at}/external_id", "score.two_identities", detail)])
    return by_external_id


def _has_other_external_id(score: Score, new: NewScore, batch: _ScoreBatch) -> bool:
    """Returns whether the sender of the new score has given the stored score another external id.

    If so, these are two different scores.
    """
    external_ids = (score.external_id, new.external_id)
    return None not in external_ids and external_ids[0] != external_ids[1] and score.sender == batch.sender


def _amend(work: Work, score: Score, new: NewScore, given_by: UUID | None, *, is_stored: bool) -> RecordedScore:
    values = {
        "taken_on": new.taken_on,
        "attempt": new.attempt,
        "purpose": new.purpose,
        "value": float(new.value),
        "form": new.form,
        "removed_at": None,
    }
    if given_by is not None:
        values["given_by"] = given_by
    if new.external_id is not None and score.external_id is None:
        values |= {"external_id": new.external_id, "sender": work.principal.client_id}
    changed = {name: value for name, value in values.items() if getattr(score, name) != value}
    if not changed:
        return RecordedScore("unchanged", score)
    was_on = score.taken_on
    # A score that this batch itself added has no row yet, so there are no earlier values to keep.
    if is_stored:
        action = "restored" if score.removed_at is not None else "amended"
        work.db.add(change_of(work, score, action, None, given_by))
    for name, value in changed.items():
        setattr(score, name, value)
    score.version += 1
    return RecordedScore("amended", score, was_on=was_on)
