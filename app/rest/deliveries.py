"""Serves in REST the deliveries of webhooks, with the commands that send them again."""

from datetime import datetime
from typing import Literal, cast

from fastapi import APIRouter, Request, Response
from pydantic import AwareDatetime, Field

from app.core import ids
from app.rest.door import After, Limit, OpenWork, requires, row_id
from app.rest.pages import Input, Items, Shape, page_keyset, to_page
from app.rest.route import Route
from app.webhooks import queries
from app.webhooks.deliveries import redeliver

router = APIRouter(prefix="/v1", tags=["webhooks"], route_class=Route)
DeliveryState = Literal["pending", "delivered", "failed", "dropped"]


class Replay(Input):
    """The selection of deliveries to send again."""

    since: AwareDatetime = Field(description="Events from this instant on.")
    which: Literal["failed", "missing"] = Field(
        default="failed",
        description=(
            "`failed`: deliveries that failed for good. `missing`: events that have no delivery to this "
            "endpoint, because it was created later or was disabled; oldest first, 1,000 for each request."
        ),
    )


class Replayed(Shape):
    """The number of deliveries that were scheduled. If `which` is `missing`, repeat the request until the number is
    0.
    """

    deliveries: int


class Tested(Shape):
    """The test event that was scheduled."""

    event: str


class Attempt(Shape):
    """One attempt to deliver an event."""

    number: int
    at: datetime
    milliseconds: int
    status: int | None
    failure: str | None
    answer: str | None = Field(description="The beginning of the receiver's answer: 4,096 bytes at most.")
    answer_withheld: bool = Field(
        description=(
            "Whether `answer` is withheld, because the receiver is in a private network that the operator allowed."
        )
    )


class Delivery(Shape):
    """The state of one event's delivery to one endpoint, with its attempts."""

    id: str
    event: str
    type: str
    state: DeliveryState
    due: datetime
    attempts: list[Attempt]


@router.get("/webhook-endpoints/{endpoint}/deliveries", operation_id="list_deliveries", **requires(queries.deliveries))
async def list_deliveries(
    work: OpenWork, request: Request, response: Response, endpoint: str, after: After = None, limit: Limit = None
) -> Items[Delivery]:
    """Lists the deliveries of an endpoint with every attempt, newest first."""
    endpoint_id = row_id("endpoint", endpoint)
    keyset = page_keyset(work, "deliveries", {"endpoint": endpoint_id}, after, limit)
    page = await queries.deliveries(work, endpoint_id, keyset)
    items, next_cursor = to_page(request, response, page, _delivery)
    return Items(items=items, next=next_cursor)


@router.post(
    "/webhook-endpoints/{endpoint}/deliveries/{delivery}/resend", operation_id="resend", **requires(redeliver.resend)
)
async def resend(work: OpenWork, endpoint: str, delivery: str) -> Delivery:
    """Sends one delivery again, with the same id and body, whatever its state."""
    return _delivery(await redeliver.resend(work, row_id("endpoint", endpoint), row_id("delivery", delivery)))


@router.post(
    "/webhook-endpoints/{endpoint}/replay",
    operation_id="replay",
    **requires(redeliver.replay_failed, redeliver.replay_missing),
)
async def replay(work: OpenWork, endpoint: str, request: Replay) -> Replayed:
    """Sends failed or missing deliveries again, from an instant on."""
    replay_deliveries = redeliver.replay_failed if request.which == "failed" else redeliver.replay_missing
    return Replayed(deliveries=await replay_deliveries(work, row_id("endpoint", endpoint), request.since))


@router.post("/webhook-endpoints/{endpoint}/test", operation_id="send_test", **requires(redeliver.send_test))
async def send_test(work: OpenWork, endpoint: str) -> Tested:
    """Sends an `endpoint.tested` event to this endpoint alone."""
    return Tested(event=ids.format_id("event", await redeliver.send_test(work, row_id("endpoint", endpoint))))


def _delivery(logged: queries.LoggedDelivery) -> Delivery:
    return Delivery(
        id=ids.format_id("delivery", logged.delivery.id),
        event=ids.format_id("event", logged.delivery.event_id),
        type=logged.event_type,
        state=cast(DeliveryState, logged.delivery.state),
        due=logged.delivery.due,
        attempts=[
            Attempt(
                number=attempt.number,
                at=attempt.at,
                milliseconds=attempt.milliseconds,
                status=attempt.status,
                failure=attempt.failure,
                answer=attempt.shown_answer,
                answer_withheld=attempt.is_withheld,
            )
            for attempt in logged.attempts
        ],
    )
