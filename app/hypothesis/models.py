"""Defines the table of hypotheses."""

from datetime import date, datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy import ARRAY, Text, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from app.access.listing import ListedBySchool
from app.core.db import Base, HasChangeTime
from app.roster.models import AboutStudent

NOT_DUE: Final = date(9999, 1, 1)
"""The date that means "not due" in the column by which lists are sorted.

Null cannot be used, because no page of a list can begin after a null. `date.max` would be stored as infinity.
"""


class Hypothesis(ListedBySchool, HasChangeTime, AboutStudent, Base):
    """A suspected cause of a concern, which a support can test: open, then testing, then closed with an outcome.

    * `evidence_for` and `evidence_against` are public ids of records about the student.
    * `support_id` is the support that tests the hypothesis.
    * `verdict_state` is the state of the support's verdict when the team last considered the verdict.
    * `due_since` is the day since which the hypothesis has been due for review, or `NOT_DUE`.
    * `verdict_id` and `dosage` are the support's verdict and dosage on the day on which the hypothesis was closed.
    """

    __tablename__ = "hypothesis"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    concern_id: Mapped[UUID]
    kind_id: Mapped[UUID]
    statement: Mapped[str]
    refuted_if: Mapped[str]
    evidence_for: Mapped[list[str]] = mapped_column(ARRAY(Text))
    evidence_against: Mapped[list[str]] = mapped_column(ARRAY(Text))
    state: Mapped[str]
    support_id: Mapped[UUID | None]
    testing_since: Mapped[date | None]
    verdict_state: Mapped[str | None]
    due_since: Mapped[date] = mapped_column(server_default=text("DATE '9999-01-01'"))
    due_because: Mapped[str | None]
    proposed_by: Mapped[UUID | None]
    proposed_by_client: Mapped[UUID | None]
    proposed_on: Mapped[date]
    closed_by: Mapped[UUID | None]
    closed_on: Mapped[date | None]
    closed_because: Mapped[str | None]
    verdict_id: Mapped[UUID | None]
    dosage: Mapped[dict[str, Any] | None] = mapped_column(JSONB(none_as_null=True))
    created_at: Mapped[datetime]
    version: Mapped[int]
