"""Defines the table of calendar links."""

from datetime import date, datetime
from uuid import UUID

from sqlalchemy.orm import Mapped

from app.core.db import Base, HasChangeTime, TenantRow


class CalendarLink(HasChangeTime, TenantRow, Base):
    """A link that opens the meetings of one team, or of all teams of a person, to whoever has its secret.

    * `digest` is the digest of the secret, which is not stored.
    * `person_id` is the person for whom the link was created, and `created_by` is the client that created it. At the
      time of a request, the link opens only what this person and this client may both read.
    * `until_on` is the first day on which the link no longer opens anything.
    """

    __tablename__ = "calendar_link"

    digest: Mapped[str]
    team_id: Mapped[UUID | None]
    person_id: Mapped[UUID | None]
    created_by: Mapped[UUID]
    created_on: Mapped[date]
    until_on: Mapped[date]
    revoked_at: Mapped[datetime | None]
    revoked_because: Mapped[str | None]
    created_at: Mapped[datetime]
    version: Mapped[int]
