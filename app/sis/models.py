"""Owns the sync's tables: sources' settings, runs, the rows that could not be taken, the change log.

Never a secret in the clear, never a refused row's value.
"""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, LargeBinary, Text
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.orm import Mapped, mapped_column

from app.core.db import Base, Tenant, TenantRow
from app.core.jobs import JobColumns


class SisSource(TenantRow, Base):
    """How a source is reached, when, and within which limits. Its id is the `source`'s own.

    `client_secret_sealed` is the worker's alone to read. `due` is when the schedule next asks for a run, `overdue_at`
    when silence becomes news; `pulled_until` is up to when what it has is known, `full_at` as of when a whole delivery
    was last applied, both by the source's clock where it says so. `look_asked_at` asks the worker for `findings`.
    """

    __tablename__ = "sis_source"

    url: Mapped[str]
    gradebook_url: Mapped[str | None]
    token_url: Mapped[str | None]
    auth: Mapped[str | None]
    client_id: Mapped[str | None]
    scopes: Mapped[list[str]] = mapped_column(ARRAY(Text))
    page_size: Mapped[int | None]
    concurrency: Mapped[int]
    left_out: Mapped[list[str]] = mapped_column(ARRAY(Text))
    limits: Mapped[dict[str, Any]]
    rollover: Mapped[dict[str, Any] | None] = mapped_column(JSONB(none_as_null=True))
    mapping: Mapped[dict[str, Any]]
    cron: Mapped[str | None]
    jitter_minutes: Mapped[int]
    frozen: Mapped[list[Any]]
    full_cron: Mapped[str | None]
    overlap_hours: Mapped[int]
    pull_minutes: Mapped[int]
    pull_gb: Mapped[int]
    due: Mapped[datetime | None]
    overdue_at: Mapped[datetime | None]
    pulled_until: Mapped[datetime | None]
    full_at: Mapped[datetime | None]
    look_asked_at: Mapped[datetime | None]
    findings: Mapped[dict[str, Any] | None] = mapped_column(JSONB(none_as_null=True))
    found_at: Mapped[datetime | None]
    paused_at: Mapped[datetime | None]
    created_at: Mapped[datetime]
    version: Mapped[int]
    client_secret_sealed: Mapped[str | None] = mapped_column(deferred=True, deferred_raiseload=True)


class SisRun(JobColumns, TenantRow, Base):
    """One sync: `running`, then `applied`, `held`, `failed` or `dry`; counts by kind, and a sentence in plain words.

    A run that was asked for, or that a schedule asks for, is `pending` from `due` on until a worker takes it, with a
    lease. One that finds no new file is `skipped`. A held run has a `plan`: its
    digest and what each file said, beside the rows in staging. A map of sourcedIds that was asked for has there, until
    it is planned, what it is to be made from. Its `answer` makes a held run `approved`, then `applied`; or `discarded`.
    `undoes` names the run that this one takes back. `weighed` is what the guard looked at, `taken` the
    file that was read, `pulled_at` as of when it or the source was.
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
    repaired: Mapped[dict[str, Any]] = mapped_column(default=dict)
    plan: Mapped[dict[str, Any] | None] = mapped_column(JSONB(none_as_null=True))
    answer: Mapped[dict[str, Any] | None] = mapped_column(JSONB(none_as_null=True))
    undoes: Mapped[UUID | None]
    mode: Mapped[str | None]
    asked_by: Mapped[str | None]
    due: Mapped[datetime | None]
    taken: Mapped[dict[str, Any] | None] = mapped_column(JSONB(none_as_null=True))
    pulled_at: Mapped[datetime | None]
    weighed: Mapped[list[Any]] = mapped_column(default=list)


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

    Of what was removed, `remove` was marked as deleted by the source, and `absent` came no more. `before` is null
    from `expired_at` on; a run of which any row has expired cannot be undone.
    """

    __tablename__ = "sis_change"

    run_id: Mapped[UUID]
    kind: Mapped[str]
    row_id: Mapped[UUID]
    action: Mapped[str]
    before: Mapped[dict[str, Any] | None] = mapped_column(JSONB(none_as_null=True))
    expired_at: Mapped[datetime | None]


class SisUpload(TenantRow, Base):
    """A part of the zip that was sent for a run, in its place; gone once the run has ended."""

    __tablename__ = "sis_upload"

    run_id: Mapped[UUID]
    place: Mapped[int]
    part: Mapped[bytes] = mapped_column(LargeBinary)


class SisUploadSlot(Tenant, Base):
    """One of the few uploads that a district may send at a time; free once its lease has ended."""

    __tablename__ = "sis_upload_slot"

    place: Mapped[int] = mapped_column(primary_key=True)
    holder: Mapped[UUID]
    taken_at: Mapped[datetime]
    leased_until: Mapped[datetime]
