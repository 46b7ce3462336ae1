"""Defines the tables of screening windows, of the measures that are expected in them, and of the stored results."""

from datetime import date, datetime
from uuid import UUID

from sqlalchemy.orm import Mapped, mapped_column

from app.core.db import Base, HasChangeTime, TenantRow
from app.roster.models import AboutStudent, Texts


class ScreeningWindow(HasChangeTime, TenantRow, Base):
    """A period in which students are screened, in one school or in all schools. `closes_on` is the day after its end.

    * `school_year` is the calendar year in which the school year ends.
    * `group_by` is a demographic group, such as sex, or None. The window's reports count students by this group.
    * `closed_at` is when the results were saved.
    * `playbook_number` is the version of the playbook that classified the results.
    """

    __tablename__ = "screening_window"

    season: Mapped[str]
    school_year: Mapped[int]
    school_id: Mapped[UUID | None]
    opens_on: Mapped[date]
    closes_on: Mapped[date]
    group_by: Mapped[str | None]
    state: Mapped[str]
    scheduled_by: Mapped[UUID | None]
    created_at: Mapped[datetime]
    closed_at: Mapped[datetime | None]
    playbook_number: Mapped[int | None]
    version: Mapped[int]


class ScreeningExpectation(TenantRow, Base):
    """A measure by which the students of some grades are to be screened in a window."""

    __tablename__ = "screening_expectation"

    window_id: Mapped[UUID]
    measure_id: Mapped[UUID]
    grades: Mapped[list[str]] = mapped_column(Texts)


class ScreeningResult(AboutStudent, Base):
    """The result of one student by one measure in a closed window, as it stood when the window closed.

    * `score_id`, `value`, `level` and `percentile` are None for a student who was not screened.
    * `level` is the rank of the level that the score suggests.
    * `level_before` is the student's level in an earlier window, by the same measure. If there are several such
      windows, it is the level in the latest one.
    * `served` states whether the student had a support that had not ended. The support must be in the area of the
      measure, or in an area above or below it.
    """

    __tablename__ = "screening_result"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    window_id: Mapped[UUID]
    measure_id: Mapped[UUID]
    grade: Mapped[str]
    score_id: Mapped[UUID | None]
    value: Mapped[float | None]
    level: Mapped[int | None]
    percentile: Mapped[float | None]
    level_before: Mapped[int | None]
    served: Mapped[bool]
