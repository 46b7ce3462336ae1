"""Defines the table of concerns."""

from datetime import date, datetime
from typing import Final
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.orm import Mapped, mapped_column

from app.access.listing import ListedBySchool
from app.core.db import Base, HasChangeTime
from app.roster.models import AboutStudent

SERVED: Final = date(9999, 1, 1)
"""Stands for "not unserved" in the column by which lists are sorted. A null would not work, because no page can begin
after it.
"""


class Concern(ListedBySchool, HasChangeTime, AboutStudent, Base):
    """A dated concern about one student in one area: raised, then accepted or dismissed, then resolved.

    * `repeats_id` is the dismissed concern that it raises again.
    * `unserved_since` is the day since which an accepted concern has had no active support; otherwise `SERVED`.
    """

    __tablename__ = "concern"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    area_id: Mapped[UUID]
    state: Mapped[str]
    description: Mapped[str]
    raised_by: Mapped[UUID | None]
    raised_by_client: Mapped[UUID | None]
    raised_on: Mapped[date]
    settled_by: Mapped[UUID | None]
    settled_at: Mapped[datetime | None]
    settled_because: Mapped[str | None]
    repeats_id: Mapped[UUID | None]
    unserved_since: Mapped[date] = mapped_column(server_default=text("DATE '9999-01-01'"))
    created_at: Mapped[datetime]
    version: Mapped[int]
