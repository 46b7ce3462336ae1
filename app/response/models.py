"""Owns the tables of verdicts, of each support's present state, of what is still to settle, and of calibrations.

A verdict is never changed, nor is a calibration.
"""

from datetime import date, datetime
from typing import Any
from uuid import UUID

from sqlalchemy.orm import Mapped, mapped_column

from app.core.db import Base, TenantRow
from app.roster.models import AboutStudent, Ids


class VerdictRow(AboutStudent, Base):
    """What a rule said of a phase's series, with all that it rested on.

    `last_on`, `last_week`: of the last score that it knew. `change_on`: the Monday of the change week.
    `retracts`: the verdict whose alert this one takes back. `calibration_id`: none where the published defaults held.
    `sem`: the measure's standard error of measurement as it was then.
    """

    __tablename__ = "verdict"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    support_id: Mapped[UUID]
    phase_id: Mapped[UUID]
    number: Mapped[int]
    state: Mapped[str]
    kind: Mapped[str | None]
    because: Mapped[list[Any]]
    sentence: Mapped[str]
    statistic: Mapped[float | None]
    threshold: Mapped[float | None]
    rate: Mapped[float | None]
    rate_low: Mapped[float | None]
    rate_high: Mapped[float | None]
    odds: Mapped[float | None]
    stated_far: Mapped[float | None]
    required_rate: Mapped[float]
    change_week: Mapped[int | None]
    change_on: Mapped[date | None]
    last_on: Mapped[date | None]
    last_week: Mapped[int | None]
    rule: Mapped[str]
    rule_version: Mapped[int]
    parameters: Mapped[dict[str, Any]]
    score_ids: Mapped[list[UUID]] = mapped_column(Ids)
    playbook_version_id: Mapped[UUID]
    calibration_id: Mapped[UUID | None]
    sem: Mapped[float | None]
    retracts: Mapped[UUID | None]
    judged_at: Mapped[datetime]


class ResponseState(AboutStudent, Base):
    """The verdict that holds for a support now, and since when its state does.

    `alert_id`: the verdict whose alert stands. `memory`: what `alerts.Memory` keeps from week to week.
    `settled_on`: the Monday of the last week that was judged with the cohort complete.
    """

    __tablename__ = "response_state"

    support_id: Mapped[UUID] = mapped_column(primary_key=True)
    verdict_id: Mapped[UUID]
    state: Mapped[str]
    kind: Mapped[str | None]
    since: Mapped[datetime]
    alert_id: Mapped[UUID | None]
    memory: Mapped[dict[str, Any]]
    settled_on: Mapped[date | None]


class Settlement(TenantRow, Base):
    """That a measure's series at a school are to be judged again: their week is in (`week`), or the rules changed.

    Claimed with a lease by measure. `quiet`: rules that raise no alerts, or a week of which nothing but backfills came.
    """

    __tablename__ = "settlement"

    kind: Mapped[str]
    measure_id: Mapped[UUID]
    school_id: Mapped[UUID]
    monday: Mapped[date]
    quiet: Mapped[bool]
    state: Mapped[str]
    due: Mapped[datetime]
    attempts: Mapped[int]
    leased_until: Mapped[datetime | None]
    ended_at: Mapped[datetime | None]


class CalibrationRow(TenantRow, Base):
    """What was estimated of a measure (in a grade) from the district's own scores, or why the defaults hold.

    `published` says that there was too little data, and that the published defaults hold.
    """

    __tablename__ = "calibration"

    number: Mapped[int]
    measure_id: Mapped[UUID]
    grade: Mapped[str | None]
    made_at: Mapped[datetime]
    series: Mapped[int]
    scores: Mapped[int]
    published: Mapped[bool]
    estimates: Mapped[dict[str, Any]]
    report: Mapped[dict[str, Any]]
