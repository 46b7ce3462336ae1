"""Defines the tables of notes and of their earlier texts."""

from datetime import date, datetime
from uuid import UUID

from sqlalchemy.orm import Mapped, mapped_column

from app.access.listing import ListedBySchool
from app.core.db import Base, HasChangeTime
from app.roster.models import MayBeAboutStudent


class MayBeOnAgenda(MayBeAboutStudent):
    """Mixin for a note and its earlier texts. They belong to a student, or to the team of an agenda item, or to both.

    `agenda_team_id` is the team whose agenda item the note is about, and `agenda_team_school_id` is the school of this
    team. Both are null for a note about another record. A caller who may not see the item may not see the note.
    """

    agenda_team_id: Mapped[UUID | None]
    agenda_team_school_id: Mapped[UUID | None]


class Note(ListedBySchool, HasChangeTime, MayBeOnAgenda, Base):
    """A text about a concern, a support or an agenda item. It is never removed, and an amendment keeps the former text.

    `about_kind` and `about_id` identify the record. The note has the student and the secured area of the record.
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


class NoteChange(MayBeOnAgenda, Base):
    """The text of a note before it was amended. From the time `expired_at` on, the text is empty."""

    __tablename__ = "note_change"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    note_id: Mapped[UUID]
    version: Mapped[int]
    text: Mapped[str]
    because: Mapped[str]
    changed_at: Mapped[datetime]
    expired_at: Mapped[datetime | None]
