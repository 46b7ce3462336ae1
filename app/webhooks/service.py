"""Creates, changes and removes webhook endpoints. Sends nothing. A secret is returned only once.

This file exceeds 250 lines so that all commands on an endpoint are in one place.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert

from app.access.permission import Can
from app.access.principal import Reach
from app.access.work import Work, needs
from app.core.address import PUBLIC_ONLY, Allowed, validate_url
from app.core.clock import now
from app.core.errors import Forbidden, Invalid, Violation
from app.core.ids import new_id
from app.core.violations import KnownValues, Violations, broken_rules, known_values, partial_input
from app.events.catalogue import expand, is_version, newest
from app.events.models import EventCounter
from app.roster.lookup import find_row as roster_row
from app.roster.models import Org
from app.roster.references import parse
from app.webhooks import sign
from app.webhooks.models import WebhookEndpoint, WebhookPosition
from app.webhooks.queries import endpoint
from app.webhooks.sign import Signature

MAX_DESCRIPTION_LENGTH = 500
OVERLAP = timedelta(days=1)
MAX_OVERLAP = timedelta(days=7)


@dataclass(frozen=True, slots=True)
class NewEndpoint:
    """The input for a new endpoint.

    * `schools` may be empty, which means all schools that the caller may see.
    * `versions` has the requested payload version for each event type; a type that is missing gets the newest version.
    * `description` is a free note.
    """

    url: str
    event_types: tuple[str, ...]
    description: str | None = None
    schools: tuple[str, ...] = ()
    versions: Mapping[str, int] = field(default_factory=dict)
    signature: Signature = Signature.HMAC


@dataclass(frozen=True, slots=True)
class Change:
    """The changes to an endpoint.

    A field that is None leaves the stored value unchanged. An empty description removes the description.
    """

    url: str | None = None
    event_types: tuple[str, ...] | None = None
    description: str | None = None
    schools: tuple[str, ...] | None = None
    versions: Mapping[str, int] = field(default_factory=dict)


@needs(Can.MANAGE_WEBHOOKS, Can.READ_EVENTS)
async def register_endpoint(
    work: Work, new: NewEndpoint, allowed: Allowed = PUBLIC_ONLY
) -> tuple[WebhookEndpoint, str | None]:
    """Creates an endpoint for future events. Returns the endpoint with its secret, which is never shown again.

    The endpoint receives only events about what its creator may see. With ed25519 there is no secret, because the
    receiver verifies with the public key. Raises `Invalid` with every violation, and `Forbidden` for a caller who sees
    only a caseload, because a caseload changes over time.
    """
    if work.principal.reach is Reach.CASELOAD:
        detail = "A client with the reach of a district or of schools creates an endpoint, not a request for a person."
        raise Forbidden(detail, code="webhook.reach")
    violations = Violations(broken_rules(_RULES, new))
    with violations:
        url = validate_url(new.url, allowed)
    with violations:
        school_ids = await _schools(work, new.schools, violations)
    violations.refuse()
    last = await _begin_dispatch(work)
    row = WebhookEndpoint(
        district_id=work.district_id,
        id=new_id(),
        url=url,
        description=new.description,
        event_types=sorted(set(new.event_types)),
        versions=newest(expand(new.event_types), new.versions),
        signature=new.signature.value,
        opens=sorted(work.principal.opens),
        school_ids=school_ids,
        after_seq=last,
        created_by=work.principal.client_id,
        created_at=now(),
        version=1,
    )
    secret = _set_new_key(work, row)
    work.db.add(row)
    await work.db.flush()
    return row, secret


@needs(Can.MANAGE_WEBHOOKS, Can.READ_EVENTS)
async def change_endpoint(
    work: Work, endpoint_id: UUID, change: Change, allowed: Allowed = PUBLIC_ONLY
) -> WebhookEndpoint:
    """Changes the URL, the event types, the schools or the description of an endpoint.

    Waiting deliveries go to the new URL. An event type that was listed before keeps its payload version, unless another
    is requested. An added event type gets the newest version. Raises `NotFound` or `Invalid`.
    """
    row = await endpoint(work, endpoint_id, lock=True)
    violations = Violations()
    with violations:
        types = row.event_types if change.event_types is None else sorted(set(change.event_types))
    accepted = KnownValues(known_values(change))
    if accepted.get("event_types", ()) is None:
        accepted["event_types"] = row.event_types
    violations.add(broken_rules(_RULES, partial_input(Change, accepted)))
    with violations:
        url = row.url if change.url is None else validate_url(change.url, allowed)
    with violations:
        schools = row.school_ids if change.schools is None else await _schools(work, change.schools, violations)
    violations.refuse()
    kept = {name: row.versions.get(name, 1) for name in expand(row.event_types)}
    row.url, row.event_types, row.school_ids = url, types, schools
    row.versions = newest(expand(types), {**kept, **change.versions})
    if change.description is not None:
        row.description = change.description or None
    row.version += 1
    await work.db.flush()
    return row


@needs(Can.MANAGE_WEBHOOKS)
async def remove_endpoint(work: Work, endpoint_id: UUID) -> None:
    """Removes an endpoint, so that nothing more is sent to it, and keeps its delivery log. Raises `NotFound`."""
    row = await endpoint(work, endpoint_id, lock=True)
    row.removed_at = now()
    row.version += 1
    await work.db.flush()


@needs(Can.MANAGE_WEBHOOKS)
async def rotate_secret(
    work: Work, endpoint_id: UUID, overlap: timedelta = OVERLAP
) -> tuple[WebhookEndpoint, str | None]:
    """Gives an endpoint a new secret or private key. Returns the endpoint with its new secret.

    The secret is shown only once; for a private key it is None.

    Until the overlap ends, deliveries are also signed with the replaced secret or key. At most two sign at the same
    time: if the secret is rotated again during the overlap, the oldest one no longer signs. Raises `NotFound`, or
    `Invalid` for an invalid overlap.
    """
    if not timedelta(0) <= overlap <= MAX_OVERLAP:
        detail = f"An overlap lasts 0 to {int(MAX_OVERLAP.total_seconds())} seconds."
        raise Invalid([Violation("/overlap_seconds", "overlap.length", detail)])
    row = await endpoint(work, endpoint_id, lock=True)
    row.former_sealed = row.secret_sealed if overlap else None
    row.former_public_key = row.public_key if overlap else None
    row.former_until = now() + overlap if overlap else None
    secret = _set_new_key(work, row)
    row.version += 1
    await work.db.flush()
    return row, secret


@needs(Can.MANAGE_WEBHOOKS)
async def pause_endpoint(work: Work, endpoint_id: UUID) -> WebhookEndpoint:
    """Pauses an endpoint, so that its deliveries wait. Raises `NotFound`."""
    row = await endpoint(work, endpoint_id, lock=True)
    if row.paused_at is None:
        row.paused_at = now()
        row.version += 1
        await work.db.flush()
    return row


@needs(Can.MANAGE_WEBHOOKS)
async def resume_endpoint(work: Work, endpoint_id: UUID) -> WebhookEndpoint:
    """Resumes an endpoint that was paused, slowed down or disabled. Raises `NotFound`.

    The deliveries that wait are then sent. Failed deliveries, and events from the time when the endpoint was disabled,
    are sent only on request (`replay`).
    """
    row = await endpoint(work, endpoint_id, lock=True)
    if any((row.paused_at, row.disabled_at, row.failing_since, row.slowed_until)):
        row.paused_at = row.disabled_at = row.disabled_because = None
        row.failing_since = row.slowed_until = None
        row.version += 1
        await work.db.flush()
    return row


def _set_new_key(work: Work, row: WebhookEndpoint) -> str | None:
    """Stores a new encrypted secret or private key in an endpoint, as its signature method requires.

    Returns the secret for the receiver, or None for a private key, which the receiver does not need.
    """
    key = sign.generate_secret()
    row.secret_sealed = work.keyring.seal(key, "webhook_endpoint", work.district_id, row.id)
    if row.signature != Signature.ED25519:
        return sign.format_secret(key)
    row.public_key = sign.public_key(key)
    return None


async def _schools(work: Work, names: Sequence[str], violations: Violations) -> list[UUID]:
    """Returns the ids of the schools with these names (ids or external ids).

    Without names, returns the schools that the caller may see, or an empty list if this is the whole district. Adds a
    violation for each name that is not one of the caller's schools.
    """
    bound = list(work.principal.schools) if work.principal.reach is Reach.SCHOOLS else []
    chosen: list[UUID] = []
    for place, name in enumerate(names):
        pointer = f"/schools/{place}"
        with violations:
            school = await roster_row(work, Org, parse("org", name, pointer), pointer, Org.type == "school")
            if bound and school.id not in bound:
                detail = "There is no such org within this caller's reach."
                raise Invalid([Violation(pointer, "org.unknown", detail)])
            if school.id not in chosen:
                chosen.append(school.id)
    return chosen or bound


async def _begin_dispatch(work: Work) -> int:
    """Returns the number of the district's last event, and records it if no number is recorded for the district yet.

    Webhook deliveries are created only for events with a higher number than the recorded one.
    """
    in_district = EventCounter.district_id == work.district_id
    last = (await work.db.scalars(select(EventCounter.last).where(in_district))).one()
    first = select(EventCounter.district_id, EventCounter.last).where(in_district)
    await work.db.execute(insert(WebhookPosition).from_select(["district_id", "seq"], first).on_conflict_do_nothing())
    return last


def _types_of(new: NewEndpoint | Change) -> Sequence[str]:
    return new.event_types or ()


def _known_types(new: NewEndpoint | Change) -> list[Violation]:
    if not _types_of(new):
        return [Violation("/event_types", "event_types.empty", "Name at least one event type.")]
    detail = "There is no such event type. See GET /v1/event-types; `response.*` stands for all that begin so."
    return [
        Violation(f"/event_types/{place}", "event_type.unknown", detail)
        for place, name in enumerate(_types_of(new))
        if not expand([name])
    ]


def _known_versions(new: NewEndpoint | Change) -> list[Violation]:
    types = expand(_types_of(new))
    if all(name in types and is_version(name, version) for name, version in new.versions.items()):
        return []
    detail = "A version must belong to an event type of this endpoint and be listed in GET /v1/event-types."
    return [Violation("/versions", "event_type.version", detail)]


def _description(new: NewEndpoint | Change) -> list[Violation]:
    if new.description is None or _is_note(new.description):
        return []
    detail = f"A description has at most {MAX_DESCRIPTION_LENGTH} characters and no control characters."
    return [Violation("/description", "description.malformed", detail)]


_RULES = (_known_types, _known_versions, _description)


def _is_note(text: str) -> bool:
    return len(text) <= MAX_DESCRIPTION_LENGTH and all(letter.isprintable() or letter == "\n" for letter in text)
