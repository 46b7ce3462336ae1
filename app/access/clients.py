"""Reads the clients of a district for the operator's commands, and ends their access.

A client may serve several districts. A district ends only its own grant, and only the tokens that were issued for it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import Select, any_, cast, func, select
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.dialects.postgresql import UUID as PgUUID

from app.access.models import Client, ClientGrant, ClientSecret, TokenRevocation
from app.access.permission import Can
from app.access.work import Work, needs
from app.core.clock import now
from app.core.errors import Conflict, NotFound
from app.core.ids import new_id

LONGEST_TOKEN = timedelta(hours=1)
"""The longest life that a token can have; a revocation is needed for no longer."""


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
async def clients_of_district(work: Work) -> Sequence[DistrictClient]:
    """Returns every client that has, or had, access to this district, oldest first."""
    return await _read(work, _grants(work))


@needs(Can.OPERATE)
async def client_of_district(work: Work, client_id: UUID) -> DistrictClient:
    """Returns one client of this district; raises `NotFound` for one without a grant here."""
    clients = await _read(work, _grants(work).where(ClientGrant.client_id == client_id))
    if not clients:
        raise NotFound("client")
    return clients[0]


@needs(Can.OPERATE)
async def client_with_access(work: Work, client_id: UUID) -> DistrictClient:
    """Returns a client that has access to this district; raises `NotFound` for any other."""
    client = await client_of_district(work, client_id)
    if client.revoked_at is not None:
        raise NotFound("client")
    return client


@needs(Can.OPERATE)
async def revoke_client(work: Work, client_id: UUID) -> None:
    """Ends a client's access to this district, with every token issued for it; raises `NotFound` or `Conflict`."""
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
    """Revokes one token of a client in this district, or without `token_id` all that were issued until now."""
    at = now()
    work.db.add(
        TokenRevocation(
            district_id=work.district_id,
            id=new_id(),
            client_id=client_id,
            token_id=token_id,
            revoked_at=at,
            expires_at=at + LONGEST_TOKEN,
        )
    )
    await work.db.flush()


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
    secrets = dict(row.tuple() for row in counts)
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
