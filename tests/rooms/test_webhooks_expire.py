"""Tests retention: events and the log of deliveries are deleted after 30 days, but nothing that is still to be sent."""

from datetime import timedelta

import asyncpg
import pytest

from app.core.errors import Gone
from app.core.ids import format_id
from app.core.page import keyset
from app.events.feed import KEPT, events_after
from app.maintenance.models import TaskKind
from app.webhooks import service
from app.webhooks.deliver import dispatch
from app.webhooks.deliveries.retention import expire
from tests.rooms.webhook_town import Receiver, drained, happen, log_of, register
from tests.town import Town, maintain

OLD = KEPT + timedelta(hours=1)


async def _age(town: Town, table: str, column: str, by: timedelta = OLD) -> None:
    """Moves a time of every row of a table of the district into the past."""
    owner = await asyncpg.connect(town.settings.url_of("owner"))
    try:
        await owner.execute(
            f"UPDATE {table} SET {column} = {column} - $2::interval WHERE district_id = $1", town.district_id, by
        )
    finally:
        await owner.close()


async def _left(town: Town) -> dict[str, int]:
    """Returns the number of rows in each of four tables: events, deliveries, attempts and disclosures."""
    owner = await asyncpg.connect(town.settings.url_of("owner"))
    try:
        return {
            table: await owner.fetchval(f"SELECT count(*) FROM {table} WHERE district_id = $1", town.district_id)
            for table in ("event", "webhook_delivery", "webhook_attempt", "disclosure")
        }
    finally:
        await owner.close()


async def _all_gone(town: Town) -> int:
    gone = 0
    while True:
        async with town.house() as work:
            deleted = await expire(work, 2)
        gone += deleted
        if not deleted:
            return gone


async def _first_cursor(town: Town) -> str | None:
    async with town.unit() as work:
        return (await events_after(work, keyset(town.district_id, "events", {}, None, None))).next


async def test_old_events_and_their_log_go_and_the_rest_stays(north: Town, receiver: Receiver) -> None:
    """Old events, deliveries and attempts are deleted in batches; the disclosure log and newer rows stay."""
    cursor = await _first_cursor(north)
    made = await register(north, receiver)
    for _ in range(5):
        await happen(north)
    await drained(north)
    disclosed = (await _left(north))["disclosure"]
    await _age(north, "event", "at")
    await _age(north, "webhook_delivery", "ended_at")
    kept = await happen(north)
    await drained(north)
    assert await _all_gone(north) == 10
    left = await _left(north)
    assert (left["event"], left["webhook_delivery"], left["webhook_attempt"]) == (1, 1, 1)
    assert left["disclosure"] > disclosed
    (logged,) = await log_of(north, made)
    assert logged.delivery.event_id == kept
    async with north.unit() as work:
        with pytest.raises(Gone, match="no longer kept"):
            await events_after(work, keyset(north.district_id, "events", {}, cursor, None))
        page = await events_after(work, keyset(north.district_id, "events", {}, None, None))
    assert [event.id for event in page.rows] == [kept]


async def test_what_waits_keeps_its_event(north: Town, receiver: Receiver) -> None:
    """An event is kept while a delivery of it waits, even for a paused endpoint."""
    made = await register(north, receiver)
    async with north.unit() as work:
        await service.pause_endpoint(work, made.id)
    event_id = await happen(north)
    await drained(north)
    await _age(north, "event", "at")
    await happen(north)
    assert await _all_gone(north) == 0
    async with north.unit() as work:
        await service.resume_endpoint(work, made.id)
    await drained(north)
    assert format_id("event", event_id) in [one["webhook-id"] for one in receiver.at(made)]


async def test_what_ended_lately_keeps_its_log(north: Town, receiver: Receiver) -> None:
    """If an old event was sent again lately, it stays in the log for 30 days from then."""
    made = await register(north, receiver)
    await happen(north)
    await drained(north)
    await _age(north, "event", "at")
    assert await _all_gone(north) == 0
    assert len(await log_of(north, made)) == 1
    await _age(north, "webhook_delivery", "ended_at")
    assert await _all_gone(north) == 2


async def test_a_delivery_whose_event_is_gone_ends(north: Town, receiver: Receiver) -> None:
    """A delivery whose event is missing ends, and does not stop the district's other deliveries."""
    made = await register(north, receiver)
    lost = await happen(north)
    await _lay(north)
    owner = await asyncpg.connect(north.settings.url_of("owner"))
    try:
        await owner.execute("DELETE FROM event WHERE district_id = $1 AND id = $2", north.district_id, lost)
    finally:
        await owner.close()
    kept = await happen(north)
    await drained(north)
    assert [one["webhook-id"] for one in receiver.at(made)] == [format_id("event", kept)]


async def _lay(town: Town) -> None:
    async with town.house() as work:
        await dispatch(work)


async def test_a_round_deletes_in_its_district_only(north: Town, south: Town) -> None:
    """The deletion of old events of one district leaves those of another district as they are."""
    for town in (north, south):
        await happen(town)
        await _age(town, "event", "at")
    done = await maintain(north)
    assert done[TaskKind.EXPIRY] == 1
    assert (await _left(north))["event"] == 0
    assert (await _left(south))["event"] == 1
