"""Defines the tables of what is kept of a screening window when it closes: each student's result, and the counts."""

from uuid import UUID

from sqlalchemy.orm import Mapped, mapped_column

from app.core.db import Base, TenantRow
from app.roster.models import AboutStudent, Texts


class ScreeningResult(AboutStudent, Base):
    """The result of one student by one measure in a closed window, as it was on that day.

    * `score_id`, `value`, `level` and `percentile` are None for a student who was not screened.
    * `level` is the rank of the level that the score suggests, and `level_before` that of the last window before.
    * `served` states whether a support in the area of the measure was planned or given.
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


class ScreeningCount(TenantRow, Base):
    """A published count of a closed window: the students with these values in the `dimensions`.

    A cell that is withheld has no row, so that a read cannot show it by mistake.
    """

    __tablename__ = "screening_count"

    window_id: Mapped[UUID]
    measure_id: Mapped[UUID]
    school_id: Mapped[UUID | None]
    grade: Mapped[str | None]
    level: Mapped[str | None]
    group_value: Mapped[str | None]
    dimensions: Mapped[list[str]] = mapped_column(Texts)
    students: Mapped[int]
    secured_area: Mapped[str | None]
