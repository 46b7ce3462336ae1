"""Sends reminders about states that last, such as a concern without an answer, and sends each reminder once.

Every maintenance run finds the same lasting states again. A reminder is sent when a state begins, and again when the
state changes; `SentReminder` records what was sent. If several runs find a state at the same time, one of them sends
the reminder.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, select
from sqlalchemy.dialects.postgresql import insert

from app.access.permission import Can
from app.access.work import Work, needs
from app.core.clock import now
from app.events.catalogue import EventType, NewEvent
from app.events.models import SentReminder
from app.events.outbox import record

AT_ONCE = 1000
"""The maximum number of reminders in one transaction; the next transaction sends the others."""


@dataclass(frozen=True, slots=True)
class Reminder:
    """A reminder to send about a state that lasts, such as a concern without an answer.

    * `event` is the event that is sent.
    * `mark` is a text that stays the same while the state lasts, so that the reminder is sent once.
    * `about` is the row that has the state, such as one of the measures of a support. By default it is the event's
      subject.
    """

    event: NewEvent
    mark: str
    about: UUID | None = None

    @property
    def key(self) -> UUID:
        """Returns the id of the row that the reminder is about."""
        return self.about or self.event.subject_id


def select_unsent(work: Work, type_: EventType, subject: Any, mark: ColumnElement[str]) -> ColumnElement[bool]:
    """Returns an SQL condition that is true if no reminder was sent yet about the present state of `subject`.

    `mark` is an expression for the text that stays the same while a state lasts (see `Reminder`).
    """
    sent = select(SentReminder.subject_id).where(
        SentReminder.district_id == work.district_id,
        SentReminder.type == type_.name,
        SentReminder.subject_id == subject,
        SentReminder.mark == mark,
    )
    return ~sent.exists()


@needs(Can.JUDGE)
async def remind_once(work: Work, type_: EventType, reminders: Sequence[Reminder]) -> int:
    """Sends the reminders that were not sent before, and returns how many it sent."""
    if not reminders:
        return 0
    common = {"district_id": work.district_id, "type": type_.name, "at": now()}
    insertion = insert(SentReminder).values(
        [{**common, "subject_id": reminder.key, "told_of": reminder.mark} for reminder in reminders]
    )
    new_or_changed = insertion.on_conflict_do_update(
        index_elements=["district_id", "type", "subject_id"],
        set_={"told_of": insertion.excluded.told_of, "at": insertion.excluded.at},
        where=SentReminder.mark != insertion.excluded.told_of,
    ).returning(SentReminder.subject_id)
    new_subjects = set((await work.db.scalars(new_or_changed)).all())
    for reminder in reminders:
        if reminder.key in new_subjects:
            record(work, reminder.event)
    return len(new_subjects)
