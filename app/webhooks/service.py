"""Owns how endpoints come to be, change and go. Never sends, and shows a secret once only."""

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
from app.events.catalogue import CATALOGUE, is_version, newest
from app.events.models import EventCounter
from app.roster.lookup import find_row as roster_row
from app.roster.models import Org
from app.roster.references import parse
from app.webhooks import sign
from app.webhooks.models import WebhookEndpoint, WebhookPosition
from app.webhooks.queries import endpoint
from app.webhooks.sign import Signature

LONGEST_DESCRIPTION = 500
OVERLAP = timedelta(days=1)
LONGEST_OVERLAP = timedelta(days=7)


@dataclass(frozen=True, slots=True)
class NewEndpoint:
    """An endpoint to be made: where events go, which types, of which schools (all in reach, where none is named).

    `versions` names the payload's version by type where it is not to be the newest; `description` is a note of its
    maker's.
    """

    url: str
    event_types: tuple[str, ...]
    description: str | None = None
    schools: tuple[str, ...] = ()
    versions: Mapping[str, int] = field(default_factory=dict)
    signature: Signature = Signature.HMAC


@dataclass(frozen=True, slots=True)
class Change:
    """What is different of an endpoint; what is None stays. An empty description takes it away."""

    url: str | None = None
    event_types: tuple[str, ...] | None = None
    description: str | None = None
    schools: tuple[str, ...] | None = None
    versions: Mapping[str, int] = field(default_factory=dict)


@needs(Can.MANAGE_WEBHOOKS, Can.READ_EVENTS)
async def register_endpoint(
    work: Work, new: NewEndpoint, allowed: Allowed = PUBLIC_ONLY
) -> tuple[WebhookEndpoint, str | None]:
    """Makes an endpoint that gets what happens from now on, as far as its maker reaches; with its secret, shown once.

    With ed25519 there is none to show: the receiver verifies with the public key. Raises `Invalid` with every
    violation; `Forbidden` to who has a caseload only, which changes under an endpoint.
    """
    if work.principal.reach is Reach.CASELOAD:
        detail = "An endpoint is made by a client with the reach of a district or of schools, not for a person."
        raise Forbidden(detail, code="webhook.reach")
    violations = _misfits(new.event_types, new.description, new.versions)
    url = _checked(new.url, allowed, violations)
    school_ids = await _schools(work, new.schools, violations)
    if violations:
        raise Invalid(violations)
    last = await _begin_dispatch(work)
    made = WebhookEndpoint(
        district_id=work.district_id,
        id=new_id(),
        url=url,
        description=new.description,
        event_types=sorted(set(new.event_types)),
        versions=newest(new.event_types, new.versions),
        signature=new.signature.value,
        opens=sorted(work.principal.opens),
        school_ids=school_ids,
        after_seq=last,
        created_by=work.principal.client_id,
        created_at=now(),
        version=1,
    )
    shown = _give_key(work, made)
    work.db.add(made)
    await work.db.flush()
    return made, shown


@needs(Can.MANAGE_WEBHOOKS, Can.READ_EVENTS)
async def change_endpoint(
    work: Work, endpoint_id: UUID, change: Change, allowed: Allowed = PUBLIC_ONLY
) -> WebhookEndpoint:
    """Changes where events go, and which; deliveries that wait go to the new address. Raises `NotFound`, `Invalid`.

    A type that it kept stays in its version, unless another is named; one that is added is told in the newest.
    """
    made = await endpoint(work, endpoint_id)
    types = made.event_types if change.event_types is None else sorted(set(change.event_types))
    violations = _misfits(types, change.description, change.versions)
    url = made.url if change.url is None else _checked(change.url, allowed, violations)
    schools = made.school_ids if change.schools is None else await _schools(work, change.schools, violations)
    if violations:
        raise Invalid(violations)
    kept = {name: made.versions.get(name, 1) for name in made.event_types}
    made.url, made.event_types, made.school_ids = url, types, schools
    made.versions = newest(types, {**kept, **change.versions})
    if change.description is not None:
        made.description = change.description or None
    made.version += 1
    await work.db.flush()
    return made


@needs(Can.MANAGE_WEBHOOKS)
async def remove_endpoint(work: Work, endpoint_id: UUID) -> None:
    """Removes an endpoint: it gets nothing more, and what it got stays in the log. Raises `NotFound`."""
    found = await endpoint(work, endpoint_id)
    found.removed_at = now()
    found.version += 1
    await work.db.flush()


@needs(Can.MANAGE_WEBHOOKS)
async def rotate_secret(
    work: Work, endpoint_id: UUID, overlap: timedelta = OVERLAP
) -> tuple[WebhookEndpoint, str | None]:
    """Gives an endpoint a new secret, shown once, or key; until the overlap ends the one before it signs as well.

    At most two sign: rotating again ends the older one. Raises `NotFound`; `Invalid` for an overlap that is too long.
    """
    if not timedelta(0) <= overlap <= LONGEST_OVERLAP:
        detail = f"An overlap lasts 0 to {int(LONGEST_OVERLAP.total_seconds())} seconds."
        raise Invalid([Violation("/overlap_seconds", "overlap.length", detail)])
    found = await endpoint(work, endpoint_id)
    found.former_sealed = found.secret_sealed if overlap else None
    found.former_public_key = found.public_key if overlap else None
    found.former_until = now() + overlap if overlap else None
    shown = _give_key(work, found)
    found.version += 1
    await work.db.flush()
    return found, shown


@needs(Can.MANAGE_WEBHOOKS)
async def pause_endpoint(work: Work, endpoint_id: UUID) -> WebhookEndpoint:
    """Holds back what an endpoint would get; it waits. Raises `NotFound`."""
    found = await endpoint(work, endpoint_id)
    if found.paused_at is None:
        found.paused_at = now()
        found.version += 1
        await work.db.flush()
    return found


@needs(Can.MANAGE_WEBHOOKS)
async def resume_endpoint(work: Work, endpoint_id: UUID) -> WebhookEndpoint:
    """Opens an endpoint that was paused, slowed down or disabled. Raises `NotFound`.

    What waited is sent. What failed, or happened while it was disabled, is sent when it is asked for: `replay`.
    """
    found = await endpoint(work, endpoint_id)
    if any((found.paused_at, found.disabled_at, found.failing_since, found.slowed_until)):
        found.paused_at = found.disabled_at = found.disabled_because = None
        found.failing_since = found.slowed_until = None
        found.version += 1
        await work.db.flush()
    return found


def _give_key(work: Work, made: WebhookEndpoint) -> str | None:
    """Seals a new secret or key into an endpoint; the secret as its receiver keeps it, of a key nothing."""
    key = sign.generate_secret()
    made.secret_sealed = work.keyring.seal(key, "webhook_endpoint", work.district_id, made.id)
    if made.signature != Signature.ED25519:
        return sign.format_secret(key)
    made.public_key = sign.public_key(key)
    return None


async def _schools(work: Work, names: Sequence[str], violations: list[Violation]) -> list[UUID]:
    """The schools named, each within the caller's reach; where none is named, the caller's own, or all (none)."""
    bound = list(work.principal.schools) if work.principal.reach is Reach.SCHOOLS else []
    chosen: list[UUID] = []
    for place, name in enumerate(names):
        pointer = f"/schools/{place}"
        try:
            school = await roster_row(work, Org, parse("org", name, pointer), pointer, Org.type == "school")
        except Invalid as error:
            violations += error.violations
            continue
        if bound and school.id not in bound:
            detail = "There is no such org within this caller's reach."
            violations.append(Violation(pointer, "org.unknown", detail))
        elif school.id not in chosen:
            chosen.append(school.id)
    return chosen or bound


async def _begin_dispatch(work: Work) -> int:
    """The number of the district's last event; with the first endpoint, dispatch begins there: no history is sent."""
    here = EventCounter.district_id == work.district_id
    last = (await work.db.scalars(select(EventCounter.last).where(here))).one()
    first = select(EventCounter.district_id, EventCounter.last).where(here)
    await work.db.execute(insert(WebhookPosition).from_select(["district_id", "seq"], first).on_conflict_do_nothing())
    return last


def _checked(url: str, allowed: Allowed, violations: list[Violation]) -> str:
    """The URL in its one spelling; adds what is wrong with it."""
    try:
        return validate_url(url, allowed)
    except Invalid as error:
        violations += error.violations
        return ""


def _misfits(types: Sequence[str], description: str | None, versions: Mapping[str, int]) -> list[Violation]:
    """What is wrong with the types, the versions and the note of an endpoint."""
    violations: list[Violation] = []
    if not types:
        violations.append(Violation("/event_types", "event_types.empty", "Name at least one type of event."))
    for place, name in enumerate(types):
        if name not in CATALOGUE:
            detail = "There is no such type of event. The catalogue has them all."
            violations.append(Violation(f"/event_types/{place}", "event_type.unknown", detail))
    if not all(name in types and is_version(name, version) for name, version in versions.items()):
        detail = "A version is named for a type of this endpoint, and is one that GET /v1/event-types has."
        violations.append(Violation("/versions", "event_type.version", detail))
    if description is not None and not _is_note(description):
        detail = f"A description has at most {LONGEST_DESCRIPTION} characters and no control characters."
        violations.append(Violation("/description", "description.malformed", detail))
    return violations


def _is_note(text: str) -> bool:
    return len(text) <= LONGEST_DESCRIPTION and all(letter.isprintable() or letter == "\n" for letter in text)
