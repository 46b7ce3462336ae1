"""Tests the change feed: no event is skipped or lost unnoticed, and every payload matches its schema."""

from datetime import timedelta
from uuid import UUID

import asyncpg
import jsonschema_rs
import orjson
import pytest
from fastapi import FastAPI
from sqlalchemy import false, text

from app.access.permission import Can
from app.access.work import Work, needs
from app.core.clock import now
from app.core.errors import Gone, Malformed
from app.core.ids import format_id
from app.core.page import Page, keyset
from app.events.catalogue import CATALOGUE, CONCERN_ACCEPTED, CONCERN_RAISED, SYNC_APPLIED
from app.events.feed import KEPT, RESYNC, events_after, feed_end, read_range
from app.events.models import Event
from app.events.service import begin_epoch, expire_events
from tests.faces.rest_town import caller
from tests.house.watch import misshapen_in
from tests.rooms.webhook_town import age, happen, ids_of, lay
from tests.town import Town


async def _read(town: Town, cursor: str | None, *types: str, limit: int | None = None) -> Page[Event]:
    async with town.unit() as work:
        position = keyset(town.district_id, "events", {"type": list(types)}, cursor, limit)
        return await events_after(work, position, types)


async def test_an_event_that_commits_late_is_not_skipped(north: Town) -> None:
    """A reader who has read one event still gets an event with a lower id that is committed later.

    A feed in the order of ids would skip the event with the lower id.
    """
    async with north.unit() as late:
        uncommitted = lay(late, north)
        committed = await happen(north)
        assert uncommitted < committed
        page = await _read(north, None)
        assert ids_of(page) == [committed]
        by_id = max(ids_of(page))
    page = await _read(north, page.next)
    assert ids_of(page) == [uncommitted]
    assert not [one for one in ids_of(page) if one > by_id]


async def test_a_number_is_held_until_its_commit(north: Town) -> None:
    """A transaction that has taken an event number keeps the district's counter locked until the transaction ends.

    Therefore no event with a higher number can be visible before this event.
    """

    @needs(Can.OPERATE)
    async def counter_is_free(work: Work) -> bool:
        statement = "SELECT 1 FROM event_counter WHERE district_id = :district FOR UPDATE SKIP LOCKED"
        return (await work.db.execute(text(statement), {"district": work.district_id})).first() is not None

    async with north.unit() as first:
        lay(first, north)
        await first.finish()
        async with north.house() as other:
            assert not await counter_is_free(other)
    async with north.house() as other:
        assert await counter_is_free(other)


async def test_an_event_that_was_rolled_back_leaves_no_gap_and_no_trace(north: Town) -> None:
    """An event that was rolled back is not in the feed, and its number is used by the next event."""

    async def fail() -> None:
        async with north.unit() as work:
            lay(work, north)
            await work.finish()
            raise ZeroDivisionError

    first = await happen(north)
    with pytest.raises(ZeroDivisionError):
        await fail()
    second = await happen(north)
    page = await _read(north, None)
    assert ids_of(page) == [first, second]
    assert [event.seq for event in page.rows] == [1, 2]


async def test_several_types_are_read_at_once(north: Town) -> None:
    """The feed returns the events of several types in order, and refuses a type that is not in the catalogue."""
    raised, applied = await happen(north), await happen(north, student=None, type_=SYNC_APPLIED)
    await happen(north, type_=CONCERN_ACCEPTED)
    page = await _read(north, None, CONCERN_RAISED.name, SYNC_APPLIED.name)
    assert ids_of(page) == [raised, applied]
    with pytest.raises(Malformed):
        await _read(north, None, "concern.invented")


async def test_the_feed_is_paged_and_always_says_where_to_go_on(north: Town) -> None:
    """The feed is read in pages, and even an empty page has a cursor to go on from."""
    page = await _read(north, None)
    assert page.next is not None
    made = [await happen(north) for _ in range(5)]
    seen: list[UUID] = []
    while True:
        page = await _read(north, page.next, limit=2)
        if not page.rows:
            break
        seen += ids_of(page)
    assert seen == made


async def test_a_cursor_from_which_something_expired_is_refused(north: Town) -> None:
    """If an event after a cursor has expired, reading from this cursor is answered with 410.

    Without a cursor, reading begins with the oldest event that is kept.
    """
    start = (await _read(north, None)).next
    old, kept = await happen(north), await happen(north)
    past_old = (await _read(north, start, limit=1)).next
    await age(north, old, KEPT + timedelta(minutes=1))
    await age(north, kept, KEPT - timedelta(minutes=1))
    with pytest.raises(Gone, match="no longer kept"):
        await _read(north, start)
    assert ids_of(await _read(north, past_old)) == [kept]
    assert ids_of(await _read(north, None)) == [kept]


async def test_the_feed_begins_before_what_was_told_late(north: Town) -> None:
    """The feed begins with the first event that is less than 30 days old.

    Every event after it is returned, even an event that is more than 30 days old.
    """
    first, late, last = await happen(north), await happen(north), await happen(north)
    await age(north, first, KEPT - timedelta(minutes=5))
    await age(north, late, KEPT + timedelta(minutes=5))
    await age(north, last, KEPT - timedelta(minutes=10))
    begun = await _read(north, None, limit=1)
    assert ids_of(begun) == [first]
    assert ids_of(await _read(north, begun.next)) == [late, last]


async def test_what_expires_while_a_page_is_read_is_not_passed_over(north: Town) -> None:
    """If an event is deleted while a page is read, a reader who still needs this event gets an error (410)."""
    old, kept = await happen(north), await happen(north)
    async with north.unit() as work:
        at = await feed_end(work)
        await age(north, old, KEPT + timedelta(minutes=5))
        async with north.house() as other:
            assert await expire_events(other, 2, 10, false()) == 1
        with pytest.raises(Gone, match="no longer kept"):
            await read_range(work, at, 0, 10, (), RESYNC)
        assert [event.id for event in (await read_range(work, at, 1, 10, (), RESYNC)).rows] == [kept]


async def test_a_new_epoch_refuses_every_older_cursor(north: Town) -> None:
    """After the feed was restarted with a new epoch, every cursor from before the restart is refused."""
    first = await happen(north)
    cursor = (await _read(north, None)).next
    async with north.house() as work:
        await begin_epoch(work)
    with pytest.raises(Gone, match="was restarted"):
        await _read(north, cursor)
    page = await _read(north, None)
    assert ids_of(page) == [first]
    assert ids_of(await _read(north, page.next)) == []


async def test_a_cursor_beyond_the_head_is_refused(north: Town) -> None:
    """A cursor beyond the end of the feed is refused.

    There is such a cursor if the database was restored from a backup and no new epoch was begun.
    """
    await happen(north)
    cursor = (await _read(north, None)).next
    owner = await asyncpg.connect(north.settings.url_of("owner"))
    try:
        await owner.execute("UPDATE event_counter SET last = 0 WHERE district_id = $1", north.district_id)
    finally:
        await owner.close()
    with pytest.raises(Gone, match="beyond"):
        await _read(north, cursor)


async def test_what_is_gone_is_said_over_rest(app: FastAPI, north: Town) -> None:
    """Over REST, a cursor from an earlier epoch gives 410 with advice. Several event types can be requested at once."""
    north_client = caller(app, north)
    await happen(north)
    answer = await north_client.ask("GET", "/v1/events?type=concern.raised&type=sync.applied")
    assert [one["type"] for one in answer.json()["items"]] == ["concern.raised"]
    cursor = answer.json()["next"]
    async with north.house() as work:
        await begin_epoch(work)
    answer = await north_client.ask("GET", f"/v1/events?type=sync.applied&type=concern.raised&after={cursor}")
    assert answer.status_code == 410
    assert answer.json()["code"] == "feed.epoch"
    assert "without a cursor" in answer.json()["detail"]
    assert (await north_client.get("/v1/events", type="concern.invented")).status_code == 400


async def test_the_catalogue_has_a_schema_for_every_type(app: FastAPI, north: Town) -> None:
    """The event types have the same schemas over REST and in the contract, and the feed's events match them."""
    await happen(north)
    north_client = caller(app, north)
    bodies_by_type = {one["name"]: one["body"] for one in (await north_client.get("/v1/event-types")).json()["items"]}
    assert bodies_by_type.keys() == CATALOGUE.keys()
    contract = app.openapi()["webhooks"]
    for name, schema in bodies_by_type.items():
        content = contract[name]["post"]["requestBody"]["content"]
        versions = content["application/json"]["schema"].get("anyOf", [content["application/json"]["schema"]])
        assert schema in versions
        assert len(versions) == len(CATALOGUE[name].versions)
        jsonschema_rs.meta.validate({"$schema": "https://json-schema.org/draft/2020-12/schema", **schema})
    (item,) = await _items(north_client.token, app)
    assert jsonschema_rs.is_valid(bodies_by_type["concern.raised"], item)


async def _items(token: str, app: FastAPI) -> list[dict[str, object]]:
    from tests.faces.rest_town import plain

    async with plain(app) as client:
        answer = await client.get("/v1/events", headers={"Authorization": f"Bearer {token}"})
    items: list[dict[str, object]] = orjson.loads(answer.content)["items"]
    return items


async def test_a_planted_body_is_found(north: Town) -> None:
    """`misshapen_in` finds the fault in each wrong event body, such as an unexpected name or a missing id.

    The tests apply `misshapen_in` to every event.
    """
    good = {
        "type": "sync.applied",
        "timestamp": now().isoformat(),
        "data": {
            "id": format_id("event", north.district_id),
            "version": 1,
            "district": format_id("district", north.district_id),
            "subject": format_id("run", north.district_id),
            "subject_version": 1,
            "run": format_id("run", north.district_id),
            "counts": {"person": {"created": 3}},
            "link": "http://aimline.test/v1/sync-runs/x",
        },
    }
    assert misshapen_in(good) == []
    data = good["data"]
    assert isinstance(data, dict)
    for spoilt in (
        {**data, "name": "Amy"},
        {key: value for key, value in data.items() if key != "run"},
        {**data, "run": format_id("student", north.district_id)},
        {**data, "version": 2},
        {**data, "counts": {"person": {"created": "Amy"}}},
    ):
        assert len(misshapen_in({**good, "data": spoilt})) == 1
