"""Defines the tables of districts, of clients with their grants, and of the disclosure log.

Secrets are stored only as hashes.
"""

from datetime import date, datetime
from uuid import UUID

from sqlalchemy import ARRAY, Text
from sqlalchemy.dialects.postgresql import UUID as PgUUID
from sqlalchemy.orm import Mapped, mapped_column

from app.core.db import Base, Tenant, TenantRow


class District(Tenant, Base):
    """A district, with its name, the short name that commands use, and its time zone."""

    __tablename__ = "district"

    slug: Mapped[str]
    name: Mapped[str]
    time_zone: Mapped[str]
    created_at: Mapped[datetime]


class TestClock(Tenant, Base):
    """The test clock of a sandbox district: the day that counts as today; null means the real day.

    Only sandbox districts have a row.
    """

    __tablename__ = "test_clock"

    today: Mapped[date | None]
    moved_at: Mapped[datetime | None]


class LockOfDistrict(Tenant, Base):
    """A row that a transaction locks, so that other transactions of the same district wait.

    `name` is the purpose of the lock (see `DistrictLock`). Locks with different purposes do not wait for each other.
    """

    __tablename__ = "district_lock"

    name: Mapped[str] = mapped_column(primary_key=True)


class Client(Base):
    """A machine client. It belongs to no district, because it may serve several.

    `origins` are the origins of the web pages that may send requests with its tokens.
    """

    __tablename__ = "client"

    client_id: Mapped[UUID] = mapped_column(primary_key=True)
    name: Mapped[str]
    created_at: Mapped[datetime]
    origins: Mapped[list[str]] = mapped_column(ARRAY(Text), default=list, server_default="{}")


class ClientSecret(Base):
    """One hashed secret of a client. While a new secret replaces an old one, both may be valid."""

    __tablename__ = "client_secret"

    client_id: Mapped[UUID] = mapped_column(primary_key=True)
    fingerprint: Mapped[str] = mapped_column(primary_key=True)
    created_at: Mapped[datetime]
    revoked_at: Mapped[datetime | None]


class ClientGrant(Tenant, Base):
    """The scopes and schools that a client was granted in one district; an empty list of schools means all schools."""

    __tablename__ = "client_grant"

    client_id: Mapped[UUID] = mapped_column(primary_key=True)
    scopes: Mapped[list[str]] = mapped_column(ARRAY(Text))
    school_ids: Mapped[list[UUID]] = mapped_column(ARRAY(PgUUID))
    created_at: Mapped[datetime]
    revoked_at: Mapped[datetime | None]


class TokenRevocation(TenantRow, Base):
    """A revocation of a client's tokens before they expire.

    With a `token_id`, only that token is revoked. Without a `token_id`, every token of the client that was issued up to
    the time of the revocation is revoked.
    """

    __tablename__ = "token_revocation"

    client_id: Mapped[UUID]
    token_id: Mapped[UUID | None]
    revoked_at: Mapped[datetime]
    expires_at: Mapped[datetime]


class Disclosure(TenantRow, Base):
    """A row of the disclosure log: who was shown records about which students.

    It also says which kinds of records these were, which operation showed them, and when.
    """

    __tablename__ = "disclosure"

    at: Mapped[datetime]
    client_id: Mapped[UUID | None]
    person_id: Mapped[UUID | None]
    principal: Mapped[str]
    operation: Mapped[str]
    student_ids: Mapped[list[UUID]] = mapped_column(ARRAY(PgUUID))
    kinds: Mapped[list[str]] = mapped_column(ARRAY(Text))
