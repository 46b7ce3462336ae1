"""Defines the table of the intervention library."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import ARRAY, Integer, Text
from sqlalchemy.dialects.postgresql import UUID as PgUUID
from sqlalchemy.orm import Mapped, mapped_column

from app.core.db import Base, HasChangeTime, TenantRow


class Intervention(HasChangeTime, TenantRow, Base):
    """One version of an entry of the library: a draft, then published, then retired.

    * The content of a published version never changes.
    * `code` identifies the entry, and `number` the version. A support refers to one version by the id of its row.
    * `levels` are the ranks of the levels for which the intervention is meant.
    * `checklist` lists the parts of a session that are checked for adherence, in order.
    """

    __tablename__ = "intervention"

    code: Mapped[str]
    number: Mapped[int]
    state: Mapped[str]
    name: Mapped[str]
    area_ids: Mapped[list[UUID]] = mapped_column(ARRAY(PgUUID))
    levels: Mapped[list[int]] = mapped_column(ARRAY(Integer))
    minutes_per_session: Mapped[int | None]
    sessions_per_week: Mapped[int | None]
    group_from: Mapped[int | None]
    group_to: Mapped[int | None]
    materials: Mapped[str | None]
    steps: Mapped[list[str]] = mapped_column(ARRAY(Text))
    checklist: Mapped[list[str]] = mapped_column(ARRAY(Text))
    entry_criteria: Mapped[str | None]
    exit_criteria: Mapped[str | None]
    evidence_note: Mapped[str | None]
    languages: Mapped[list[str]] = mapped_column(ARRAY(Text))
    published_at: Mapped[datetime | None]
    retired_at: Mapped[datetime | None]
    created_at: Mapped[datetime]
    version: Mapped[int]
