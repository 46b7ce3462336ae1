"""Creates phases, and builds the columns and events that are common to all rows of a support.

Works under the permission that the calling command requires.
"""

from collections.abc import Mapping, Sequence
from datetime import date, datetime
from uuid import UUID

from sqlalchemy import ARRAY, DateTime, cast, func, update

from app.access.work import Work
from app.core.errors import Invalid, Violation
from app.core.ids import new_id
from app.events.catalogue import EventType, NewEvent
from app.evidence.queries import last_values
from app.evidence.rules import baseline_of
from app.roster.lookup import IdList, today_of
from app.support.lookup import current_phase
from app.support.models import Phase, Support
from app.support.rules import unexpected_review, violations_of_review


async def baseline_from(
    work: Work,
    student_id: UUID,
    measure_ids: Sequence[UUID],
    given: float | None,
    begins_on: date,
    otherwise: float | None = None,
) -> float:
    """Returns the baseline of a phase; raises `Invalid` if there is none.

    The baseline is `given` if that is set, otherwise the median of the last three scores of the measure, otherwise
    the value of `otherwise`.
    """
    if given is not None:
        return given
    baseline = baseline_of(await last_values(work, student_id, measure_ids[0], begins_on))
    if baseline is None:
        baseline = otherwise
    if baseline is None:
        detail = "There are fewer than three scores before the start to compute a baseline from: give one."
        raise Invalid([Violation("/baseline", "support.baseline_missing", detail)])
    return baseline


async def add_phase(work: Work, support: Support, phase: Phase) -> Phase:
    """Adds a phase, whose plan the caller has validated, to a support and returns it."""
    for name, value in student_columns(support).items():
        setattr(phase, name, value)
    phase.id, phase.support_id = new_id(), support.id
    work.db.add(phase)
    await work.db.flush()
    return phase


async def set_review(work: Work, support: Support, review_on: date) -> None:
    """Sets the next review of a support without a measure; raises `Invalid` if it has one, or for a day that has
    passed.
    """
    phase = await current_phase(work, support)
    today = await today_of(work)
    if support.measure_id is not None:
        raise Invalid([unexpected_review()])
    plan = {"begins_on": max(phase.begins_on, today), "review_on": review_on}
    dose = {"minutes_per_session": phase.minutes_per_session, "sessions_per_week": phase.sessions_per_week}
    violations_of_review(plan | dose).refuse()
    support.review_on = phase.review_on = review_on
    support.version += 1
    await work.db.flush()


def student_columns(support: Support) -> dict[str, object]:
    """Returns the values that every row of a support copies from it: district, student, schools and secured area."""
    return {
        "district_id": support.district_id,
        "student_id": support.student_id,
        "school_ids": support.school_ids,
        "secured_area": support.secured_area,
    }


async def set_last_verdicts_of_supports(work: Work, instants: Mapping[UUID, datetime]) -> None:
    """Saves the time of each support's latest verdict in the support's row. Lists of supports are sorted by it."""
    given = func.unnest(cast(list(instants), IdList), cast(list(instants.values()), ARRAY(DateTime(timezone=True))))
    rows = given.table_valued("id", "at", name="given").render_derived()
    await work.db.execute(
        update(Support)
        .where(Support.district_id == work.district_id, Support.id == rows.c.id)
        .values(last_verdict_at=rows.c.at)
        .execution_options(synchronize_session=False)
    )


def support_event(type_: EventType, support: Support, more: Mapping[str, UUID] | None = None) -> NewEvent:
    """Returns an event about a support. `more` has further ids for the event."""
    return NewEvent(
        type=type_,
        subject_id=support.id,
        subject_version=support.version,
        ids={"student": support.student_id, **(more or {})},
        student_id=support.student_id,
        school_ids=tuple(support.school_ids),
        secured_area=support.secured_area,
    )
