"""Amends and removes scores, and records each change: by whom, why, and the earlier values.

A removed score is kept but no longer counts. It is restored if a score of the same student, measure, date and attempt
is sent again.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import date
from typing import Annotated, Any
from uuid import UUID

from sqlalchemy import select

from app.access.permission import Can
from app.access.work import Work, needs
from app.core.clock import now
from app.core.errors import Invalid, NotFound, Violation
from app.core.ids import new_id
from app.core.inputs import About, Choices
from app.core.text import Text
from app.core.violations import Violations, input_violations, known_values
from app.evidence.latest import find_last_scores
from app.evidence.models import Score, ScoreChange
from app.evidence.rules import ScorePurpose, violations_of
from app.playbook.lookup import measure_by_id
from app.roster.lookup import resolve_actor, today_of
from app.roster.student_lock import lock_student_of

KEPT_COLUMNS = ("taken_on", "attempt", "purpose", "value", "form", "removed_at")
"""The columns whose values are copied to the log of changes before a score is changed."""
BECAUSE = Text(min=1, max=500)
"""The length limits of the reason for a change of a score."""
SAME_KEY_DETAIL = "This student has a score of this measure, date and attempt already."


@dataclass(frozen=True, slots=True)
class Amendment:
    """The corrections of a score, with their reason. A field that is None leaves the stored value unchanged.

    `by` is the id of the person who makes the correction.
    """

    because: Annotated[str, BECAUSE, About("Why it is amended.", "Scored again")]
    by: Annotated[
        str | None,
        About(
            "The person who requests it: an id, or an external id `sis:<source>:<sourcedId>`.",
            "per_01jq4n6d9zf3vbs0x5k2m7e8tb",
        ),
    ] = None
    value: Annotated[float | None, About("Another value.", 47.0)] = None
    taken_on: Annotated[date | None, About("Another day.", date(2026, 9, 29))] = None
    attempt: Annotated[int | None, About("The corrected number of the attempt.", 2)] = None
    purpose: Annotated[str | None, Choices(ScorePurpose), About("The corrected purpose.", "baseline")] = None
    form: Annotated[str | None, Text(max=100), About("Another form.", "B")] = None


@dataclass(frozen=True, slots=True)
class AmendedScore:
    """A score after a change, and the days of its series that must be judged again.

    These are the score's earlier day and its present day. There are none if nothing changed.
    """

    score: Score
    days: frozenset[date]


@needs(Can.RECORD_SCORES)
async def amend_score(work: Work, score_id: UUID, amendment: Amendment) -> AmendedScore:
    """Changes a score and logs its earlier values.

    Raises `NotFound`, or `Invalid` with every violation of the new values.
    """
    score = await _lock_score(work, score_id)
    violations, readable_values = Violations(input_violations(amendment)), known_values(amendment)
    with violations:
        by = await resolve_actor(work, amendment.by, "/by")
    given = {name: value for name, value in readable_values.items() if name in KEPT_COLUMNS and value is not None}
    changed = {name: value for name, value in given.items() if getattr(score, name) != value}
    with violations:
        if not given and len(readable_values) == len(fields(amendment)):
            raise Invalid([Violation("", "score.nothing", "Name what is to be changed.")])
    measure = await measure_by_id(work, score.measure_id)
    after = {name: changed.get(name, getattr(score, name)) for name in KEPT_COLUMNS}
    checked = {name: after[name] for name in readable_values if name in after}
    of_measure = {name: getattr(measure, name) for name in ("lowest", "highest", "forms")}
    violations.add(violations_of(checked | of_measure | {"today": await today_of(work)}, ""))
    if {"taken_on", "attempt"} & changed.keys():
        violations.add(await _violations_of_key(work, score, after))
    violations.refuse()
    if not changed:
        return AmendedScore(score, frozenset())
    days = frozenset({score.taken_on, after["taken_on"]})
    work.db.add(change_of(work, score, "amended", amendment.because, by))
    for name, value in changed.items():
        setattr(score, name, value)
    score.version += 1
    await work.db.flush()
    if "taken_on" in changed:
        await find_last_scores(work, [score.student_id])
    return AmendedScore(score, days)


@needs(Can.RECORD_SCORES)
async def remove_score(work: Work, score_id: UUID, because: str, by: str | None = None) -> AmendedScore:
    """Removes a score and logs its values; raises `NotFound`, also if the score was already removed."""
    score = await _lock_score(work, score_id)
    violations = Violations()
    with violations:
        BECAUSE.require(because, "/because")
    with violations:
        remover = await resolve_actor(work, by, "/by")
    violations.refuse()
    work.db.add(change_of(work, score, "removed", because, remover))
    score.removed_at = now()
    score.version += 1
    await work.db.flush()
    await find_last_scores(work, [score.student_id])
    return AmendedScore(score, frozenset({score.taken_on}))


def change_of(work: Work, score: Score, action: str, because: str | None, by: UUID | None) -> ScoreChange:
    """Returns a log entry with the current values of a score. Call it before the score is changed."""
    before: Mapping[str, Any] = {
        name: value.isoformat() if hasattr(value := getattr(score, name), "isoformat") else value
        for name in KEPT_COLUMNS
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


async def _lock_score(work: Work, score_id: UUID) -> Score:
    score = await lock_student_of(work, Score, Score.id, score_id)
    if score is None or score.removed_at is not None:
        raise NotFound("score")
    work.disclose("score", [score.student_id])
    return score


async def _violations_of_key(work: Work, score: Score, after: Mapping[str, Any]) -> list[Violation]:
    other_id = await work.db.scalar(
        select(Score.id).where(
            Score.district_id == work.district_id,
            Score.student_id == score.student_id,
            Score.measure_id == score.measure_id,
            Score.taken_on == after["taken_on"],
            Score.attempt == after["attempt"],
            Score.id != score.id,
        )
    )
    return [] if other_id is None else [Violation("/taken_on", "score.doubled", SAME_KEY_DETAIL)]
