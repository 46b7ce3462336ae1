"""Declares the public shapes of scores and of their changes."""

from datetime import date, datetime
from enum import StrEnum

from app.access.permission import Can
from app.evidence.models import Score, ScoreChange
from app.evidence.rules import ScorePurpose
from app.playbook.filters import by_measure
from app.playbook.resource import MeasureResource
from app.resources.declare import Link, Resource
from app.resources.fields import choice, field, one, stored
from app.resources.listing import Filter, Listing
from app.resources.members import One
from app.resources.values import JsonObject
from app.roster.filters import by_student
from app.roster.models import Person
from app.roster.resource import StaffResource, StudentResource


class ScoreResource(
    Resource[Score],
    kind="score",
    requires=Can.READ_SCORES,
    about=Score.student_id,
    visible=Score.removed_at.is_(None),
    name="Score",
    get="score",
):
    """One administration of a measure to a student."""

    student: One[StudentResource] = one(Score.student_id, StudentResource, "The student whose score it is.")
    measure: One[MeasureResource] = one(Score.measure_id, MeasureResource, "The measure.")
    taken_on: date = field(Score.taken_on, "The day on which the score was taken.")
    attempt: int = field(Score.attempt, "The attempt's number, where there were several on the day.", 1)
    value: float = field(Score.value, "The value in the measure's unit.", 46.0)
    purpose: ScorePurpose = choice(Score.purpose, "The purpose of the score.")
    form: str | None = field(Score.form, "The passage or version of the measure.", "A")
    given_by: One[StaffResource] | None = one(
        Score.given_by, StaffResource, "The person who administered it, if known."
    )
    external_id: str | None = field(Score.external_id, "The sender's own id.", "probe-8812")
    recorded_at: datetime = field(Score.recorded_at, "When it was recorded.")
    version: int = field(Score.version, "The number of changes; the ETag.", 1)


class ScoreAction(StrEnum):
    """The kinds of changes of a score."""

    AMENDED = "amended"
    REMOVED = "removed"
    RESTORED = "restored"


class ScoreChangeResource(
    Resource[ScoreChange],
    requires=Can.READ_SCORES,
    about=ScoreChange.student_id,
    discloses="score",
    name="ScoreChange",
):
    """The values of a score before it was amended or removed, who changed it, and why."""

    version: int = field(ScoreChange.version, "The score's version before the change.", 1)
    action: ScoreAction = choice(ScoreChange.action, "The kind of the change.")
    because: str | None = field(
        ScoreChange.because, "The reason; null where the sender only sent the score again.", "Scored again"
    )
    before: JsonObject = stored(
        ScoreChange.before,
        "The values before the change. Once they are deleted, only the changed fields, each with null.",
    )
    changed_by: One[StaffResource] | None = one(
        ScoreChange.changed_by, StaffResource, "The person who changed it, if a person did."
    )
    changed_at: datetime = field(ScoreChange.changed_at, "When it was changed.")
    expired_at: datetime | None = field(
        ScoreChange.expired_at, "When the values were deleted, usually after a year; null while they are kept."
    )


BY_DATE = (Score.taken_on, Score.attempt, Score.id)

LINKS = (
    Link(
        StudentResource,
        "scores",
        ScoreResource,
        Score.student_id == Person.id,
        "The student's scores by date, of one measure or of all.",
        order=BY_DATE,
        filters=(by_measure(Score.measure_id),),
        most=10_000,
        assumed=50,
    ),
    Link(
        ScoreResource,
        "changes",
        ScoreChangeResource,
        ScoreChange.score_id == Score.id,
        "Its changes, oldest first.",
        order=(ScoreChange.version,),
    ),
)

LISTINGS = (
    Listing(
        "scores",
        ScoreResource,
        "Scores in the order in which they were recorded.",
        filters=(
            by_student(Score.student_id),
            by_measure(Score.measure_id),
            Filter(
                "since", date, lambda day: Score.taken_on >= day, "Only scores of this day or later.", date(2026, 9, 1)
            ),
            Filter(
                "until",
                date,
                lambda day: Score.taken_on <= day,
                "Only scores of this day or before.",
                date(2026, 12, 18),
            ),
        ),
        schools=Score,
        changed_at=Score.updated_at,
    ),
)
