"""Owns the table of recurring tasks. Never what a task does."""

from datetime import datetime
from enum import StrEnum

from sqlalchemy.orm import Mapped

from app.core.db import Base, TenantRow
from app.core.jobs import JobColumns


class TaskKind(StrEnum):
    """What a worker does in every district again and again."""

    REMINDERS = "reminders"
    EXPIRY = "expiry"
    SYNC_HISTORY = "sync_history"
    ANSWERS = "answers"


class Task(JobColumns, TenantRow, Base):
    """A recurring task of a district, one row a kind. It is always pending; `due` is its next turn."""

    __tablename__ = "task"

    kind: Mapped[str]
    state: Mapped[str]
    due: Mapped[datetime]
    ended_at: Mapped[datetime | None]
