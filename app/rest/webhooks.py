"""Owns webhook endpoints and their deliveries in REST: shapes and routes, no rule."""

from datetime import datetime, timedelta
from typing import Literal, cast

from fastapi import APIRouter, Request, Response
from pydantic import AwareDatetime, Field

from app.core import ids
from app.rest.door import After, House, Limit, Opened, asks, row_id
from app.rest.pages import Input, Items, Shape, paged, place
from app.webhooks import models, queries, service

router = APIRouter(prefix="/v1", tags=["webhooks"])
DeliveryState = Literal["pending", "delivered", "failed", "dropped"]


class NewEndpoint(Input):
    """Where events go. It gets what happens from now on, as far as its maker reaches."""

    url: str = Field(max_length=2048, description="https, on a public address.")
    event_types: list[str] = Field(max_length=100, description="See GET /v1/event-types.")
    description: str | None = None


class Rotation(Input):
    """How long the secret that is replaced signs as well."""

    overlap_seconds: int = Field(default=86_400, ge=0, le=604_800, description="A day, without it; 0 ends it at once.")


class Replay(Input):
    """What is sent again."""

    since: AwareDatetime = Field(description="Events from this instant on.")
    which: Literal["failed", "missing"] = Field(
        default="failed",
        description="`failed`: deliveries that ended in failure. `missing`: events that were never meant for this "
        "endpoint until now, because it was made later or was disabled; oldest first, 1,000 a request.",
    )


class Replayed(Shape):
    """How many deliveries are on their way; for `missing`, ask again until there are none."""

    deliveries: int


class Tested(Shape):
    """The test event that is on its way."""

    event: str


class Endpoint(Shape):
    """A webhook endpoint."""

    id: str
    url: str
    description: str | None
    event_types: list[str]
    schools: list[str] = Field(description="Only events of these schools; of all, where there are none.")
    created_at: datetime
    disabled_at: datetime | None
    disabled_because: str | None = Field(description="answered_gone (410), or failed_for_days (five days).")
    paused_at: datetime | None
    failing_since: datetime | None = Field(description="Every attempt since then has failed.")
    slowed_until: datetime | None = Field(description="It said that it is overloaded: nothing is sent until then.")
    former_secret_until: datetime | None = Field(description="Until then the secret before this one signs as well.")
    version: int


class NewlyMadeEndpoint(Endpoint):
    """An endpoint just made, with the secret that is shown this once."""

    secret: str = Field(description="whsec_…: verify deliveries with it, as Standard Webhooks has it.")


class Attempt(Shape):
    """One try to deliver."""

    number: int
    at: datetime
    milliseconds: int
    status: int | None
    failure: str | None
    answer: str | None = Field(description="How the receiver's answer begins: 4,096 bytes at most.")


class Delivery(Shape):
    """What became of one event for one endpoint."""

    id: str
    event: str
    type: str
    state: DeliveryState
    due: datetime
    attempts: list[Attempt]


@router.post("/webhook-endpoints", status_code=201, operation_id="register_endpoint", **asks(service.register_endpoint))
async def register_endpoint(work: Opened, request: Request, new: NewEndpoint) -> NewlyMadeEndpoint:
    """Makes an endpoint and shows its secret, this once."""
    house: House = request.app.state.house
    asked = service.NewEndpoint(new.url, tuple(new.event_types), new.description)
    row, secret = await service.register_endpoint(work, asked, house.allowed)
    return NewlyMadeEndpoint(**_endpoint(row).model_dump(), secret=secret)


@router.get("/webhook-endpoints", operation_id="list_endpoints", **asks(queries.endpoints))
async def list_endpoints(
    work: Opened, request: Request, response: Response, after: After = None, limit: Limit = None
) -> Items[Endpoint]:
    """The caller's endpoints, oldest first."""
    page = await queries.endpoints(work, place(work, "endpoints", {}, after, limit))
    items, then = paged(request, response, page, _endpoint)
    return Items(items=items, next=then)


@router.get("/webhook-endpoints/{endpoint}", operation_id="get_endpoint", **asks(queries.endpoint))
async def get_endpoint(work: Opened, endpoint: str) -> Endpoint:
    """One endpoint."""
    return _endpoint(await queries.endpoint(work, row_id("endpoint", endpoint)))


@router.delete(
    "/webhook-endpoints/{endpoint}", status_code=204, operation_id="remove_endpoint", **asks(service.remove_endpoint)
)
async def remove_endpoint(work: Opened, endpoint: str) -> None:
    """Removes an endpoint: it gets nothing more."""
    await service.remove_endpoint(work, row_id("endpoint", endpoint))


@router.get("/webhook-endpoints/{endpoint}/deliveries", operation_id="list_deliveries", **asks(queries.deliveries))
async def list_deliveries(
    work: Opened, request: Request, response: Response, endpoint: str, after: After = None, limit: Limit = None
) -> Items[Delivery]:
    """What was sent, newest first, with every attempt."""
    endpoint_id = row_id("endpoint", endpoint)
    keyset = place(work, "deliveries", {"endpoint": endpoint_id}, after, limit)
    page = await queries.deliveries(work, endpoint_id, keyset)
    items, then = paged(request, response, page, _delivery)
    return Items(items=items, next=then)


@router.post(
    "/webhook-endpoints/{endpoint}/deliveries/{delivery}/resend", operation_id="resend", **asks(service.resend)
)
async def resend(work: Opened, endpoint: str, delivery: str) -> Delivery:
    """Sends one delivery again, with the same id and body, whatever came of it."""
    return _delivery(await service.resend(work, row_id("endpoint", endpoint), row_id("delivery", delivery)))


@router.post(
    "/webhook-endpoints/{endpoint}/replay",
    operation_id="replay",
    **asks(service.replay_failed, service.replay_missing),
)
async def replay(work: Opened, endpoint: str, asked: Replay) -> Replayed:
    """Sends again what failed, or what was missed, since an instant."""
    sends = service.replay_failed if asked.which == "failed" else service.replay_missing
    return Replayed(deliveries=await sends(work, row_id("endpoint", endpoint), asked.since))


@router.post("/webhook-endpoints/{endpoint}/test", operation_id="send_test", **asks(service.send_test))
async def send_test(work: Opened, endpoint: str) -> Tested:
    """Sends an `endpoint.tested` event to this endpoint alone."""
    return Tested(event=ids.show("event", await service.send_test(work, row_id("endpoint", endpoint))))


@router.post("/webhook-endpoints/{endpoint}/rotate", operation_id="rotate_secret", **asks(service.rotate_secret))
async def rotate_secret(work: Opened, endpoint: str, asked: Rotation) -> NewlyMadeEndpoint:
    """Gives the endpoint a new secret, shown this once; during the overlap both sign each delivery."""
    overlap = timedelta(seconds=asked.overlap_seconds)
    row, secret = await service.rotate_secret(work, row_id("endpoint", endpoint), overlap)
    return NewlyMadeEndpoint(**_endpoint(row).model_dump(), secret=secret)


@router.post("/webhook-endpoints/{endpoint}/pause", operation_id="pause_endpoint", **asks(service.pause_endpoint))
async def pause_endpoint(work: Opened, endpoint: str) -> Endpoint:
    """Holds back what the endpoint would get: it waits."""
    return _endpoint(await service.pause_endpoint(work, row_id("endpoint", endpoint)))


@router.post("/webhook-endpoints/{endpoint}/resume", operation_id="resume_endpoint", **asks(service.resume_endpoint))
async def resume_endpoint(work: Opened, endpoint: str) -> Endpoint:
    """Opens an endpoint that was paused, slowed down or disabled; what waited is sent."""
    return _endpoint(await service.resume_endpoint(work, row_id("endpoint", endpoint)))


def _endpoint(row: models.WebhookEndpoint) -> Endpoint:
    return Endpoint(
        id=ids.show("endpoint", row.id),
        url=row.url,
        description=row.description,
        event_types=row.event_types,
        schools=[ids.show("org", school) for school in row.school_ids],
        created_at=row.created_at,
        disabled_at=row.disabled_at,
        disabled_because=row.disabled_because,
        paused_at=row.paused_at,
        failing_since=row.failing_since,
        slowed_until=row.slowed_until,
        former_secret_until=row.former_until,
        version=row.version,
    )


def _delivery(found: queries.Delivered) -> Delivery:
    return Delivery(
        id=ids.show("delivery", found.delivery.id),
        event=ids.show("event", found.delivery.event_id),
        type=found.event_type,
        state=cast(DeliveryState, found.delivery.state),
        due=found.delivery.due,
        attempts=[
            Attempt(
                number=one.number,
                at=one.at,
                milliseconds=one.milliseconds,
                status=one.status,
                failure=one.failure,
                answer=one.answer,
            )
            for one in found.attempts
        ],
    )
