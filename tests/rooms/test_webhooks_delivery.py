"""Tests webhooks with a real PostgreSQL and a receiver process: every committed event arrives, signed."""

import asyncio
from pathlib import Path

import pytest
from sqlalchemy import select

from app.access.models import Disclosure
from app.access.permission import Can
from app.access.work import Work, needs
from app.core.errors import Invalid
from app.core.ids import format_id
from app.events.catalogue import SYNC_APPLIED, SYNC_HELD
from app.settings import Settings
from app.webhooks.models import DeliveryState
from app.webhooks.queries import endpoint
from app.webhooks.service import remove_endpoint
from app.worker import drain, work
from tests.rooms.webhook_town import Receiver, drained, happen, lay, log_of, make_due, receiving, register
from tests.town import Town


async def test_a_committed_event_arrives_and_verifies(north: Town, receiver: Receiver) -> None:
    """A committed event arrives at the receiver, passes verification by `standardwebhooks`, and is in the log."""
    made = await register(north, receiver)
    event_id = await happen(north)
    await drained(north)
    (came,) = receiver.at(made)
    assert came["verified"]
    assert came["webhook-id"] == format_id("event", event_id)
    assert came["type"] == "concern.raised"
    (logged,) = await log_of(north, made)
    assert logged.delivery.state == DeliveryState.DELIVERED
    assert [(attempt.number, attempt.status) for attempt in logged.attempts] == [(1, 204)]


async def test_what_arrives_names_nobody(north: Town, receiver: Receiver) -> None:
    """A payload contains no name, address or source id.

    In the test data, each of these texts contains the district's canary word. The test searches the payload for this
    word.
    """
    made = await register(north, receiver)
    await happen(north)
    await drained(north)
    (came,) = receiver.at(made)
    assert north.canary not in str(came["body"])
    assert set(came["body"]) == {"type", "timestamp", "data"}


async def test_an_event_of_a_rolled_back_transaction_is_never_sent(north: Town, receiver: Receiver) -> None:
    """An event whose transaction was rolled back is never sent."""
    made = await register(north, receiver)

    async def fail() -> None:
        async with north.unit() as unit:
            lay(unit, north)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail()
    real = await happen(north)
    await drained(north)
    assert [came["webhook-id"] for came in receiver.at(made)] == [format_id("event", real)]


async def test_an_endpoint_gets_no_history(north: Town, receiver: Receiver) -> None:
    """An endpoint gets no event from before it was created, even if that event still waits for an older endpoint."""
    await happen(north)
    first = await register(north, receiver)
    await happen(north)
    second = await register(north, receiver)
    await happen(north)
    await drained(north)
    assert len(receiver.at(first)) == 2
    assert len(receiver.at(second)) == 1


async def test_an_endpoint_gets_the_types_that_it_asked_for(north: Town, receiver: Receiver) -> None:
    """An endpoint gets only events of its types."""
    made = await register(north, receiver, types=["sync.applied"])
    await happen(north)
    await happen(north, student=None, type_=SYNC_APPLIED)
    await drained(north)
    assert [came["type"] for came in receiver.at(made)] == ["sync.applied"]


async def test_a_pattern_stands_for_all_types_that_begin_so(north: Town, receiver: Receiver) -> None:
    """An endpoint with the type `sync.*` gets every event type that begins with `sync.`, in its newest version.

    It gets no other types.
    """
    made = await register(north, receiver, types=["sync.*"])
    await happen(north)
    for type_ in (SYNC_APPLIED, SYNC_HELD):
        await happen(north, student=None, type_=type_)
    await drained(north)
    assert [came["type"] for came in receiver.at(made)] == ["sync.applied", "sync.held"]
    assert made.versions["sync.held"] == SYNC_HELD.version
    with pytest.raises(Invalid):
        await register(north, receiver, types=["sunc.*"])


async def test_an_endpoint_reaches_no_further_than_its_maker(north: Town, receiver: Receiver) -> None:
    """An endpoint gets only events that its client may read.

    These are the events of the client's schools, and the events of those secured areas for which the client has the
    scope.
    """
    scopes = frozenset({"webhook:manage", "event:read"})
    one_school = await register(north, receiver, principal=north.client(scopes, (north.schools[0],)))
    opened = await register(north, receiver, principal=north.client(scopes | {"area:sel"}))
    at_one, at_two = await happen(north), await happen(north, student="cy", school=1)
    secured = await happen(north, secured_area="sel")
    await drained(north)
    ids = {name: format_id("event", one) for name, one in (("one", at_one), ("two", at_two), ("sel", secured))}
    assert [came["webhook-id"] for came in receiver.at(one_school)] == [ids["one"]]
    assert {came["webhook-id"] for came in receiver.at(opened)} == set(ids.values())


async def test_another_districts_endpoint_gets_nothing(north: Town, south: Town, receiver: Receiver) -> None:
    """An event of one district is never sent to another district's endpoint. No other test of webhooks matters as
    much.
    """
    of_north, of_south = await register(north, receiver), await register(south, receiver)
    await happen(north)
    await drain(north.settings, {north.district_id, south.district_id})
    assert len(receiver.at(of_north)) == 1
    assert receiver.at(of_south) == []


async def test_a_failure_is_tried_again_with_the_same_id_and_body(north: Town, tmp_path: Path) -> None:
    """After a response with 500, a delivery is attempted again later, with the same id and bytes.

    Both attempts have valid signatures, and both are logged.
    """
    with receiving(tmp_path, "--fail-first", "1") as receiver:
        made = await register(north, receiver)
        await happen(north)
        assert await drained(north) == 1
        assert await drained(north) == 0
        await make_due(north)
        assert await drained(north) == 1
        first, second = receiver.at(made)
    assert (first["answered"], second["answered"]) == (500, 204)
    assert first["webhook-id"] == second["webhook-id"]
    assert (first["body"], first["size"]) == (second["body"], second["size"])
    assert first["verified"]
    assert second["verified"]
    (logged,) = await log_of(north, made)
    assert [attempt.status for attempt in logged.attempts] == [500, 204]


async def test_gone_disables_the_endpoint(north: Town, tmp_path: Path) -> None:
    """After a response 410 an endpoint is disabled, its waiting deliveries end, and its log stays."""
    with receiving(tmp_path, "--status", "410") as receiver:
        made = await register(north, receiver)
        await happen(north)
        await drained(north)
        await happen(north)
        await drained(north)
        assert len(receiver.at(made)) == 1
    async with north.unit() as unit:
        row = await endpoint(unit, made.id)
    assert row.disabled_at is not None
    assert row.disabled_because == "answered_gone"
    assert [logged.delivery.state for logged in await log_of(north, made)] == [DeliveryState.FAILED]


async def test_a_redirect_is_a_failure_and_not_followed(north: Town, tmp_path: Path) -> None:
    """A redirect (3xx) is not followed, because it could lead anywhere.

    The attempt has failed, and another one will follow.
    """
    with receiving(tmp_path, "--status", "307") as receiver:
        made = await register(north, receiver)
        await happen(north)
        await drained(north)
        assert len(receiver.at(made)) == 1
    (logged,) = await log_of(north, made)
    assert logged.delivery.state == DeliveryState.PENDING


async def test_nobody_there_is_a_logged_failure(north: Town, tmp_path: Path) -> None:
    """If the receiver is down, the attempt is logged with the kind of failure, and the delivery stays due."""
    with receiving(tmp_path) as receiver:
        made = await register(north, receiver)
    await happen(north)
    await drained(north)
    (logged,) = await log_of(north, made)
    assert [(attempt.status, attempt.failure) for attempt in logged.attempts] == [(None, "refused")]
    assert logged.delivery.state == DeliveryState.PENDING


async def test_loopback_is_not_reached_outside_a_sandbox(north: Town, receiver: Receiver) -> None:
    """A webhook to a loopback address is not sent outside a sandbox, even if the address was allowed when it was saved.

    The endpoint is not disabled.
    """
    made = await register(north, receiver)
    await happen(north)
    production = north.settings.model_copy(update={"sandbox": False})
    await drain(production, {north.district_id})
    assert receiver.at(made) == []
    async with north.unit() as unit:
        row = await endpoint(unit, made.id)
    assert row.disabled_at is None


async def test_what_waits_for_a_removed_endpoint_ends(north: Town, tmp_path: Path) -> None:
    """After an endpoint is removed, nothing is sent to it, and no delivery stays due."""
    with receiving(tmp_path, "--fail-first", "1") as receiver:
        made = await register(north, receiver)
        await happen(north)
        await drained(north)
        async with north.unit() as unit:
            await remove_endpoint(unit, made.id)
        await make_due(north)
        await drained(north)
        assert len(receiver.at(made)) == 1
    assert await drained(north) == 0


async def test_every_attempt_is_in_the_disclosure_log(north: Town, receiver: Receiver) -> None:
    """Every delivery is written to the disclosure log when it is claimed, because an event with an id is personal
    information.
    """

    @needs(Can.DELIVER_WEBHOOKS)
    async def shown(unit: Work) -> list[Disclosure]:
        in_district = Disclosure.district_id == unit.district_id
        return list(await unit.db.scalars(select(Disclosure).where(in_district)))

    await register(north, receiver)
    await happen(north, student="ben")
    await drained(north)
    async with north.house() as unit:
        rows = await shown(unit)
    logged = [(row.kinds, row.student_ids, row.client_id, row.operation) for row in rows]
    assert logged == [(["event"], [north.students["ben"]], north.client_id, "webhook delivery")]


async def test_the_worker_delivers_on_its_own_and_stops_when_told(
    north: Town, receiver: Receiver, settings: Settings
) -> None:
    """The worker delivers events that are committed while it is idle. When stopped, it finishes running deliveries."""
    made = await register(north, receiver)
    stop = asyncio.Event()
    async with asyncio.timeout(120), asyncio.TaskGroup() as tasks:
        tasks.create_task(work(settings, stop))
        news = tasks.create_task(receiver.news(receiver.count()))
        await happen(north)
        await news
        stop.set()
    assert len(receiver.at(made)) == 1
    (logged,) = await log_of(north, made)
    assert logged.delivery.state == DeliveryState.DELIVERED
