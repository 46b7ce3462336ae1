"""Declares what both APIs show of webhooks: endpoints, deliveries and attempts. They show no secret.

A client sees an endpoint only if the client itself created it and the caller may see all of its schools and secured
areas. Any other endpoint is treated as if it did not exist.
"""

from datetime import datetime

from sqlalchemy import and_, case, func, or_

from app.access.permission import Can
from app.access.principal import Reach
from app.events.models import Event
from app.resources.declare import Join, Link, Resource
from app.resources.fields import choice, field, reference, references, stored
from app.resources.listing import Listing
from app.resources.members import Id
from app.resources.terms import CLIENT, OPENS, REACH, SCHOOLS
from app.resources.values import WholeNumbers
from app.webhooks.models import DeliveryState, WebhookAttempt, WebhookDelivery, WebhookEndpoint
from app.webhooks.sign import Signature

WITHIN_REACH = or_(
    REACH.is_not_distinct_from(Reach.DISTRICT.value),
    and_(func.cardinality(WebhookEndpoint.school_ids) > 0, WebhookEndpoint.school_ids.bool_op("<@")(SCHOOLS)),
)


class EndpointResource(
    Resource[WebhookEndpoint],
    kind="endpoint",
    requires=Can.MANAGE_WEBHOOKS,
    visible=and_(
        WebhookEndpoint.removed_at.is_(None),
        WebhookEndpoint.created_by == CLIENT,
        WebhookEndpoint.opens.bool_op("<@")(OPENS),
        WITHIN_REACH,
    ),
    name="WebhookEndpoint",
    get="webhook_endpoint",
    node=False,
):
    """A webhook endpoint."""

    url: str = field(WebhookEndpoint.url, "The address.", "https://example.org/hooks/aimline")
    description: str | None = field(
        WebhookEndpoint.description, "The purpose of the endpoint.", "Alerts for the team's board"
    )
    event_types: list[str] = field(
        WebhookEndpoint.event_types,
        "The types of event that it receives; `response.*` stands for all that begin so.",
        ["response.*"],
    )
    school_ids: list[Id] = references(
        WebhookEndpoint.school_ids,
        "org",
        "Only events of these schools, and of the district itself; of all schools, if empty.",
        rest="schools",
    )
    versions: WholeNumbers = stored(
        WebhookEndpoint.versions, "The payload version for each type; new versions do not change it."
    )
    signature: str = field(
        WebhookEndpoint.signature, "`hmac-sha256` or `ed25519`.", "hmac-sha256", values=tuple(Signature)
    )
    public_key: str | None = field(
        WebhookEndpoint.public_key, "whpk_…: verifies signatures made with ed25519.", "whpk_MCowBQYDK2VwAyEA"
    )
    former_public_key: str | None = field(
        WebhookEndpoint.former_public_key,
        "The previous public key, which still verifies during a rotation.",
        "whpk_MCowBQYDK2VwAyEB",
    )
    created_at: datetime = field(WebhookEndpoint.created_at, "When it was registered.")
    disabled_at: datetime | None = field(WebhookEndpoint.disabled_at, "When it was disabled.")
    disabled_because: str | None = field(
        WebhookEndpoint.disabled_because, "answered_gone (410), or failed_for_days (five days).", "answered_gone"
    )
    paused_at: datetime | None = field(WebhookEndpoint.paused_at, "When it was paused.")
    failing_since: datetime | None = field(
        WebhookEndpoint.failing_since, "Every attempt since this instant has failed."
    )
    slowed_until: datetime | None = field(
        WebhookEndpoint.slowed_until,
        "The receiver answered that it is overloaded: nothing is sent until this instant.",
    )
    former_secret_until: datetime | None = field(
        WebhookEndpoint.former_until, "The previous secret also signs until this instant."
    )
    version: int = field(WebhookEndpoint.version, "The number of changes; the ETag.", 1)


class AttemptResource(Resource[WebhookAttempt], requires=Can.MANAGE_WEBHOOKS, name="WebhookAttempt"):
    """One attempt to deliver an event."""

    number: int = field(WebhookAttempt.number, "The attempt's number.", 1)
    at: datetime = field(WebhookAttempt.at, "When it was made.")
    milliseconds: int = field(WebhookAttempt.milliseconds, "How long it took.", 84)
    status: int | None = field(WebhookAttempt.status, "The receiver's HTTP status.", 204)
    failure: str | None = field(
        WebhookAttempt.failure, "The name of the failure, if there was no answer.", "connect_timeout"
    )
    answer: str | None = field(
        case((~WebhookAttempt.from_private_network, WebhookAttempt.answer)),
        "The beginning of the receiver's answer: 4,096 bytes at most.",
        "ok",
    )
    answer_withheld: bool = field(
        and_(WebhookAttempt.answer.is_not(None), WebhookAttempt.from_private_network),
        "Whether `answer` is withheld, because the receiver is in a private network that the operator allowed.",
    )


class DeliveryResource(
    Resource[WebhookDelivery],
    kind="delivery",
    requires=Can.MANAGE_WEBHOOKS,
    about=Event.student_id,
    discloses="event",
    joins=(Join(Event, Event.seq == WebhookDelivery.event_seq),),
    name="WebhookDelivery",
    node=False,
):
    """The state of one event's delivery to one endpoint, with its attempts."""

    event_id: Id = reference(WebhookDelivery.event_id, "event", "The event.", rest="event")
    type: str = field(Event.type, "The type of the event.", "response.stopped")
    state: DeliveryState = choice(WebhookDelivery.state, "The state of the delivery.")
    due: datetime = field(WebhookDelivery.due, "When the next attempt is due.")


LINKS = (
    Link(
        EndpointResource,
        "deliveries",
        DeliveryResource,
        WebhookDelivery.endpoint_id == WebhookEndpoint.id,
        "Its deliveries with every attempt, newest event first.",
        order=(WebhookDelivery.event_seq,),
        descending=True,
        paged=True,
    ),
    Link(
        DeliveryResource,
        "attempts",
        AttemptResource,
        WebhookAttempt.delivery_id == WebhookDelivery.id,
        "The attempts, in order.",
        order=(WebhookAttempt.number,),
        inline=True,
    ),
)

LISTINGS = (
    Listing(
        "webhook_endpoints",
        EndpointResource,
        "The caller's endpoints that are not removed, oldest first.",
        changed_at=WebhookEndpoint.updated_at,
    ),
)
