"""Serves webhook endpoints in REST; their deliveries are in `deliveries`."""

from datetime import datetime, timedelta
from typing import Literal

from fastapi import APIRouter, Request, Response
from pydantic import Field

from app.core import ids
from app.rest.door import After, Limit, OpenWork, Services, requires, row_id
from app.rest.pages import NOT_NAMED, Changes, Input, Items, Shape, page_keyset, to_page
from app.rest.route import Route
from app.webhooks import models, queries, service
from app.webhooks.sign import Signature

router = APIRouter(prefix="/v1", tags=["webhooks"], route_class=Route)
SIGNATURE = "`hmac-sha256` (`v1`) uses a shared secret; for `ed25519` (`v1a`) you verify with the service's public key."


SCHOOLS = (
    "Ids or external ids: only events of these schools, and of the district itself. By default, of "
    "all schools in reach."
)
VERSIONS = "The payload version for each type; for a type that is not named, the newest version at this moment."


EVENT_TYPES = (
    "See GET /v1/event-types. `response.*` stands for all types that begin so, also for later ones. An alert is "
    "opened, named and closed by events of its own, so an endpoint for alerts is best registered with it."
)


class NewEndpoint(Input):
    """An endpoint to register. It receives future events within the reach of the caller who registers it."""

    url: str = Field(max_length=2048, description="https, on a public address.")
    event_types: list[str] = Field(max_length=100, description=EVENT_TYPES)
    description: str | None = None
    schools: list[str] = Field(default=[], max_length=500, description=SCHOOLS)
    versions: dict[str, int] = Field(default={}, max_length=100, description=VERSIONS)
    signature: Literal["hmac-sha256", "ed25519"] = Field(default="hmac-sha256", description=SIGNATURE)


class EndpointChanges(Changes):
    """Changes of an endpoint; other fields stay unchanged. Pending deliveries go to the new address."""

    url: str = Field(default=NOT_NAMED, max_length=2048, description="https, on a public address.")
    event_types: list[str] = Field(default=NOT_NAMED, max_length=100, description=EVENT_TYPES)
    description: str | None = Field(default=NOT_NAMED, description="Null, or an empty text, removes the description.")
    schools: list[str] = Field(default=NOT_NAMED, max_length=500, description=SCHOOLS)
    versions: dict[str, int] = Field(default=NOT_NAMED, max_length=100, description=VERSIONS)


class Rotation(Input):
    """The time for which the previous secret also signs."""

    overlap_seconds: int = Field(default=86_400, ge=0, le=604_800, description="By default a day; 0 ends it at once.")


class Endpoint(Shape):
    """A webhook endpoint."""

    id: str
    url: str
    description: str | None
    event_types: list[str]
    schools: list[str] = Field(
        description="Only events of these schools, and of the district itself; of all schools, if empty."
    )
    versions: dict[str, int] = Field(description="The payload version for each type; new versions do not change it.")
    signature: Literal["hmac-sha256", "ed25519"]
    public_key: str | None = Field(description="whpk_…: verifies signatures made with ed25519.")
    former_public_key: str | None = Field(
        description="The previous public key, which still verifies during a rotation."
    )
    created_at: datetime
    disabled_at: datetime | None
    disabled_because: str | None = Field(description="answered_gone (410), or failed_for_days (five days).")
    paused_at: datetime | None
    failing_since: datetime | None = Field(description="Every attempt since this instant has failed.")
    slowed_until: datetime | None = Field(
        description="The receiver answered that it is overloaded: nothing is sent until this instant."
    )
    former_secret_until: datetime | None = Field(description="The previous secret also signs until this instant.")
    version: int


class NewlyMadeEndpoint(Endpoint):
    """A new endpoint, or one with a new secret; the secret is shown only once."""

    secret: str | None = Field(
        description="whsec_…: verify deliveries with it, as Standard Webhooks specifies. Null with ed25519."
    )


@router.post(
    "/webhook-endpoints", status_code=201, operation_id="register_endpoint", **requires(service.register_endpoint)
)
async def register_endpoint(work: OpenWork, request: Request, new: NewEndpoint) -> NewlyMadeEndpoint:
    """Registers an endpoint and returns its secret, which is shown only once."""
    services: Services = request.app.state.services
    endpoint = service.NewEndpoint(
        new.url,
        tuple(new.event_types),
        new.description,
        tuple(new.schools),
        new.versions,
        Signature(new.signature),
    )
    row, secret = await service.register_endpoint(work, endpoint, services.webhook_allowed)
    return NewlyMadeEndpoint(**_endpoint(row).model_dump(), secret=secret)


@router.get("/webhook-endpoints", operation_id="list_endpoints", **requires(queries.endpoints))
async def list_endpoints(
    work: OpenWork, request: Request, response: Response, after: After = None, limit: Limit = None
) -> Items[Endpoint]:
    """Lists the caller's endpoints, oldest first."""
    page = await queries.endpoints(work, page_keyset(work, "endpoints", {}, after, limit))
    items, next_cursor = to_page(request, response, page, _endpoint)
    return Items(items=items, next=next_cursor)


@router.get("/webhook-endpoints/{endpoint}", operation_id="get_endpoint", **requires(queries.endpoint))
async def get_endpoint(work: OpenWork, endpoint: str) -> Endpoint:
    """Returns one endpoint."""
    return _endpoint(await queries.endpoint(work, row_id("endpoint", endpoint)))


@router.patch("/webhook-endpoints/{endpoint}", operation_id="change_endpoint", **requires(service.change_endpoint))
async def change_endpoint(work: OpenWork, request: Request, endpoint: str, changes: EndpointChanges) -> Endpoint:
    """Changes the address, event types, schools or description of an endpoint; its secret stays the same."""
    services: Services = request.app.state.services
    values = changes.model_dump(exclude_unset=True)
    for name in values.keys() & {"event_types", "schools"}:
        values[name] = tuple(values[name])
    if "description" in values:
        values["description"] = values["description"] or ""
    change = service.Change(**values)
    return _endpoint(
        await service.change_endpoint(work, row_id("endpoint", endpoint), change, services.webhook_allowed)
    )


@router.delete(
    "/webhook-endpoints/{endpoint}",
    status_code=204,
    operation_id="remove_endpoint",
    **requires(service.remove_endpoint, has_version=True),
)
async def remove_endpoint(work: OpenWork, endpoint: str) -> None:
    """Removes an endpoint, which then receives nothing more."""
    await service.remove_endpoint(work, row_id("endpoint", endpoint))


@router.post("/webhook-endpoints/{endpoint}/rotate", operation_id="rotate_secret", **requires(service.rotate_secret))
async def rotate_secret(work: OpenWork, endpoint: str, rotation: Rotation) -> NewlyMadeEndpoint:
    """Replaces the endpoint's secret and returns the new one, which is shown only once.

    During the overlap, each delivery is signed with both secrets.
    """
    overlap = timedelta(seconds=rotation.overlap_seconds)
    row, secret = await service.rotate_secret(work, row_id("endpoint", endpoint), overlap)
    return NewlyMadeEndpoint(**_endpoint(row).model_dump(), secret=secret)


@router.post("/webhook-endpoints/{endpoint}/pause", operation_id="pause_endpoint", **requires(service.pause_endpoint))
async def pause_endpoint(work: OpenWork, endpoint: str) -> Endpoint:
    """Pauses an endpoint, so that its deliveries wait."""
    return _endpoint(await service.pause_endpoint(work, row_id("endpoint", endpoint)))


@router.post(
    "/webhook-endpoints/{endpoint}/resume", operation_id="resume_endpoint", **requires(service.resume_endpoint)
)
async def resume_endpoint(work: OpenWork, endpoint: str) -> Endpoint:
    """Resumes an endpoint that was paused, slowed down or disabled; waiting deliveries are sent."""
    return _endpoint(await service.resume_endpoint(work, row_id("endpoint", endpoint)))


def _endpoint(row: models.WebhookEndpoint) -> Endpoint:
    return Endpoint(
        id=ids.format_id("endpoint", row.id),
        url=row.url,
        description=row.description,
        event_types=row.event_types,
        schools=[ids.format_id("org", school) for school in row.school_ids],
        versions=row.versions,
        signature=Signature(row.signature).value,
        public_key=row.public_key,
        former_public_key=row.former_public_key,
        created_at=row.created_at,
        disabled_at=row.disabled_at,
        disabled_because=row.disabled_because,
        paused_at=row.paused_at,
        failing_since=row.failing_since,
        slowed_until=row.slowed_until,
        former_secret_until=row.former_until,
        version=row.version,
    )
