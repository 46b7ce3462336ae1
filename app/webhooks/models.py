"""Defines the tables of webhooks: endpoints, deliveries, attempts, and each district's last dispatched event.

Secrets are stored encrypted only.
"""

from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import ARRAY, BigInteger, Text
from sqlalchemy.dialects.postgresql import UUID as PgUUID
from sqlalchemy.orm import Mapped, mapped_column

from app.core.db import Base, HasChangeTime, Tenant, TenantRow
from app.core.jobs import JobColumns


class DeliveryState(StrEnum):
    """The state of a delivery: it waits, was delivered, or has failed for good.

    A delivery that has ended waits again only if somebody requests that it be sent again.
    """

    PENDING = "pending"
    DELIVERED = "delivered"
    FAILED = "failed"


class WebhookEndpoint(HasChangeTime, TenantRow, Base):
    """A URL that receives the events of certain types, about certain schools.

    * `school_ids` has these schools. It is empty for the whole district.
    * `opens` lists the secured areas whose events the endpoint receives.
    * `after_seq` is the number of the last event before the endpoint was created; such events are not sent.
    * `versions` maps event types to payload versions; a type that is missing has version 1.
    * `former_until` is the time until which deliveries are also signed with the previous secret.
    * `failing_since` is the time of the first failure since the last success.
    * `slowed_until` is the time until which nothing is sent, because the receiver is overloaded or requested a pause.
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
    """The delivery of one event to one endpoint, which may take several attempts."""

    __tablename__ = "webhook_delivery"

    endpoint_id: Mapped[UUID]
    event_seq: Mapped[int] = mapped_column(BigInteger)
    event_id: Mapped[UUID]
    state: Mapped[str]
    due: Mapped[datetime]
    created_at: Mapped[datetime]
    ended_at: Mapped[datetime | None]


class WebhookAttempt(TenantRow, Base):
    """One POST of a delivery and its result.

    The result is an HTTP status and the beginning of the response, or the name of a failure. The response is the
    receiver's text, unchanged. A response from a private network is stored for the operator and not shown to callers;
    `shown_answer` is the part that an API may return.
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
        """Returns whether the attempt had a response that an API must not return."""
        return self.answer is not None and self.from_private_network

    @property
    def shown_answer(self) -> str | None:
        """Returns the beginning of the receiver's response, or None if there is no response that an API may return."""
        return None if self.from_private_network else self.answer


class WebhookPosition(Tenant, Base):
    """The number of the last event of a district for which webhook deliveries were created."""

    __tablename__ = "webhook_position"

    seq: Mapped[int] = mapped_column(BigInteger)
