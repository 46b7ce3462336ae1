"""Defines the table of core stalls: grades whose share of students at the benchmark fell between two windows."""

from datetime import date, datetime
from uuid import UUID

from sqlalchemy.orm import Mapped

from app.core.db import Base, HasChangeTime, TenantRow


class CoreStall(HasChangeTime, TenantRow, Base):
    """A fall in the share of a grade's students who reach a measure's benchmark, between two screening windows.

    It is suggested, then accepted or dismissed. It lapses if it is no longer true. It is about a grade of one school,
    or of the whole district if `school_id` is None, and never about a class or a person.

    * `digest` identifies the evidence: the window, the measure, the school and the grade. It is unique.
    * `fell_by` is the fall in percentage points. `counted_at_least` is a lower limit for the number of students who
      were counted. Both are the values of the day `seen_on`. They are not updated after each later score, because the
      differences would reveal single students' results.
    """

    __tablename__ = "core_stall"

    rule_id: Mapped[UUID]
    window_id: Mapped[UUID]
    window_before_id: Mapped[UUID]
    measure_id: Mapped[UUID]
    area_id: Mapped[UUID]
    secured_area: Mapped[str | None]
    school_id: Mapped[UUID | None]
    grade: Mapped[str]
    state: Mapped[str]
    digest: Mapped[str]
    seen_on: Mapped[date]
    fell_by: Mapped[int]
    counted_at_least: Mapped[int]
    settled_by: Mapped[UUID | None]
    settled_at: Mapped[datetime | None]
    settled_because: Mapped[str | None]
    created_at: Mapped[datetime]
    version: Mapped[int]
