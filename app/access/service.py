"""Creates districts, clients and client secrets for the operator's commands. Each secret is shown only once."""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID
from zoneinfo import ZoneInfo

from sqlalchemy import Select, any_, cast, func, select, update
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.dialects.postgresql import UUID as PgUUID

from app.access.models import Client, ClientGrant, ClientSecret, District, TestClock, TokenRevocation
from app.access.permission import Can, is_scope
from app.access.work import Work, needs
from app.core.clock import now
from app.core.crypto import fingerprint
from app.core.errors import Conflict, Invalid, NotFound, Violation
from app.core.ids import new_id

SECRET_PREFIX = "aim_"  # noqa: S105  # a prefix for secret scanners, not a secret
LIVE_SECRETS = 2
MAX_TOKEN_LIFETIME = timedelta(hours=1)
"""The longest lifetime of a token. The record of a revocation is not needed longer, because the token has expired."""


@dataclass(frozen=True, slots=True)
class NewClient:
    """The input for a new client: its name, its scopes in this district, and its schools.

    An empty list of schools means the whole district.
    """

    name: str
    scopes: tuple[str, ...]
    school_ids: tuple[UUID, ...] = ()


@dataclass(frozen=True, slots=True)
class CreatedClient:
    """A new client with its secret, which is shown only this once."""

    client_id: UUID
    secret: str


@dataclass(frozen=True, slots=True)
class DistrictClient:
    """A client's access to one district. `secrets` is the number of its valid secrets, in all districts."""

    client_id: UUID
    name: str
    scopes: tuple[str, ...]
    school_ids: tuple[UUID, ...]
    granted_at: datetime
    revoked_at: datetime | None
    secrets: int


@needs(Can.OPERATE)
async def register_district(work: Work, slug: str, name: str, time_zone: str, *, is_sandbox: bool = False) -> None:
    """Creates the district of this unit of work; raises `Invalid` for an invalid short name or time zone.

    A sandbox district has a test clock.
    """
    violations = []
    if not slug.replace("-", "").isalnum() or not slug.isascii() or slug != slug.lower():
        violations.append(Violation("/slug", "slug.malformed", "A short name has a–z, 0–9 and hyphens only."))
    try:
        ZoneInfo(time_zone)
    except (KeyError, ValueError, OSError):
        violations.append(
            Violation("/time_zone", "time_zone.unknown", "This must be an IANA time zone, such as America/Chicago.")
        )
    if violations:
        raise Invalid(violations)
    work.db.add(District(district_id=work.district_id, slug=slug, name=name, time_zone=time_zone, created_at=now()))
    await work.db.flush()
    if is_sandbox:
        work.db.add(TestClock(district_id=work.district_id))
        await work.db.flush()


@needs(Can.OPERATE)
async def district_of(work: Work) -> District:
    """Returns the district of this unit of work."""
    return (await work.db.scalars(select(District).where(District.district_id == work.district_id))).one()


@needs(Can.OPERATE)
async def register_client(work: Work, new: NewClient) -> CreatedClient:
    """Creates a client with a grant in this district; returns the client's id and its secret.

    Raises `Invalid` for unknown scopes.
    """
    _refuse_unknown(new.scopes)
    client_id, secret = new_id(), generate_secret()
    work.db.add(Client(client_id=client_id, name=new.name, created_at=now()))
    await work.db.flush()
    work.db.add(ClientSecret(client_id=client_id, fingerprint=fingerprint(secret), created_at=now()))
    await _grant(work, client_id, new)
    return CreatedClient(client_id, secret)


@needs(Can.OPERATE)
async def grant_client(work: Work, client_id: UUID, new: NewClient) -> None:
    """Grants an existing client access to this district, for the first time or after a revocation."""
    _refuse_unknown(new.scopes)
    await _grant(work, client_id, new)


@needs(Can.OPERATE)
async def rotate_secret(work: Work, client_id: UUID, *, revoke_others: bool = False) -> str:
    """Creates a second secret for a client of this district and returns it.

    Raises `NotFound` for a client without access to this district, and `Conflict` if two secrets are already valid.
    """
    await client_with_access(work, client_id)
    if revoke_others:
        await work.db.execute(
            update(ClientSecret)
            .where(ClientSecret.client_id == client_id, ClientSecret.revoked_at.is_(None))
            .values(revoked_at=now())
        )
    live = await work.db.scalars(
        select(ClientSecret.fingerprint).where(ClientSecret.client_id == client_id, ClientSecret.revoked_at.is_(None))
    )
    if len(live.all()) >= LIVE_SECRETS:
        raise Conflict("Two secrets are valid already. Revoke one first.", code="client.secrets")
    secret = generate_secret()
    work.db.add(ClientSecret(client_id=client_id, fingerprint=fingerprint(secret), created_at=now()))
    await work.db.flush()
    return secret


@needs(Can.OPERATE)
async def clients_of_district(work: Work) -> Sequence[DistrictClient]:
    """Returns all clients that have or had access to this district, oldest first."""
    return await _read(work, _grants(work))


@needs(Can.OPERATE)
async def client_of_district(work: Work, client_id: UUID) -> DistrictClient:
    """Returns one client of this district; raises `NotFound` for a client without a grant in the district."""
    clients = await _read(work, _grants(work).where(ClientGrant.client_id == client_id))
    if not clients:
        raise NotFound("client")
    return clients[0]


@needs(Can.OPERATE)
async def client_with_access(work: Work, client_id: UUID) -> DistrictClient:
    """Returns a client that has access to this district; raises `NotFound` for any other client."""
    client = await client_of_district(work, client_id)
    if client.revoked_at is not None:
        raise NotFound("client")
    return client


@needs(Can.OPERATE)
async def revoke_client(work: Work, client_id: UUID) -> None:
    """Ends a client's access to this district and revokes every token that was issued for it.

    Raises `NotFound` for an unknown client, and `Conflict` if the access has already ended.
    """
    grant = await work.db.scalar(
        select(ClientGrant)
        .where(ClientGrant.district_id == work.district_id, ClientGrant.client_id == client_id)
        .with_for_update()
    )
    if grant is None:
        raise NotFound("client")
    if grant.revoked_at is not None:
        raise Conflict("The client's access to this district has been revoked already.", code="client.revoked")
    grant.revoked_at = now()
    await revoke_tokens(work, client_id)


@needs(Can.OPERATE)
async def revoke_tokens(work: Work, client_id: UUID, token_id: UUID | None = None) -> None:
    """Revokes one token of a client in this district, or all tokens issued until now if `token_id` is None."""
    at = now()
    work.db.add(
        TokenRevocation(
            district_id=work.district_id,
            id=new_id(),
            client_id=client_id,
            token_id=token_id,
            revoked_at=at,
            expires_at=at + MAX_TOKEN_LIFETIME,
        )
    )
    await work.db.flush()


def generate_secret() -> str:
    """Returns a new random client secret of 256 bits."""
    return SECRET_PREFIX + secrets.token_urlsafe(32)


async def _grant(work: Work, client_id: UUID, new: NewClient) -> None:
    grant = await work.db.scalar(
        select(ClientGrant).where(ClientGrant.district_id == work.district_id, ClientGrant.client_id == client_id)
    )
    if grant is None:
        grant = ClientGrant(district_id=work.district_id, client_id=client_id)
        work.db.add(grant)
    grant.scopes, grant.school_ids = sorted(set(new.scopes)), list(new.school_ids)
    grant.created_at, grant.revoked_at = now(), None
    await work.db.flush()


def _refuse_unknown(scopes: tuple[str, ...]) -> None:
    unknown = [scope for scope in scopes if not is_scope(scope)]
    if unknown:
        raise Invalid([Violation("/scopes", "scope.unknown", f"These scopes do not exist: {', '.join(unknown)}.")])


def _grants(work: Work) -> Select[ClientGrant, str]:
    return (
        select(ClientGrant, Client.name)
        .join(Client, Client.client_id == ClientGrant.client_id)
        .where(ClientGrant.district_id == work.district_id)
        .order_by(ClientGrant.created_at, ClientGrant.client_id)
    )


async def _read(work: Work, query: Select[ClientGrant, str]) -> list[DistrictClient]:
    rows = (await work.db.execute(query)).all()
    client_ids = [grant.client_id for grant, _ in rows]
    counts = await work.db.execute(
        select(ClientSecret.client_id, func.count())
        .where(ClientSecret.client_id == any_(cast(client_ids, ARRAY(PgUUID))), ClientSecret.revoked_at.is_(None))
        .group_by(ClientSecret.client_id)
    )
    secrets = {client_id: count for client_id, count in counts}  # noqa: C416  # rows are no tuples to mypy
    return [
        DistrictClient(
            grant.client_id,
            name,
            tuple(grant.scopes),
            tuple(grant.school_ids),
            grant.created_at,
            grant.revoked_at,
            secrets.get(grant.client_id, 0),
        )
        for grant, name in rows
    ]
