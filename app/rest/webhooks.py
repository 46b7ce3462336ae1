"""Owns webhook endpoints and their deliveries in REST: shapes and routes, no rule."""

from datetime import datetime
from typing import Literal, cast

from fastapi import APIRouter, Request, Response
from pydantic import Field

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


class Endpoint(Shape):
    """A webhook endpoint."""

    id: str
    url: str
    description: str | None
    event_types: list[str]
    schools: list[str] = Field(description="Only events of these schools; of all, where there are none.")
    created_at: datetime
    disabled_at: datetime | None
    disabled_because: str | None
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
            )
            for one in found.attempts
        ],
    )
