"""Creates districts, clients and their secrets for the operator's commands. Each secret is shown only once."""

import secrets
from dataclasses import dataclass
from uuid import UUID
from zoneinfo import ZoneInfo

from sqlalchemy import select, update

from app.access.clients import client_with_access
from app.access.models import Client, ClientGrant, ClientSecret, District
from app.access.permission import Can, is_scope
from app.access.work import Work, needs
from app.core.clock import now
from app.core.crypto import fingerprint
from app.core.errors import Conflict, Invalid, Violation
from app.core.ids import new_id

SECRET_PREFIX = "aim_"  # noqa: S105  # a prefix by which secret scanners recognize our secrets, not a secret
LIVE_SECRETS = 2


@dataclass(frozen=True, slots=True)
class NewClient:
    """The input for a new client: its name, its scopes in this district, and its schools (none means the whole
    district).
    """

    name: str
    scopes: tuple[str, ...]
    school_ids: tuple[UUID, ...] = ()


@dataclass(frozen=True, slots=True)
class CreatedClient:
    """A new client with its secret, which is returned only once."""

    client_id: UUID
    secret: str


@needs(Can.OPERATE)
async def register_district(work: Work, slug: str, name: str, time_zone: str) -> None:
    """Creates the district of this unit of work; raises `Invalid` for an invalid short name or time zone."""
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


@needs(Can.OPERATE)
async def district_of(work: Work) -> District:
    """Returns the district of this unit of work."""
    return (await work.db.scalars(select(District).where(District.district_id == work.district_id))).one()


@needs(Can.OPERATE)
async def register_client(work: Work, new: NewClient) -> CreatedClient:
    """Creates a client with one secret and a grant in this district; raises `Invalid` for unknown scopes."""
    _refuse_unknown(new.scopes)
    client_id, secret = new_id(), generate_secret()
    work.db.add(Client(client_id=client_id, name=new.name, created_at=now()))
    await work.db.flush()
    work.db.add(ClientSecret(client_id=client_id, fingerprint=fingerprint(secret), created_at=now()))
    await _grant(work, client_id, new)
    return CreatedClient(client_id, secret)


@needs(Can.OPERATE)
async def grant_client(work: Work, client_id: UUID, new: NewClient) -> None:
    """Grants an existing client access to a further district, or again to one that had revoked it."""
    _refuse_unknown(new.scopes)
    await _grant(work, client_id, new)


@needs(Can.OPERATE)
async def rotate_secret(work: Work, client_id: UUID, *, revoke_others: bool = False) -> str:
    """Creates a second secret for a client of this district and returns it.

    Raises `NotFound` for a client without access to this district, `Conflict` if two secrets are valid already.
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


def generate_secret() -> str:
    """Returns a new random client secret of 256 bits."""
    return SECRET_PREFIX + secrets.token_urlsafe(32)


async def _grant(work: Work, client_id: UUID, new: NewClient) -> None:
    grant = await work.db.get(ClientGrant, (work.district_id, client_id))
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
