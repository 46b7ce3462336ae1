"""Defines the tables of events: the counters of the districts, the events, the named consumers, and the sent reminders.

Events are never changed. A transaction locks the counter row as the last step before its commit, so that the numbers of
events follow the order of commits.
"""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ARRAY, BigInteger, Text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.dialects.postgresql import UUID as PgUUID
from sqlalchemy.orm import Mapped, mapped_column

from app.core.db import Base, Tenant


class EventCounter(Tenant, Base):
    """A district's counter of events: the number of its last event, and the number up to which events were deleted.

    `epoch` is an id of the feed. An operator replaces it after a restore from a backup, because numbers that were given
    before the restore may be given again.
    """

    __tablename__ = "event_counter"

    last: Mapped[int] = mapped_column(BigInteger)
    epoch: Mapped[UUID]
    expired: Mapped[int] = mapped_column(BigInteger, default=0)


class Event(Tenant, Base):
    """An event: its type, version, subject, ids and counts. It never has a name, a score or a text."""

    __tablename__ = "event"

    seq: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    id: Mapped[UUID]
    type: Mapped[str]
    version: Mapped[int]
    at: Mapped[datetime]
    subject_kind: Mapped[str]
    subject_id: Mapped[UUID]
    subject_version: Mapped[int]
    student_id: Mapped[UUID | None]
    school_ids: Mapped[list[UUID]] = mapped_column(ARRAY(PgUUID))
    secured_area: Mapped[str | None]
    ids: Mapped[dict[str, Any]]
    counts: Mapped[dict[str, Any] | None] = mapped_column(JSONB(none_as_null=True))


class EventConsumer(Tenant, Base):
    """A named reader of the feed, with its client, event types, payload versions and position.

    `seq` is the number of the last event that the consumer has processed, in the feed with the id `epoch`. `seeks`
    counts the moves of the position (seeks) and the additions of event types. A cursor from before the last of them
    cannot be committed.
    """

    __tablename__ = "event_consumer"

    client_id: Mapped[UUID] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(primary_key=True)
    event_types: Mapped[list[str]] = mapped_column(ARRAY(Text))
    versions: Mapped[dict[str, Any]]
    epoch: Mapped[UUID]
    seq: Mapped[int] = mapped_column(BigInteger)
    seeks: Mapped[int]
    created_at: Mapped[datetime]
    committed_at: Mapped[datetime | None]
    removed_at: Mapped[datetime | None]


class SentReminder(Tenant, Base):
    """A reminder that was sent about a subject, with the state that the subject had.

    If the subject gets another state, a new reminder is sent.
    """

    __tablename__ = "event_told"

    type: Mapped[str] = mapped_column(primary_key=True)
    subject_id: Mapped[UUID] = mapped_column(primary_key=True)
    mark: Mapped[str] = mapped_column("told_of")
    at: Mapped[datetime]
