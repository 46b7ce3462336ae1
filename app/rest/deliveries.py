"""Owns what was sent to endpoints in REST, and what is sent again: shapes and routes, no rule."""

from datetime import datetime
from typing import Literal, cast

from fastapi import APIRouter, Request, Response
from pydantic import AwareDatetime, Field

from app.core import ids
from app.rest.door import After, Limit, Opened, asks, row_id
from app.rest.pages import Input, Items, Shape, paged, place
from app.rest.route import Route
from app.webhooks import queries
from app.webhooks.deliveries import redeliver

router = APIRouter(prefix="/v1", tags=["webhooks"], route_class=Route)
DeliveryState = Literal["pending", "delivered", "failed", "dropped"]


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


class Attempt(Shape):
    """One try to deliver."""

    number: int
    at: datetime
    milliseconds: int
    status: int | None
    failure: str | None
    answer: str | None = Field(description="How the receiver's answer begins: 4,096 bytes at most.")
    answer_withheld: bool = Field(
        description="It answered from a private network that the operator allowed: `answer` is not shown."
    )


class Delivery(Shape):
    """What became of one event for one endpoint."""

    id: str
    event: str
    type: str
    state: DeliveryState
    due: datetime
    attempts: list[Attempt]


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
    "/webhook-endpoints/{endpoint}/deliveries/{delivery}/resend", operation_id="resend", **asks(redeliver.resend)
)
async def resend(work: Opened, endpoint: str, delivery: str) -> Delivery:
    """Sends one delivery again, with the same id and body, whatever came of it."""
    return _delivery(await redeliver.resend(work, row_id("endpoint", endpoint), row_id("delivery", delivery)))


@router.post(
    "/webhook-endpoints/{endpoint}/replay",
    operation_id="replay",
    **asks(redeliver.replay_failed, redeliver.replay_missing),
)
async def replay(work: Opened, endpoint: str, asked: Replay) -> Replayed:
    """Sends again what failed, or what was missed, since an instant."""
    sends = redeliver.replay_failed if asked.which == "failed" else redeliver.replay_missing
    return Replayed(deliveries=await sends(work, row_id("endpoint", endpoint), asked.since))


@router.post("/webhook-endpoints/{endpoint}/test", operation_id="send_test", **asks(redeliver.send_test))
async def send_test(work: Opened, endpoint: str) -> Tested:
    """Sends an `endpoint.tested` event to this endpoint alone."""
    return Tested(event=ids.show("event", await redeliver.send_test(work, row_id("endpoint", endpoint))))


def _delivery(found: queries.LoggedDelivery) -> Delivery:
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
                answer=one.shown_answer,
                answer_withheld=one.is_withheld,
            )
            for one in found.attempts
        ],
    )
