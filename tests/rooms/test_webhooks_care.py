"""Tests the management of a webhook endpoint: pauses, disabling, rotation of secrets, and sending again."""

from datetime import datetime, timedelta
from pathlib import Path
from uuid import UUID

import pytest
from sqlalchemy import select, text

from app.access.permission import Can
from app.access.work import Work, needs
from app.core.clock import now
from app.core.errors import Conflict, Invalid, NotFound
from app.core.ids import format_id
from app.events.models import Event
from app.webhooks import service
from app.webhooks.deliveries import redeliver
from app.webhooks.models import DeliveryState, WebhookEndpoint
from app.webhooks.queries import endpoint
from tests.rooms.webhook_town import Receiver, drained, happen, log_of, make_due, receiving, register
from tests.town import Town


async def _endpoint(town: Town, made: WebhookEndpoint) -> WebhookEndpoint:
    async with town.unit() as work:
        return await endpoint(work, made.id)


@needs(Can.READ_EVENTS)
async def _types(work: Work) -> list[str]:
    query = select(Event.type).where(Event.district_id == work.district_id).order_by(Event.seq)
    return list(await work.db.scalars(query))


async def _failing_since(town: Town, made: WebhookEndpoint, at: datetime) -> None:
    """Makes an endpoint look as if its deliveries had failed since `at`, and as if it could be tried again now."""

    @needs(Can.DELIVER_WEBHOOKS)
    async def write(work: Work) -> None:
        statement = (
            "UPDATE webhook_endpoint SET failing_since = :at, slowed_until = NULL "
            "WHERE district_id = :district AND id = :id"
        )
        await work.db.execute(text(statement), {"at": at, "district": work.district_id, "id": made.id})

    async with town.house() as work:
        await write(work)


async def _came(receiver: Receiver, made: WebhookEndpoint) -> list[str]:
    return [one["webhook-id"] for one in receiver.at(made)]


async def test_an_overloaded_endpoint_rests_as_long_as_it_asks(north: Town, tmp_path: Path) -> None:
    """After an answer 429 with Retry-After, nothing is sent to the endpoint during the time that the answer states.

    If the endpoint is resumed, all waiting deliveries are sent.
    """
    with receiving(tmp_path, "--fail-first", "1", "--status", "429", "--retry-after", "3600") as receiver:
        made = await register(north, receiver)
        await happen(north)
        began = now()
        await drained(north)
        await happen(north)
        await make_due(north)
        assert await drained(north) == 0
        row = await _endpoint(north, made)
        assert row.slowed_until is not None
        assert began + timedelta(hours=1) <= row.slowed_until <= now() + timedelta(hours=1)
        first, _ = await log_of(north, made)
        assert first.attempts[0].answer == "Answered 429."
        async with north.unit() as work:
            await service.resume_endpoint(work, made.id)
        assert await drained(north) == 2
        assert len(set(await _came(receiver, made))) == 2


async def test_a_waiting_delivery_is_not_due_before_the_receiver_asked(north: Town, tmp_path: Path) -> None:
    """The log of a delivery shows the time of the next attempt, which is not before the receiver's Retry-After."""
    with receiving(tmp_path, "--status", "503", "--retry-after", "7200") as receiver:
        made = await register(north, receiver)
        await happen(north)
        began = now()
        await drained(north)
    (logged,) = await log_of(north, made)
    assert logged.delivery.due >= began + timedelta(hours=2)


async def test_five_days_of_failure_disable_an_endpoint_and_say_so(north: Town, tmp_path: Path) -> None:
    """After five days of failures, an endpoint is disabled with an event, and no delivery is lost."""
    (tmp_path / "dead").mkdir()
    with receiving(tmp_path) as well, receiving(tmp_path / "dead", "--status", "500") as dead:
        other = await register(north, well, types=["endpoint.disabled"])
        made = await register(north, dead)
        await happen(north)
        await drained(north)
        since = (await _endpoint(north, made)).failing_since
        assert since is not None
        await _failing_since(north, made, now() - timedelta(days=5, seconds=1))
        await happen(north)
        await drained(north)
        row = await _endpoint(north, made)
        assert row.disabled_because == "failed_for_days"
        await drained(north)
        (event,) = well.at(other)
        assert event["type"] == "endpoint.disabled"
        assert event["body"]["data"]["endpoint"] == format_id("endpoint", made.id)
        assert len(await log_of(north, made)) == 2
    async with north.unit() as work:
        assert await _types(work) == ["concern.raised", "concern.raised", "endpoint.disabled"]


async def test_a_success_ends_a_row_of_failures(north: Town, tmp_path: Path) -> None:
    """One successful delivery ends a series of failures, so that an endpoint which failed for six days stays active."""
    with receiving(tmp_path, "--fail-first", "1") as receiver:
        made = await register(north, receiver)
        await happen(north)
        await drained(north)
        await _failing_since(north, made, now() - timedelta(days=6))
        await happen(north)
        await drained(north)
        row = await _endpoint(north, made)
        assert (row.failing_since, row.disabled_at) == (None, None)


async def test_gone_tells_the_feed(north: Town, tmp_path: Path) -> None:
    """If a receiver answers 410 (gone), its endpoint is disabled, and an event is recorded."""
    with receiving(tmp_path, "--status", "410") as receiver:
        await register(north, receiver)
        await happen(north)
        await drained(north)
    async with north.unit() as work:
        assert await _types(work) == ["concern.raised", "endpoint.disabled"]


async def test_a_secret_is_rotated_with_an_overlap(north: Town, tmp_path: Path) -> None:
    """During the overlap of a rotation both secrets sign; without an overlap only the new one does."""
    with receiving(tmp_path) as receiver:
        made = await register(north, receiver)
        old = receiver.secrets.read_text()
        async with north.unit() as work:
            row, fresh = await service.rotate_secret(work, made.id)
        assert row.former_until is not None
        assert timedelta(hours=23) < row.former_until - now() <= timedelta(hours=24)
        await happen(north)
        await drained(north)
        assert fresh is not None
        receiver.secrets.write_text(fresh)
        await happen(north)
        await drained(north)
        async with north.unit() as work:
            _, last = await service.rotate_secret(work, made.id, timedelta(0))
        await happen(north)
        await drained(north)
        assert last is not None
        receiver.secrets.write_text(last)
        await happen(north)
        await drained(north)
        assert [one["verified"] for one in receiver.at(made)] == [True, True, False, True]
        assert old.strip() != fresh != last


async def test_an_overlap_has_a_bound(north: Town, tmp_path: Path) -> None:
    """After a rotation, the old secret is valid for a week at most. Otherwise it would never be replaced."""
    with receiving(tmp_path) as receiver:
        made = await register(north, receiver)
    for overlap in (timedelta(seconds=-1), timedelta(days=8)):
        async with north.unit() as work:
            with pytest.raises(Invalid):
                await service.rotate_secret(work, made.id, overlap)


async def test_what_happens_during_a_pause_waits(north: Town, tmp_path: Path) -> None:
    """While an endpoint is paused, its deliveries wait and a test delivery is refused."""
    with receiving(tmp_path) as receiver:
        made = await register(north, receiver)
        async with north.unit() as work:
            await service.pause_endpoint(work, made.id)
        event_id = await happen(north)
        assert await drained(north) == 0
        async with north.unit() as work:
            with pytest.raises(Conflict):
                await redeliver.send_test(work, made.id)
        async with north.unit() as work:
            await service.resume_endpoint(work, made.id)
        assert await drained(north) == 1
        assert await _came(receiver, made) == [format_id("event", event_id)]


async def test_a_test_event_reaches_one_endpoint_only(north: Town, tmp_path: Path) -> None:
    """A test event is sent only to the endpoint that is tested, whatever event types the endpoint receives.

    The event is also in the feed.
    """
    with receiving(tmp_path) as receiver:
        made = await register(north, receiver)
        other_endpoint = await register(north, receiver, types=["endpoint.tested"])
        async with north.unit() as work:
            event_id = await redeliver.send_test(work, made.id)
        await drained(north)
        assert await _came(receiver, made) == [format_id("event", event_id)]
        assert receiver.at(other_endpoint) == []
    async with north.unit() as work:
        assert await _types(work) == ["endpoint.tested"]


async def _deliver(town: Town, receiver: Receiver) -> tuple[WebhookEndpoint, UUID]:
    made = await register(town, receiver)
    await happen(town)
    await drained(town)
    (logged,) = await log_of(town, made)
    return made, logged.delivery.id


async def test_a_delivery_is_sent_again_with_the_same_id_and_body(north: Town, tmp_path: Path) -> None:
    """A delivery can be sent again, even after a success, with the same id and body. The count of its attempts
    continues.
    """
    with receiving(tmp_path) as receiver:
        made, delivery_id = await _deliver(north, receiver)
        async with north.unit() as work:
            resent = await redeliver.resend(work, made.id, delivery_id)
        assert resent.delivery.state == DeliveryState.PENDING
        await drained(north)
        first, second = receiver.at(made)
        assert (first["webhook-id"], first["body"]) == (second["webhook-id"], second["body"])
        (logged,) = await log_of(north, made)
        assert [attempt.number for attempt in logged.attempts] == [1, 2]


async def test_a_resend_names_a_delivery_of_its_endpoint(north: Town, tmp_path: Path) -> None:
    """A delivery of another endpoint, or of an event that the caller cannot read, cannot be sent again."""
    with receiving(tmp_path) as receiver:
        _, delivery_id = await _deliver(north, receiver)
        opened = north.client(frozenset({"webhook:manage", "event:read", "area:sel"}))
        other = await register(north, receiver, principal=opened)
        await happen(north, secured_area="sel")
        await drained(north)
        (secured,) = await log_of(north, other)
    plain = north.client(frozenset({"webhook:manage", "event:read"}))
    for principal, named in ((None, delivery_id), (plain, secured.delivery.id)):
        async with north.unit(principal) as work:
            with pytest.raises(NotFound):
                await redeliver.resend(work, other.id, named)


async def test_all_that_failed_is_replayed(north: Town, tmp_path: Path) -> None:
    """A replay sends each failed delivery once more. Deliveries that succeeded are not sent again."""
    with receiving(tmp_path, "--fail-first", "3", "--status", "410") as receiver:
        made = await register(north, receiver)
        ids = [await happen(north) for _ in range(3)]
        await drained(north)
        began = now() - timedelta(hours=1)
        async with north.unit() as work:
            with pytest.raises(Conflict):
                await redeliver.replay_failed(work, made.id, began)
        async with north.unit() as work:
            await service.resume_endpoint(work, made.id)
        delivered = await happen(north)
        await drained(north)
        async with north.unit() as work:
            assert await redeliver.replay_failed(work, made.id, now() + timedelta(hours=1)) == 0
            assert await redeliver.replay_failed(work, made.id, began) == 3
        await drained(north)
        assert sorted(await _came(receiver, made)) == sorted(
            [
                *(format_id("event", one) for one in ids),
                *(format_id("event", one) for one in ids),
                format_id("event", delivered),
            ]
        )


async def test_what_was_missed_is_replayed_once(north: Town, tmp_path: Path) -> None:
    """A replay of missing events sends each event once that has no delivery yet.

    Events that the endpoint's client may not read are left out.
    """
    missed = await happen(north)
    await happen(north, secured_area="sel")
    with receiving(tmp_path) as receiver:
        made = await register(north, receiver, principal=north.client(frozenset({"webhook:manage", "event:read"})))
        await drained(north)
        assert receiver.at(made) == []
        began = now() - timedelta(hours=1)
        async with north.unit() as work:
            assert await redeliver.replay_missing(work, made.id, began) == 1
        async with north.unit() as work:
            assert await redeliver.replay_missing(work, made.id, began) == 0
        await drained(north)
        assert await _came(receiver, made) == [format_id("event", missed)]
