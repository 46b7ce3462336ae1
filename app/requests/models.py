"""Defines the table of requests that were sent with an idempotency key, with their responses."""

from datetime import datetime
from uuid import UUID

from sqlalchemy.orm import Mapped, mapped_column

from app.core.db import Base, Tenant


class IdempotentRequest(Tenant, Base):
    """A request that was executed under an idempotency key, with its response. The row is kept for a day.

    `digest` is a digest of the client, the operation and the key. `answer` is encrypted, because it contains records
    that the caller was shown.
    """

    __tablename__ = "idempotent_request"

    digest: Mapped[bytes] = mapped_column(primary_key=True)
    client_id: Mapped[UUID | None]
    operation: Mapped[str]
    at: Mapped[datetime]
    answer: Mapped[str]
