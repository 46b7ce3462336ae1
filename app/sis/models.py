"""Defines the tables of syncs: settings of sources, runs, quarantined rows, the change log, uploads.

No table contains an unencrypted secret, or a value of a quarantined row.
"""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, LargeBinary, Text, Uuid
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.orm import Mapped, mapped_column

from app.core.db import Base, HasChangeTime, Tenant, TenantRow
from app.core.jobs import JobColumns


class SisSource(HasChangeTime, TenantRow, Base):
    """The settings of a source: its address, credentials, schedule and limits.

    The row has the same id as the row of the source in `source`.

    * `url`: the address as the APIs show it. If it leaves out a secret, `url_sealed` has the whole address, encrypted.
    * `url_sealed`, `client_secret_sealed`: only the worker may read them.
    * `due`: the time of the next scheduled run. If no run has begun by `overdue_at`, the source is reported as overdue.
    * `pulled_until`: the time up to which the source's changes are imported. `full_at`: the time of the last complete
      delivery that was applied. Both are by the source's clock if the source sends its time.
    * `look_asked_at`: the time at which an inspection was requested. The worker that makes the inspection writes its
      result to `findings`.
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
    schools: Mapped[list[str]] = mapped_column(ARRAY(Text), default=list)
    excluded_users: Mapped[list[str]] = mapped_column(ARRAY(Text), default=list)
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
    url_sealed: Mapped[str | None] = mapped_column(deferred=True, deferred_raiseload=True)


class SisRun(JobColumns, HasChangeTime, TenantRow, Base):
    """One sync of a source: its state, its counts for each kind of record, and a sentence that describes the outcome.

    * A requested or scheduled run is `pending` from `due` on, until a worker claims it with a lease. It is then
      `running`, and ends as `applied`, `held`, `failed`, `dry`, or `skipped` if there is no new file.
    * A held run becomes `approved` or `discarded` by the `answer` of a person. An approved run becomes `applied`, or
      `failed_to_apply` if all attempts fail.
    * `plan`: for a held run, the digest of the plan and the header of each file; the planned rows are in staging
      tables. For a run that maps sourcedIds, `plan` has the parameters of the request until the run is planned.
    * `undoes`: the run that this run reverts.
    * `weighed`: for each limit on the changes of a run, whether this run stayed within it. `taken`: the imported file.
      `pulled_at`: the time of the source's data.
    * `listed`: the number of planned changes that are stored in `sis_planned_change`.
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
    exit_code: Mapped[int | None]
    rekeys: Mapped[list[Any]] = mapped_column(default=list)
    listed: Mapped[int] = mapped_column(default=0)


class SisQuarantine(TenantRow, Base):
    """A row that was not imported: file, row number (the header is row 1), sourcedId, field and code, but no value.

    `content` is a digest of the row. An `acknowledged` row does not affect the exit code of its run.
    """

    __tablename__ = "sis_quarantine"

    run_id: Mapped[UUID]
    kind: Mapped[str]
    file: Mapped[str]
    row_number: Mapped[int] = mapped_column(BigInteger)
    sourced_id: Mapped[str | None]
    field: Mapped[str]
    code: Mapped[str]
    content: Mapped[str | None]
    acknowledged: Mapped[bool] = mapped_column(default=False)


class SisAcknowledgement(TenantRow, Base):
    """A person's acknowledgement of a faulty row of a source.

    It ends when the content or the fault of the row changes.
    """

    __tablename__ = "sis_acknowledgement"

    source_id: Mapped[UUID]
    kind: Mapped[str]
    sourced_id: Mapped[str]
    field: Mapped[str]
    code: Mapped[str]
    content: Mapped[str]
    acknowledged_by: Mapped[str]
    acknowledged_at: Mapped[datetime]


class SisChange(TenantRow, Base):
    """One row that a run updated, restored or removed, with the values that it had before (its before-image).

    A created row is not logged, because the row itself names the run that created it (`arrived_in`). A created score is
    logged, without a before-image, because its row does not name the run. The action is `remove` if the source marked
    the row as deleted, and `absent` if a complete delivery no longer had it. From the time `expired_at` on, the
    before-image `before` is null, and the run cannot be undone any more.
    """

    __tablename__ = "sis_change"

    run_id: Mapped[UUID]
    kind: Mapped[str]
    row_id: Mapped[UUID]
    action: Mapped[str]
    before: Mapped[dict[str, Any] | None] = mapped_column(JSONB(none_as_null=True))
    expired_at: Mapped[datetime | None]


class SisPlannedChange(TenantRow, Base):
    """A row that a run would create, change or remove, if the run waits for approval (held) or is only tried (dry).

    * `fields`: a list for each column, with the value before the change and the value after it. If the values are
      personal, the list has digests of them instead, and `true` as a third item.
    * `student_id`: the student whom the row is about.
    * `org_ids`: the orgs to which the row belongs before or after the change.
    """

    __tablename__ = "sis_planned_change"

    run_id: Mapped[UUID]
    kind: Mapped[str]
    action: Mapped[str]
    row_id: Mapped[UUID]
    sourced_id: Mapped[str | None]
    student_id: Mapped[UUID | None]
    org_ids: Mapped[list[UUID]] = mapped_column(ARRAY(Uuid))
    fields: Mapped[dict[str, Any]]


class SisPlannedValue(TenantRow, Base):
    """The personal values of a planned change as plain text. For each column, the values before and after the change.

    `secured_area` is set for demographics: reading these values needs the same scope as reading demographics.
    """

    __tablename__ = "sis_planned_value"

    run_id: Mapped[UUID]
    student_id: Mapped[UUID | None]
    org_ids: Mapped[list[UUID]] = mapped_column(ARRAY(Uuid))
    secured_area: Mapped[str | None]
    personal: Mapped[dict[str, Any]]


class SisUpload(TenantRow, Base):
    """One part of a zip that was uploaded for a run. `place` is the position of the part in the zip.

    The row is deleted when the run has ended.
    """

    __tablename__ = "sis_upload"

    run_id: Mapped[UUID]
    place: Mapped[int]
    part: Mapped[bytes] = mapped_column(LargeBinary)


class SisLease(Tenant, Base):
    """The exclusive right of one process to sync a district until `leased_until`.

    `worker` is the name of the process.
    """

    __tablename__ = "sis_lease"

    holder: Mapped[UUID]
    worker: Mapped[str]
    taken_at: Mapped[datetime]
    renewed_at: Mapped[datetime]
    leased_until: Mapped[datetime]


class SisUploadSlot(Tenant, Base):
    """A slot for one upload. The number of slots limits how many uploads a district may send at the same time.

    A slot is free again when its lease has ended. `place` is the number of the slot.
    """

    __tablename__ = "sis_upload_slot"

    place: Mapped[int] = mapped_column(primary_key=True)
    holder: Mapped[UUID]
    taken_at: Mapped[datetime]
    leased_until: Mapped[datetime]


class SisNotice(JobColumns, TenantRow, Base):
    """A notice to people that a source's run was held, has failed, or is overdue. A worker sends it as a job.

    `kind` is the state of the run, or `overdue`. `channel` is email or chat. `state` is pending, sent, skipped if the
    channel has no recipients, or failed.
    """

    __tablename__ = "sis_notice"

    source_id: Mapped[UUID]
    run_id: Mapped[UUID | None]
    kind: Mapped[str]
    channel: Mapped[str]
    state: Mapped[str]
    due: Mapped[datetime]
    ended_at: Mapped[datetime | None]


class SisRecipients(Tenant, Base):
    """The people in a district who get the notices about syncs, in place of the operator's default recipients.

    The address of a chat is a secret.
    """

    __tablename__ = "sis_recipients"

    emails: Mapped[list[str]] = mapped_column(ARRAY(Text))
    chat_url_sealed: Mapped[str | None]
    changed_at: Mapped[datetime]
