"""Defines the tables of notes and of their earlier texts."""

from datetime import date, datetime
from uuid import UUID

from sqlalchemy.orm import Mapped, mapped_column

from app.access.listing import ListedBySchool
from app.core.db import Base, HasChangeTime
from app.roster.models import AboutStudent


class Note(ListedBySchool, HasChangeTime, AboutStudent, Base):
    """A text about a record of one student. It is never removed, and each amendment keeps the earlier text.

    `about_kind` and `about_id` identify the record. The note has the same secured area as the record.
    """

    __tablename__ = "note"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    about_kind: Mapped[str]
    about_id: Mapped[UUID]
    text: Mapped[str]
    author_id: Mapped[UUID | None]
    author_client: Mapped[UUID | None]
    team_id: Mapped[UUID | None]
    written_on: Mapped[date]
    created_at: Mapped[datetime]
    version: Mapped[int]


class NoteChange(AboutStudent, Base):
    """The text of a note before it was amended. It is never changed."""

    __tablename__ = "note_change"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    note_id: Mapped[UUID]
    version: Mapped[int]
    text: Mapped[str]
    because: Mapped[str]
    changed_at: Mapped[datetime]
