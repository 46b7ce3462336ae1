"""Declares the commands on webhook endpoints and on their deliveries.

Each command calls the service of this package, and returns the row that both APIs show.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from operator import attrgetter, itemgetter
from typing import Annotated, Any, Literal
from uuid import UUID

from app.access.permission import Can
from app.access.work import Work, needs
from app.core import ids
from app.core.address import Allowed
from app.core.inputs import About, AtMost, Between, ChangesOf, FromProcess
from app.core.text import Text
from app.core.violations import known_values, partial_input, without_unread
from app.events.catalogue import ENDPOINT_TESTED
from app.resources.command import Body, Command
from app.resources.members import Id
from app.resources.values import Value, item
from app.webhooks import service
from app.webhooks.deliveries import redeliver
from app.webhooks.models import WebhookEndpoint
from app.webhooks.queries import LoggedDelivery
from app.webhooks.resource import DeliveryResource, EndpointResource
from app.webhooks.sign import Signature

AllowedNetworks = Annotated[Allowed, FromProcess("webhook_allowed")]
SCHOOL = "org_01jq4n6d9zf3vbs0x5k2m7e8ta"
Made = tuple[WebhookEndpoint, str | None]


@dataclass(frozen=True, slots=True)
class NewEndpoint:
    """An endpoint to be registered. It receives future events about records that the registering caller may see."""

    url: Annotated[str, Text(max=2048), About("https, on a public address.", "https://example.org/hooks/aimline")]
    event_types: Annotated[
        tuple[str, ...],
        AtMost(100),
        About(
            "See GET /v1/event-types. `response.*` stands for all types that begin so, also for later ones. "
            "Separate events report that an alert is opened, classified and closed, so register an endpoint for "
            "alerts with it.",
            ["response.*"],
        ),
    ]
    description: Annotated[str | None, About("A free note.", "Alerts for the team's board")] = None
    schools: Annotated[
        tuple[str, ...],
        AtMost(500),
        About(
            "Ids or external ids: only events of these schools, and of the district itself. By default, of all schools "
            "in reach.",
            [SCHOOL],
        ),
    ] = ()
    versions: Annotated[
        Mapping[str, int],
        AtMost(100),
        About(
            "The payload version for each type; for a type that is not named, the newest version at this moment.",
            {"response.stopped": 1},
        ),
    ] = field(default_factory=dict)
    signature: Annotated[
        Literal["hmac-sha256", "ed25519"],
        About(
            "`hmac-sha256` (`v1`) uses a shared secret; for `ed25519` (`v1a`) you verify with the service's public "
            "key.",
            "hmac-sha256",
        ),
    ] = "hmac-sha256"


class SecretValue(Value):
    """A new secret, which is shown only once."""

    secret: str | None = item(
        "whsec_…: verify deliveries with it, as Standard Webhooks specifies. Null with ed25519.",
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        get=itemgetter(1),
    )


class ReplayedValue(Value):
    """The number of deliveries that were scheduled to be sent again."""

    deliveries: int = item(
        "The number of deliveries that were scheduled. For `missing`, repeat the request until it is 0.", 12, get=int
    )


class TestedValue(Value):
    """The test event that was scheduled to be sent."""

    event_id: Id = item("The event.", kind="event", rest="event", get=lambda event_id: event_id)


@needs(Can.MANAGE_WEBHOOKS, Can.READ_EVENTS)
async def register_endpoint(work: Work, new: NewEndpoint, allowed: AllowedNetworks) -> Made:
    """Registers an endpoint; raises the errors of `service.register_endpoint`."""
    values = known_values(new)
    if "signature" in values:
        values["signature"] = Signature(values["signature"])
    return await service.register_endpoint(work, partial_input(service.NewEndpoint, values), allowed)


@needs(Can.MANAGE_WEBHOOKS, Can.READ_EVENTS)
async def change_endpoint(
    work: Work,
    endpoint_id: UUID,
    changes: Annotated[Mapping[str, Any], ChangesOf(NewEndpoint, frozenset({"signature"}))],
    allowed: AllowedNetworks,
) -> WebhookEndpoint:
    """Changes the given fields of an endpoint; raises the errors of `service.change_endpoint`."""
    values = without_unread(changes)
    if "description" in values:
        values["description"] = values["description"] or ""
    unchanged = {name: value for name, value in known_values(service.Change()).items() if name not in changes}
    return await service.change_endpoint(work, endpoint_id, partial_input(service.Change, unchanged | values), allowed)


@needs(Can.MANAGE_WEBHOOKS)
async def rotate_secret(
    work: Work,
    endpoint_id: UUID,
    overlap_seconds: Annotated[
        int,
        Between(0, 604_800),
        About("The time for which the replaced secret also signs. By default a day; 0 ends it at once.", 3600),
    ] = 86_400,
) -> Made:
    """Replaces the secret of an endpoint; raises the errors of `service.rotate_secret`."""
    return await service.rotate_secret(work, endpoint_id, timedelta(seconds=overlap_seconds))


@needs(Can.MANAGE_WEBHOOKS)
async def resend(
    work: Work,
    endpoint_id: UUID,
    delivery: Annotated[str, Text(max=64), About("The delivery.", "del_01jq4n6d9zf3vbs0x5k2m7e8ta")],
) -> LoggedDelivery:
    """Sends one delivery again; raises the errors of `redeliver.resend`."""
    return await redeliver.resend(work, endpoint_id, ids.parse_id("delivery", delivery, "/delivery"))


@needs(Can.MANAGE_WEBHOOKS)
async def replay(
    work: Work,
    endpoint_id: UUID,
    since: Annotated[datetime, About("Events from this instant on.", "2026-09-14T08:00:00Z")],
    which: Annotated[
        Literal["failed", "missing"],
        About(
            "`failed`: deliveries that failed for good. `missing`: events that have no delivery to this endpoint, "
            "because it was created later or was disabled; oldest first, 1,000 for each request.",
            "failed",
        ),
    ] = "failed",
) -> int:
    """Sends deliveries again; raises the errors of `redeliver.replay_failed`."""
    send_again = redeliver.replay_failed if which == "failed" else redeliver.replay_missing
    return await send_again(work, endpoint_id, since)


_ROW = itemgetter(0)

COMMANDS = (
    Command(
        "register_endpoint",
        register_endpoint,
        EndpointResource,
        "Registers an endpoint and returns its secret, which is shown only once.",
        "POST /webhook-endpoints",
        status=201,
        row=_ROW,
        value=SecretValue,
        answer="NewlyMadeEndpoint",
    ),
    Command(
        "change_endpoint",
        change_endpoint,
        EndpointResource,
        "Changes the given fields of an endpoint; its secret stays the same.",
        "PATCH /webhook-endpoints/{endpoint}",
        body=Body(
            "EndpointChanges",
            "Changes of an endpoint; other fields keep their values. Pending deliveries go to the new address.",
        ),
    ),
    Command(
        "rotate_secret",
        rotate_secret,
        EndpointResource,
        "Replaces the endpoint's secret and returns the new one, only once; during the overlap both sign each "
        "delivery.",
        "POST /webhook-endpoints/{endpoint}/rotate",
        row=_ROW,
        value=SecretValue,
        answer="NewlyMadeEndpoint",
        body=Body("Rotation", "The time for which the replaced secret also signs."),
    ),
    Command(
        "pause_endpoint",
        service.pause_endpoint,
        EndpointResource,
        "Pauses an endpoint, so that its deliveries wait.",
        "POST /webhook-endpoints/{endpoint}/pause",
    ),
    Command(
        "resume_endpoint",
        service.resume_endpoint,
        EndpointResource,
        "Resumes an endpoint that was paused, slowed down or disabled; waiting deliveries are sent.",
        "POST /webhook-endpoints/{endpoint}/resume",
    ),
    Command(
        "send_test",
        redeliver.send_test,
        None,
        "Sends an `endpoint.tested` event to this endpoint alone.",
        "POST /webhook-endpoints/{endpoint}/test",
        emits=(ENDPOINT_TESTED,),
        value=TestedValue,
        answer="Tested",
    ),
    Command(
        "replay",
        replay,
        None,
        "Sends failed or missing deliveries again, from an instant on.",
        "POST /webhook-endpoints/{endpoint}/replay",
        value=ReplayedValue,
        answer="Replayed",
        body=Body("Replay", "The deliveries to be sent again."),
    ),
    Command(
        "resend",
        resend,
        DeliveryResource,
        "Sends one delivery again, with the same id and body, whatever its state.",
        "POST /webhook-endpoints/{endpoint}/deliveries/{delivery}/resend",
        row=attrgetter("delivery"),
    ),
    Command(
        "remove_endpoint",
        service.remove_endpoint,
        None,
        "Removes an endpoint, which then receives nothing more.",
        "DELETE /webhook-endpoints/{endpoint}",
        status=204,
    ),
)
