"""Owns the sync's tables: runs, the rows that could not be taken, the change log. Never a refused row's value."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from app.core.db import Base, TenantRow


class SisRun(TenantRow, Base):
    """One sync: `running`, then `applied`, `held`, `failed` or `dry`; counts by kind, and a sentence in plain words.

    A held run has a `plan`: its digest and what each file said, beside the rows in staging. Its `answer` makes it
    `approved`, then `applied`; or `discarded`. `undoes` names the run that this one takes back.
    """

    __tablename__ = "sis_run"

    source_id: Mapped[UUID]
    state: Mapped[str]
    dry: Mapped[bool]
    began_at: Mapped[datetime]
    ended_at: Mapped[datetime | None]
    counts: Mapped[dict[str, Any]]
    warnings: Mapped[list[Any]]
    sentence: Mapped[str]
    held_because: Mapped[list[Any]] = mapped_column(default=list)
    not_taken: Mapped[list[Any]] = mapped_column(default=list)
    plan: Mapped[dict[str, Any] | None] = mapped_column(JSONB(none_as_null=True))
    answer: Mapped[dict[str, Any] | None] = mapped_column(JSONB(none_as_null=True))
    undoes: Mapped[UUID | None]


class SisQuarantine(TenantRow, Base):
    """A row that was not taken: where it stands (the header is row 1) and why, never what it says."""

    __tablename__ = "sis_quarantine"

    run_id: Mapped[UUID]
    kind: Mapped[str]
    file: Mapped[str]
    row_number: Mapped[int] = mapped_column(BigInteger)
    field: Mapped[str]
    code: Mapped[str]


class SisChange(TenantRow, Base):
    """What a run updated, restored or removed, with the row as it was. What it created says so by `arrived_in`.

    Of what was removed, `remove` was marked as deleted by the source, and `absent` came no more.
    """

    __tablename__ = "sis_change"

    run_id: Mapped[UUID]
    kind: Mapped[str]
    row_id: Mapped[UUID]
    action: Mapped[str]
    before: Mapped[dict[str, Any] | None]
