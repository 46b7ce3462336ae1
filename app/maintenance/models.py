"""Defines the table of recurring tasks."""

from datetime import datetime
from enum import StrEnum

from sqlalchemy.orm import Mapped

from app.core.db import Base, TenantRow
from app.core.jobs import JobColumns


class TaskKind(StrEnum):
    """The kinds of recurring tasks that a worker runs in every district."""

    STARTS = "starts"
    SCREENING = "screening"
    SIGNALS = "signals"
    REMINDERS = "reminders"
    EXPIRY = "expiry"
    SYNC_HISTORY = "sync_history"
    ANSWERS = "answers"


class Task(JobColumns, TenantRow, Base):
    """A recurring task of a district; there is one row per kind.

    Its state is always pending, and `due` is the time of its next run.
    """

    __tablename__ = "task"

    kind: Mapped[str]
    state: Mapped[str]
    due: Mapped[datetime]
    ended_at: Mapped[datetime | None]
