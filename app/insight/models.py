"""Defines the table of the counts that are published when a screening window closes."""

from uuid import UUID

from sqlalchemy.orm import Mapped, mapped_column

from app.core.db import Base, TenantRow
from app.roster.models import Texts


class ScreeningCount(TenantRow, Base):
    """A published count of a closed window: how many students have the values in the row's `dimensions`.

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
