"""Owns that a lasting state is told once: of each subject it is remembered which state was told.

What lasts (a concern that nobody answers, a score that is overdue) is found anew by every round; it is told when it
begins, and again when it is another. Two rounds at the same time tell it once.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, select
from sqlalchemy.dialects.postgresql import insert

from app.access.permission import Can
from app.access.work import Work, needs
from app.core.clock import now
from app.events.catalogue import EventType, NewEvent
from app.events.models import SentReminder
from app.events.outbox import record

AT_ONCE = 1000
"""How many are told in one transaction: the others are found by the next."""


@dataclass(frozen=True, slots=True)
class Reminder:
    """What lasts, as the event that tells it, and a mark of the state: another mark is another state."""

    happened: NewEvent
    told_of: str


def select_unsent(work: Work, type_: EventType, subject: Any, mark: ColumnElement[str]) -> ColumnElement[bool]:
    """The condition that this state of a subject was not told."""
    told = select(SentReminder.subject_id).where(
        SentReminder.district_id == work.district_id,
        SentReminder.type == type_.name,
        SentReminder.subject_id == subject,
        SentReminder.told_of == mark,
    )
    return ~told.exists()


@needs(Can.JUDGE)
async def remind_once(work: Work, type_: EventType, lasting: Sequence[Reminder]) -> int:
    """Tells those whose state was not told before; how many."""
    if not lasting:
        return 0
    of = {"district_id": work.district_id, "type": type_.name, "at": now()}
    laid = insert(SentReminder).values(
        [{**of, "subject_id": one.happened.subject_id, "told_of": one.told_of} for one in lasting]
    )
    fresh = laid.on_conflict_do_update(
        index_elements=["district_id", "type", "subject_id"],
        set_={"told_of": laid.excluded.told_of, "at": laid.excluded.at},
        where=SentReminder.told_of != laid.excluded.told_of,
    ).returning(SentReminder.subject_id)
    new = set((await work.db.scalars(fresh)).all())
    for one in lasting:
        if one.happened.subject_id in new:
            record(work, one.happened)
    return len(new)
