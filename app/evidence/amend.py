"""Owns the changes of a score that is there: amended or removed, by whom, why, and how it was before.

A score that was removed is kept and counts no more; a score sent again under the same key brings it back.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import date
from typing import Any
from uuid import UUID

from sqlalchemy import select

from app.access.permission import Can
from app.access.work import Work, needs
from app.core.clock import now, today_in
from app.core.errors import Invalid, NotFound, Violation
from app.core.ids import new_id
from app.evidence.models import Score, ScoreChange
from app.evidence.rules import Range, unknown_form, violations_of
from app.playbook.lookup import measure_by_id
from app.roster.lookup import resolve_actor, zone_of
from app.roster.student_lock import lock_student_of

KEPT = ("taken_on", "attempt", "purpose", "value", "form", "removed_at")
"""What a change keeps of how a score was."""
DOUBLED = "This student has a score of this measure, date and attempt already."


@dataclass(frozen=True, slots=True)
class Amendment:
    """What was wrong of a score, and why it is changed; what is not named stays. `by` is a person's id."""

    because: str
    by: str | None = None
    value: float | None = None
    taken_on: date | None = None
    attempt: int | None = None
    purpose: str | None = None
    form: str | None = None


@dataclass(frozen=True, slots=True)
class AmendedScore:
    """A score after a change, and the days whose series it touches: none where nothing changed."""

    score: Score
    days: frozenset[date]


@needs(Can.RECORD_SCORES)
async def amend_score(work: Work, score_id: UUID, amendment: Amendment) -> AmendedScore:
    """Changes a score. Raises `NotFound`, and `Invalid` with everything that is wrong with it as it would be."""
    score = await _locked(work, score_id)
    by = await resolve_actor(work, amendment.by, "/by")
    wanted = {
        field.name: given
        for field in fields(amendment)
        if field.name not in ("because", "by") and (given := getattr(amendment, field.name)) is not None
    }
    changed = {name: value for name, value in wanted.items() if getattr(score, name) != value}
    if not wanted:
        raise Invalid([Violation("", "score.nothing", "Name what is to be changed.")])
    measure = await measure_by_id(work, score.measure_id)
    will = {name: changed.get(name, getattr(score, name)) for name in KEPT}
    range_, today = Range(measure.lowest, measure.highest), today_in(await zone_of(work))
    kept = (will["value"], will["taken_on"], will["attempt"], will["purpose"])
    violations = violations_of(*kept, range_=range_, today=today, at="")
    violations += unknown_form(will["form"], measure.forms, "")
    if not violations and {"taken_on", "attempt"} & changed.keys():
        violations = await _taken_already(work, score, will)
    if violations:
        raise Invalid(violations)
    if not changed:
        return AmendedScore(score, frozenset())
    days = frozenset({score.taken_on, will["taken_on"]})
    work.db.add(change_of(work, score, "amended", amendment.because, by))
    for name, value in changed.items():
        setattr(score, name, value)
    score.version += 1
    await work.db.flush()
    return AmendedScore(score, days)


@needs(Can.RECORD_SCORES)
async def remove_score(work: Work, score_id: UUID, because: str, by: str | None = None) -> AmendedScore:
    """Removes a score. Raises `NotFound`, also for one that was removed already."""
    score = await _locked(work, score_id)
    work.db.add(change_of(work, score, "removed", because, await resolve_actor(work, by, "/by")))
    score.removed_at = now()
    score.version += 1
    await work.db.flush()
    return AmendedScore(score, frozenset({score.taken_on}))


def change_of(work: Work, score: Score, action: str, because: str | None, by: UUID | None) -> ScoreChange:
    """The row that says what a score was before a change; made before it is changed."""
    before: Mapping[str, Any] = {
        name: value.isoformat() if hasattr(value := getattr(score, name), "isoformat") else value for name in KEPT
    }
    return ScoreChange(
        district_id=score.district_id,
        id=new_id(),
        student_id=score.student_id,
        school_ids=score.school_ids,
        secured_area=score.secured_area,
        score_id=score.id,
        version=score.version,
        action=action,
        because=because,
        before=dict(before),
        changed_by=by or work.principal.person_id,
        changed_by_client=work.principal.client_id,
        changed_at=now(),
    )


async def _locked(work: Work, score_id: UUID) -> Score:
    score = await lock_student_of(work, Score, Score.id, score_id)
    if score is None or score.removed_at is not None:
        raise NotFound("score")
    work.disclose("score", [score.student_id])
    return score


async def _taken_already(work: Work, score: Score, will: Mapping[str, Any]) -> list[Violation]:
    there = await work.db.scalar(
        select(Score.id).where(
            Score.district_id == work.district_id,
            Score.student_id == score.student_id,
            Score.measure_id == score.measure_id,
            Score.taken_on == will["taken_on"],
            Score.attempt == will["attempt"],
            Score.id != score.id,
        )
    )
    return [] if there is None else [Violation("/taken_on", "score.doubled", DOUBLED)]
