"""Owns the tables of webhooks: endpoints, deliveries, attempts, and how far each district is dispatched.

Never holds a secret in the clear.
"""

from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import ARRAY, BigInteger, Text
from sqlalchemy.dialects.postgresql import UUID as PgUUID
from sqlalchemy.orm import Mapped, mapped_column

from app.core.db import Base, Tenant, TenantRow
from app.core.jobs import JobColumns


class DeliveryState(StrEnum):
    """Where a delivery stands. The three ends are final until somebody asks for it again."""

    PENDING = "pending"
    DELIVERED = "delivered"
    FAILED = "failed"


class WebhookEndpoint(TenantRow, Base):
    """An address that gets events of some types, no further than its maker reaches.

    `school_ids` empty means the whole district; `opens` are the secured areas whose events it gets; events up to
    the number `after_seq` were there before it and are not sent. `versions` holds the payload's version by type, 1
    where it says nothing. Until `former_until` the secret before this one signs as well. `failing_since` is the first
    failure after the last success; until `slowed_until` nothing is sent.
    """

    __tablename__ = "webhook_endpoint"

    url: Mapped[str]
    description: Mapped[str | None]
    event_types: Mapped[list[str]] = mapped_column(ARRAY(Text))
    secret_sealed: Mapped[str]
    former_sealed: Mapped[str | None]
    former_until: Mapped[datetime | None]
    signature: Mapped[str] = mapped_column(default="hmac-sha256")
    public_key: Mapped[str | None]
    former_public_key: Mapped[str | None]
    versions: Mapped[dict[str, Any]] = mapped_column(default=dict)
    opens: Mapped[list[str]] = mapped_column(ARRAY(Text))
    school_ids: Mapped[list[UUID]] = mapped_column(ARRAY(PgUUID))
    after_seq: Mapped[int] = mapped_column(BigInteger)
    created_by: Mapped[UUID | None]
    created_at: Mapped[datetime]
    disabled_at: Mapped[datetime | None]
    disabled_because: Mapped[str | None]
    paused_at: Mapped[datetime | None]
    failing_since: Mapped[datetime | None]
    slowed_until: Mapped[datetime | None]
    removed_at: Mapped[datetime | None]
    version: Mapped[int]


class WebhookDelivery(JobColumns, TenantRow, Base):
    """One event on its way to one endpoint. An attempt's number in the log is the claim under which it was made."""

    __tablename__ = "webhook_delivery"

    endpoint_id: Mapped[UUID]
    event_seq: Mapped[int] = mapped_column(BigInteger)
    event_id: Mapped[UUID]
    state: Mapped[str]
    due: Mapped[datetime]
    created_at: Mapped[datetime]
    ended_at: Mapped[datetime | None]


class WebhookAttempt(TenantRow, Base):
    """One POST and what came of it: an HTTP status and how the answer begins, or the name of a failure.

    The answer is the receiver's text, as it came; nothing of ours is added to it. One of a private network is kept for
    the operator and shown to nobody: `shown_answer` is what a face may give out.
    """

    __tablename__ = "webhook_attempt"

    delivery_id: Mapped[UUID]
    number: Mapped[int]
    at: Mapped[datetime]
    milliseconds: Mapped[int]
    status: Mapped[int | None]
    failure: Mapped[str | None]
    answer: Mapped[str | None]
    from_private_network: Mapped[bool]

    @property
    def is_withheld(self) -> bool:
        """Whether there is an answer that a face may not give out."""
        return self.answer is not None and self.from_private_network

    @property
    def shown_answer(self) -> str | None:
        """How the receiver's answer begins, where a face may give it out."""
        return None if self.from_private_network else self.answer


class WebhookPosition(Tenant, Base):
    """The number of the last event of the district that was dispatched to its endpoints."""

    __tablename__ = "webhook_position"

    seq: Mapped[int] = mapped_column(BigInteger)
