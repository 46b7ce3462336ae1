"""Defines the tables of signal rules, signals, and the progress of their computation."""

from datetime import date, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import ARRAY, Numeric, Text
from sqlalchemy.orm import Mapped, mapped_column

from app.access.listing import ListedBySchool
from app.core.db import Base, HasChangeTime, Tenant, TenantRow
from app.roster.models import AboutStudent, Ids


class SignalRule(HasChangeTime, TenantRow, Base):
    """A version of a rule that suggests signals. A published version is never changed, only replaced or retired.

    `area_id` is the area of the rule's signals, or None if the area follows from the data. `measure_id` restricts a
    rule of the kind `screening_under_cut` or `core_stall` to one measure. `incident_kinds` is for a rule of the kind
    `incidents`: it has the codes of the kinds of incidents that the rule counts. If it is empty, the rule counts all
    kinds.
    """

    __tablename__ = "signal_rule"

    code: Mapped[str]
    number: Mapped[int]
    kind: Mapped[str]
    parameters: Mapped[dict[str, Any]]
    area_id: Mapped[UUID | None]
    measure_id: Mapped[UUID | None]
    incident_kinds: Mapped[list[str]] = mapped_column(ARRAY(Text), default=list)
    published_by: Mapped[UUID | None]
    published_at: Mapped[datetime]
    retired_at: Mapped[datetime | None]


class Signal(ListedBySchool, HasChangeTime, AboutStudent, Base):
    """What a rule has found in a student's data. It is suggested, and then accepted, dismissed or merged.

    A suggested signal lapses if no rule finds it any more.

    * `digest` identifies the evidence. There is only one signal for a student, kind and digest, even if several rules
      find the same evidence.
    * The evidence is a screening score with its window, a support, results in a class, absences, or
      incidents.
    * `concern_id` is the concern that was created when the signal was accepted.
    * `merged_into` is the other signal into which this one was merged.
    """

    __tablename__ = "signal"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    rule_id: Mapped[UUID]
    kind: Mapped[str]
    area_id: Mapped[UUID]
    state: Mapped[str]
    digest: Mapped[str]
    seen_on: Mapped[date]
    score_id: Mapped[UUID | None]
    window_id: Mapped[UUID | None]
    support_id: Mapped[UUID | None]
    class_id: Mapped[UUID | None]
    result_ids: Mapped[list[UUID]] = mapped_column(Ids)
    attendance_ids: Mapped[list[UUID]] = mapped_column(Ids)
    incident_ids: Mapped[list[UUID]] = mapped_column(Ids)
    settled_by: Mapped[UUID | None]
    settled_at: Mapped[datetime | None]
    settled_because: Mapped[str | None]
    concern_id: Mapped[UUID | None]
    merged_into: Mapped[UUID | None]
    created_at: Mapped[datetime]
    version: Mapped[int]


class SignalProgress(Tenant, Base):
    """Records up to which changes of a district's data the signals were computed.

    * `full_on` is the day on which the signals of all students were last computed.
    * `until` is some minutes before the start of the last computation. The next computation reads all changes since
      then, because a transaction may have been committed late.
    * `digest` is a digest of what affects the signals of all students, such as the rules.
    * `read_students` are the students whose changes after `until` were already read, at least in part. `read_marks`
      has, for each of them, the sum of the times of the changes that were read. If the next computation finds the same
      sum, the student has no further changes, and is skipped.
    """

    __tablename__ = "signal_progress"

    district_id: Mapped[UUID] = mapped_column(primary_key=True)
    full_on: Mapped[date | None]
    until: Mapped[datetime | None]
    digest: Mapped[str]
    read_students: Mapped[list[UUID]] = mapped_column(Ids, deferred=True)
    read_marks: Mapped[list[Decimal]] = mapped_column(ARRAY(Numeric), deferred=True)


class SignalDue(AboutStudent, Base):
    """A student whose results in the gradebook have changed, so that the student's signals must be computed again.

    The change is marked here, because results do not store the time of their last change.
    """

    __tablename__ = "signal_due"

    student_id: Mapped[UUID] = mapped_column(primary_key=True)
    marked_at: Mapped[datetime]
