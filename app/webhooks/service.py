"""Owns how endpoints come to be and go. Never sends anything, and shows a secret once only."""

import secrets
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert

from app.access.permission import Can
from app.access.principal import Reach
from app.access.work import Work, needs
from app.core.clock import now
from app.core.errors import Forbidden, Invalid, Violation
from app.core.ids import new_id
from app.events.catalogue import CATALOGUE
from app.events.models import EventCounter
from app.webhooks import sign
from app.webhooks.address import PUBLIC_ONLY, Allowed, checked_url
from app.webhooks.models import WebhookEndpoint, WebhookPosition
from app.webhooks.queries import endpoint

LONGEST_DESCRIPTION = 500


@dataclass(frozen=True, slots=True)
class NewEndpoint:
    """An endpoint to be made: where events go, which types, and a note of its maker's."""

    url: str
    event_types: tuple[str, ...]
    description: str | None = None


@needs(Can.MANAGE_WEBHOOKS)
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
