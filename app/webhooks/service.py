"""Owns how endpoints come to be, change and go, and what is sent again. Never sends, and shows a secret once only."""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Insert, Row, and_, func, or_, select, update
from sqlalchemy.dialects.postgresql import insert

from app.access.permission import Can
from app.access.principal import Reach
from app.access.work import Work, needs
from app.core.address import PUBLIC_ONLY, Allowed, checked_url
from app.core.clock import now
from app.core.errors import Conflict, Forbidden, Invalid, Violation
from app.core.ids import new_id
from app.events.catalogue import CATALOGUE, ENDPOINT_TESTED, Happened
from app.events.models import Event, EventCounter
from app.events.outbox import record
from app.webhooks import sign
from app.webhooks.models import DeliveryState, WebhookDelivery, WebhookEndpoint, WebhookPosition
from app.webhooks.queries import Delivered, delivery, endpoint, matches

LONGEST_DESCRIPTION = 500
OVERLAP = timedelta(days=1)
LONGEST_OVERLAP = timedelta(days=7)
MISSING_AT_ONCE = 1000


@dataclass(frozen=True, slots=True)
class NewEndpoint:
    """An endpoint to be made: where events go, which types, and a note of its maker's."""

    url: str
    event_types: tuple[str, ...]
    description: str | None = None


@needs(Can.MANAGE_WEBHOOKS, Can.READ_EVENTS)
async def register_endpoint(
    work: Work, new: NewEndpoint, allowed: Allowed = PUBLIC_ONLY
) -> tuple[WebhookEndpoint, str]:
    """Makes an endpoint that gets what happens from now on, as far as its maker reaches; with its secret, shown once.

    Raises `Invalid` with every violation; `Forbidden` to who has a caseload only, which changes under an endpoint.
    """
    if work.principal.reach is Reach.CASELOAD:
        detail = "An endpoint is made by a client with the reach of a district or of schools, not for a person."
        raise Forbidden(detail, code="webhook.reach")
    url = _fit(new, allowed)
    last = await _begin_dispatch(work)
    endpoint_id, secret = new_id(), secrets.token_bytes(sign.SECRET_BYTES)
    made = WebhookEndpoint(
        district_id=work.district_id,
        id=endpoint_id,
        url=url,
        description=new.description,
        event_types=sorted(set(new.event_types)),
        secret_sealed=work.keyring.seal(secret, "webhook_endpoint", work.district_id, endpoint_id),
        opens=sorted(work.principal.opens),
        school_ids=list(work.principal.schools) if work.principal.reach is Reach.SCHOOLS else [],
        after_seq=last,
        created_by=work.principal.client_id,
        created_at=now(),
        version=1,
    )
    work.db.add(made)
    await work.db.flush()
    return made, sign.shown(secret)


@needs(Can.MANAGE_WEBHOOKS)
async def remove_endpoint(work: Work, endpoint_id: UUID) -> None:
    """Removes an endpoint: it gets nothing more, and what it got stays in the log. Raises `NotFound`."""
    found = await endpoint(work, endpoint_id)
    found.removed_at = now()
    found.version += 1
    await work.db.flush()


@needs(Can.MANAGE_WEBHOOKS)
async def rotate_secret(work: Work, endpoint_id: UUID, overlap: timedelta = OVERLAP) -> tuple[WebhookEndpoint, str]:
    """Gives an endpoint a new secret, shown once; until the overlap ends the one before it signs as well.

    At most two sign: rotating again ends the older one. Raises `NotFound`; `Invalid` for an overlap that is too long.
    """
    if not timedelta(0) <= overlap <= LONGEST_OVERLAP:
        detail = f"An overlap lasts 0 to {int(LONGEST_OVERLAP.total_seconds())} seconds."
        raise Invalid([Violation("/overlap_seconds", "overlap.length", detail)])
    found, secret = await endpoint(work, endpoint_id), secrets.token_bytes(sign.SECRET_BYTES)
    found.former_sealed = found.secret_sealed if overlap else None
    found.former_until = now() + overlap if overlap else None
    found.secret_sealed = work.keyring.seal(secret, "webhook_endpoint", work.district_id, endpoint_id)
    found.version += 1
    await work.db.flush()
    return found, sign.shown(secret)


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


@needs(Can.MANAGE_WEBHOOKS)
async def send_test(work: Work, endpoint_id: UUID) -> UUID:
    """Lays `endpoint.tested` for this endpoint alone, whatever types it takes; the event's id.

    Raises `NotFound`; `Conflict` where nothing is sent to it.
    """
    found = await _open(work, endpoint_id)
    return record(work, Happened(ENDPOINT_TESTED, found.id, found.version, {}))


@needs(Can.MANAGE_WEBHOOKS)
async def resend(work: Work, endpoint_id: UUID, delivery_id: UUID) -> Delivered:
    """Sends one delivery again, whatever came of it, with the same id and body. Raises `NotFound`, `Conflict`.

    One that is on its way at this moment is left alone.
    """
    await _open(work, endpoint_id)
    await delivery(work, endpoint_id, delivery_id)
    await work.db.execute(
        _again(work.district_id).where(WebhookDelivery.endpoint_id == endpoint_id, WebhookDelivery.id == delivery_id)
    )
    return await delivery(work, endpoint_id, delivery_id)


@needs(Can.MANAGE_WEBHOOKS)
async def replay_failed(work: Work, endpoint_id: UUID, since: datetime) -> int:
    """Sends again all that failed for good since an instant; how many deliveries. Raises `NotFound`, `Conflict`."""
    await _open(work, endpoint_id)
    mine = (WebhookDelivery.district_id == work.district_id, WebhookDelivery.endpoint_id == endpoint_id)
    # Through the events: row-level security leaves out those that the caller cannot read.
    failed = (
        select(WebhookDelivery.id)
        .join(Event, and_(Event.district_id == work.district_id, Event.seq == WebhookDelivery.event_seq))
        .where(*mine, WebhookDelivery.state == DeliveryState.FAILED.value, Event.at >= since)
    )
    again = _again(work.district_id).where(*mine, WebhookDelivery.id.in_(failed)).returning(WebhookDelivery.id)
    return len((await work.db.scalars(again)).all())


@needs(Can.MANAGE_WEBHOOKS)
async def replay_missing(work: Work, endpoint_id: UUID, since: datetime) -> int:
    """Sends what happened since an instant and was never meant for this endpoint until now; how many deliveries.

    That is what happened before it was made, or while it was disabled; oldest first, at most 1,000 at a time. Raises
    `NotFound`, `Conflict`.
    """
    await _open(work, endpoint_id)
    last = select(EventCounter.last).where(EventCounter.district_id == work.district_id)
    upto = (await work.db.scalars(last)).one()
    query = matches(work.district_id, 0, upto, again=endpoint_id).where(Event.at >= since)
    pairs = (await work.db.execute(query.limit(MISSING_AT_ONCE))).all()
    if pairs:
        await work.db.execute(*laid(work.district_id, pairs))
    return len(pairs)


def laid(district_id: UUID, pairs: Sequence[Row[int, UUID, UUID]]) -> tuple[Insert, list[dict[str, Any]]]:
    """The statement and the rows of deliveries that begin: of events, by number and id, to endpoints."""
    fresh = insert(WebhookDelivery).values(
        district_id=district_id,
        state=DeliveryState.PENDING.value,
        due=func.now(),
        attempts=0,
        asked_after=0,
        created_at=func.now(),
    )
    rows = [
        {"id": new_id(), "event_seq": seq, "event_id": event_id, "endpoint_id": endpoint_id}
        for seq, event_id, endpoint_id in pairs
    ]
    return fresh.on_conflict_do_nothing(), rows


def _again(district_id: UUID) -> Any:
    """Deliveries that nobody holds are due now, and their waits begin anew."""
    free = or_(WebhookDelivery.leased_until.is_(None), WebhookDelivery.leased_until <= func.now())
    return (
        update(WebhookDelivery)
        .where(WebhookDelivery.district_id == district_id, free)
        .values(
            state=DeliveryState.PENDING.value,
            due=func.now(),
            asked_after=WebhookDelivery.attempts,
            leased_until=None,
            ended_at=None,
        )
    )


async def _open(work: Work, endpoint_id: UUID) -> WebhookEndpoint:
    """The endpoint, to which something can be sent now; raises `NotFound`, `Conflict`."""
    found = await endpoint(work, endpoint_id)
    if found.disabled_at is not None or found.paused_at is not None:
        raise Conflict("Nothing is sent to this endpoint: resume it first.", code="endpoint.closed")
    return found


async def _begin_dispatch(work: Work) -> int:
    """The number of the district's last event; with the first endpoint, dispatch begins there: no history is sent."""
    here = EventCounter.district_id == work.district_id
    last = (await work.db.scalars(select(EventCounter.last).where(here))).one()
    first = select(EventCounter.district_id, EventCounter.last).where(here)
    await work.db.execute(insert(WebhookPosition).from_select(["district_id", "seq"], first).on_conflict_do_nothing())
    return last


def _fit(new: NewEndpoint, allowed: Allowed) -> str:
    """The URL in its one spelling; raises `Invalid` with everything that is wrong."""
    violations: list[Violation] = []
    url = ""
    try:
        url = checked_url(new.url, allowed)
    except Invalid as error:
        violations += error.violations
    if not new.event_types:
        violations.append(Violation("/event_types", "event_types.empty", "Name at least one type of event."))
    for place, name in enumerate(new.event_types):
        if name not in CATALOGUE:
            detail = "There is no such type of event. The catalogue has them all."
            violations.append(Violation(f"/event_types/{place}", "event_type.unknown", detail))
    if new.description is not None and not _is_note(new.description):
        detail = f"A description has at most {LONGEST_DESCRIPTION} characters and no control characters."
        violations.append(Violation("/description", "description.malformed", detail))
    if violations:
        raise Invalid(violations)
    return url


def _is_note(text: str) -> bool:
    return len(text) <= LONGEST_DESCRIPTION and all(letter.isprintable() or letter == "\n" for letter in text)
