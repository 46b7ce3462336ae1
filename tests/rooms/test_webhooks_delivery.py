"""Webhooks, over a real PostgreSQL and a receiver in a process of its own: what is committed arrives, signed."""

from collections.abc import Iterator

import pytest

from app.core.ids import show
from app.webhooks.models import DeliveryState
from app.worker import drain
from tests.rooms.webhook_town import Receiver, happen, log_of, receiving, register
from tests.town import Town


@pytest.fixture(scope="module")
def receiver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Receiver]:
    """A receiver that takes everything."""
    with receiving(tmp_path_factory.mktemp("receiver")) as running:
        yield running


async def test_a_committed_event_arrives_and_verifies(north: Town, receiver: Receiver) -> None:
    """The whole path: outbox, dispatch, claim, a POST that `standardwebhooks` verifies, the attempt in the log."""
    made = await register(north, receiver)
    event_id = await happen(north)
    await drain(north.settings, {north.district_id})
    (came,) = receiver.at(made)
    assert came["verified"]
    assert came["webhook-id"] == show("event", event_id)
    assert came["type"] == "concern.raised"
    (logged,) = await log_of(north, made)
    assert logged.delivery.state == DeliveryState.DELIVERED
    assert [(attempt.number, attempt.status) for attempt in logged.attempts] == [(1, 204)]
