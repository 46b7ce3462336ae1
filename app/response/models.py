"""Owns the tables of verdicts and of each support's present state. A verdict is never changed."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy.orm import Mapped, mapped_column

from app.core.db import Base
from app.roster.models import AboutStudent, Ids


class VerdictRow(AboutStudent, Base):
    """What a rule said of a phase's series, with all that it rested on."""

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
    required_rate: Mapped[float]
    change_week: Mapped[int | None]
    rule: Mapped[str]
    rule_version: Mapped[int]
    parameters: Mapped[dict[str, Any]]
    score_ids: Mapped[list[UUID]] = mapped_column(Ids)
    playbook_version_id: Mapped[UUID]
    judged_at: Mapped[datetime]


class ResponseState(AboutStudent, Base):
    """The verdict that holds for a support now, and since when its state does."""

    __tablename__ = "response_state"

    support_id: Mapped[UUID] = mapped_column(primary_key=True)
    verdict_id: Mapped[UUID]
    state: Mapped[str]
    kind: Mapped[str | None]
    since: Mapped[datetime]
