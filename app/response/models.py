"""Defines the tables of verdicts, of each support's current state, of finalization jobs, and of calibrations.

Verdicts and calibrations are never changed.
"""

from datetime import date, datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy.orm import Mapped, mapped_column

from app.core.db import Base, TenantRow
from app.core.jobs import JobColumns
from app.roster.models import AboutStudent, Ids


class VerdictRow(AboutStudent, Base):
    """A stored verdict: the conclusion of a rule about the series of a phase, with everything on which it depends.

    * `measure_id`: the measure of the series.
    * `measures`: the number of measures of the support, among which the false-alarm rate is divided.
    * `last_on`, `last_week`: the day and the week of the last score that was taken into account.
    * `change_week`: the week around which growth slowed. `change_on`: the Monday of this week.
    * `slow`: the probability that growth is below half of the required rate. `short`: the probability that it is at
      least half of the required rate, but below the required rate. `on_pace`: the probability that growth reaches the
      required rate.
    * `label`: the verdict in a few words.
    * `retracts`: the earlier verdict whose alert this verdict retracts.
    * `calibration_id`: null if the published defaults applied.
    * `sem`: the measure's standard error of measurement at the time.
    """

    __tablename__ = "verdict"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    support_id: Mapped[UUID]
    phase_id: Mapped[UUID]
    measure_id: Mapped[UUID]
    measures: Mapped[int]
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
    slow: Mapped[float | None]
    short: Mapped[float | None]
    on_pace: Mapped[float | None]
    label: Mapped[str]
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
    """The present state of a support: its current verdict, and when this state began.

    * The beginning of the state is stored as an instant and as a date in the district's time zone.
    * `verdict_id`: the most serious of the current verdicts on its measures. `verdict_ids`: all its current verdicts.
    * `alert_id`: the verdict whose alert is active.
    * `memory`: what must be remembered about the alert, as `alerts.as_json` writes it.
    * `settled_on`: the Monday of the last week that was finalized (judged with a complete cohort).
    """

    __tablename__ = "response_state"

    support_id: Mapped[UUID] = mapped_column(primary_key=True)
    verdict_id: Mapped[UUID]
    state: Mapped[str]
    kind: Mapped[str | None]
    since: Mapped[datetime]
    since_on: Mapped[date]
    alert_id: Mapped[UUID | None]
    verdict_ids: Mapped[list[UUID]] = mapped_column(Ids)
    memory: Mapped[dict[str, Any]]
    settled_on: Mapped[date | None]


class FinalizationState(StrEnum):
    """The state of a job that judges series again: pending, done, or failed after its last attempt."""

    PENDING = "pending"
    FINALIZED = "settled"  # The names are those in the database.
    FAILED = "failed"


class FinalizationJob(JobColumns, TenantRow, Base):
    """A job that judges the series of a measure at a school again, because a week is complete or the rules changed.

    * `kind` states the reason.
    * A worker claims a job for a limited time. Only a limited number of jobs of one measure may be claimed at once.
    * A `quiet` job raises no alert. A job is quiet if the publisher of the rules requested no alerts, or if all scores
      of the week come from backfills.
    """

    __tablename__ = "settlement"

    kind: Mapped[str]
    measure_id: Mapped[UUID]
    school_id: Mapped[UUID]
    monday: Mapped[date]
    quiet: Mapped[bool]
    state: Mapped[str]
    due: Mapped[datetime]
    ended_at: Mapped[datetime | None]


class CalibrationRow(TenantRow, Base):
    """A calibration: estimates for a measure, over all grades or for one grade, from the district's own scores.

    `published` is true if there was too little data, so that the published defaults apply.
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
