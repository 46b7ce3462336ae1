"""Tests named consumers: the server stores a reader's position, moves it only forward, and reports expired events."""

from datetime import timedelta
from uuid import UUID

import asyncpg
import pytest
from fastapi import FastAPI
from sqlalchemy import any_, func, literal, select, text

from app.access.models import Disclosure
from app.access.permission import Can
from app.access.principal import Principal, client_principal
from app.access.work import Work, needs
from app.core.clock import now
from app.core.errors import Conflict, Forbidden, Gone, Invalid, NotFound
from app.core.ids import format_id, new_id
from app.core.page import Page, keyset
from app.events import consumers
from app.events.catalogue import CONCERN_ACCEPTED, CONCERN_RAISED
from app.events.consumers import ConsumerPosition, NewConsumer
from app.events.feed import KEPT, events_after, position_before
from app.events.models import Event
from app.events.service import begin_epoch
from tests.faces.rest_town import caller
from tests.rooms.webhook_town import age, happen, ids_of
from tests.town import ALL_SCOPES, Town


async def _keep(
    town: Town, settings: NewConsumer | None = None, principal: Principal | None = None
) -> ConsumerPosition:
    async with town.unit(principal) as work:
        place, _ = await consumers.save_consumer(work, "nightly", settings or NewConsumer(()))
    return place


async def _read(town: Town, limit: int | None = None, principal: Principal | None = None) -> Page[Event]:
    async with town.unit(principal) as work:
        _, page = await consumers.consumer_events(work, "nightly", limit)
    return page


async def _commit(town: Town, cursor: str | None) -> ConsumerPosition:
    async with town.unit() as work:
        return await consumers.commit(work, "nightly", cursor or "")


async def _seek(town: Town, to: consumers.SeekTarget, **more: object) -> ConsumerPosition:
    async with town.unit() as work:
        return await consumers.seek(work, "nightly", to, **more)  # type: ignore[arg-type]  # a test's shorthand


async def test_a_consumer_goes_on_from_what_was_committed(north: Town) -> None:
    """Reading does not move a consumer's position: events are returned again until they are committed."""
    earlier = await happen(north)
    await _keep(north)
    made = [await happen(north) for _ in range(5)]
    assert ids_of(await _read(north, 2)) == ids_of(await _read(north, 2)) == made[:2]
    seen: list[UUID] = []
    while (page := await _read(north, 2)).rows:
        seen += ids_of(page)
        assert (await _commit(north, page.next)).consumer.committed_at is not None
    assert seen == made
    assert earlier not in seen
    async with north.unit() as work:
        assert (await consumers.consumer(work, "nightly")).behind == 0


async def test_a_commit_never_moves_back(north: Town) -> None:
    """If two readers share a consumer, committing an earlier position after a later one changes nothing."""
    await _keep(north)
    made = [await happen(north) for _ in range(4)]
    slow, fast = await _read(north, 1), await _read(north, 3)
    await _commit(north, fast.next)
    place = await _commit(north, slow.next)
    assert place.behind == 1
    assert ids_of(await _read(north)) == made[3:]


async def test_what_was_read_before_a_seek_commits_nothing(north: Town) -> None:
    """After a seek, a reader cannot commit a cursor that it received before the seek."""
    await _keep(north)
    made = [await happen(north) for _ in range(3)]
    page = await _read(north)
    await _seek(north, "beginning")
    with pytest.raises(Conflict, match="moved by a seek"):
        await _commit(north, page.next)
    assert ids_of(await _read(north)) == made


async def test_a_consumer_seeks_anywhere_that_is_kept(north: Town) -> None:
    """A consumer can move to the beginning, to the end, to an instant, and to a cursor of its own or of the feed."""
    made = [await happen(north) for _ in range(4)]
    await _keep(north)
    await age(north, made[0], timedelta(hours=3))
    await age(north, made[1], timedelta(hours=2))
    assert ids_of(await _read(north)) == []
    assert (await _seek(north, "beginning")).behind == 4
    assert ids_of(await _read(north)) == made
    own = (await _read(north, 3)).next
    await _seek(north, "time", time=now() - timedelta(hours=2, minutes=30))
    assert ids_of(await _read(north)) == made[1:]
    await _seek(north, "time", time=now() - timedelta(days=400))
    assert ids_of(await _read(north)) == made
    await _seek(north, "time", time=now() + timedelta(hours=1))
    assert ids_of(await _read(north)) == []
    await _seek(north, "cursor", cursor=own)
    assert ids_of(await _read(north)) == made[3:]
    async with north.unit() as work:
        feed = await events_after(work, keyset(north.district_id, "events", {}, None, 1, north.settings.keyring))
    await _seek(north, "cursor", cursor=feed.next)
    assert ids_of(await _read(north)) == made[1:]
    await _seek(north, "end")
    assert ids_of(await _read(north)) == []


async def test_a_seek_to_a_time_skips_nothing_that_was_told_late(north: Town) -> None:
    """A seek to an instant does not skip an event that was committed late.

    Events can be in the feed in another order than their instants. The seek goes to the first event in the feed that is
    not older than the instant.
    """
    first, late, last = await happen(north), await happen(north), await happen(north)
    await _keep(north)
    await age(north, first, timedelta(minutes=55))
    await age(north, late, timedelta(minutes=60))
    await age(north, last, timedelta(minutes=50))
    await _seek(north, "time", time=now() - timedelta(minutes=61))
    assert ids_of(await _read(north)) == [first, late, last]
    await _seek(north, "time", time=now() - timedelta(minutes=57))
    assert ids_of(await _read(north)) == [first, late, last]
    await _seek(north, "time", time=now() - timedelta(minutes=52))
    assert ids_of(await _read(north)) == [last]


async def test_a_seek_far_back_looks_at_few_rows(north: Town) -> None:
    """A seek to an instant reads only few events, however many there are before and after it."""
    await happen(north)
    owner = await asyncpg.connect(north.settings.url_of("owner"))
    try:
        await owner.execute(FILL, north.district_id)
        await owner.execute("ANALYZE event")
    finally:
        await owner.close()

    @needs(Can.READ_EVENTS)
    async def reads(work: Work) -> int:
        query = "SELECT pg_stat_get_xact_tuples_fetched('event'::regclass) + pg_stat_get_xact_tuples_returned("
        return int((await work.db.scalar(text(f"{query}'event'::regclass)"))) or 0)

    async with north.unit() as work:
        was = await reads(work)
        number = await position_before(work, now() - timedelta(days=15))
        assert await reads(work) - was < 1_000
    assert 9_900 < number < 10_100


FILL = """
INSERT INTO event (district_id, seq, id, type, version, at, subject_kind, subject_id, subject_version, school_ids, ids)
SELECT district_id, n, gen_random_uuid(), type, version, now() - (20000 - n) * interval '2 minutes 10 seconds',
       subject_kind, subject_id, subject_version, school_ids, ids
FROM event, generate_series(2, 20000) AS n WHERE district_id = $1 AND seq = 1
"""


async def test_a_seek_says_where_to(north: Town) -> None:
    """An invalid target of a seek is refused, and the position does not move."""
    await _keep(north)
    async with north.unit() as work:
        other, _ = await consumers.save_consumer(work, "other", NewConsumer())
    for to, more in (
        ("end", {"cursor": other.cursor}),
        ("cursor", {}),
        ("time", {}),
        ("cursor", {"cursor": "made-up"}),
        ("cursor", {"cursor": other.cursor}),
    ):
        with pytest.raises(Invalid):
            await _seek(north, to, **more)  # type: ignore[arg-type]  # a test's shorthand
    with pytest.raises(Invalid):
        await _commit(north, other.cursor)


async def test_types_are_a_consumers_own(north: Town) -> None:
    """A consumer reads only its event types and moves past the others. If its types change, it keeps its position."""
    await _keep(north, NewConsumer((CONCERN_ACCEPTED.name,)))
    await happen(north)
    accepted = await happen(north, type_=CONCERN_ACCEPTED)
    raised = await happen(north)
    page = await _read(north)
    assert ids_of(page) == [accepted]
    assert (await _commit(north, page.next)).behind == 0
    later = await happen(north)
    place = await _keep(north, NewConsumer((CONCERN_RAISED.name,), begin="beginning"))
    assert place.behind == 1
    assert ids_of(await _read(north)) == [later]
    assert raised != later
    async with north.unit() as work:
        with pytest.raises(Invalid):
            await consumers.save_consumer(work, "No Such Name", NewConsumer(("concern.invented",)))
        with pytest.raises(Invalid):
            await consumers.save_consumer(work, "nightly", NewConsumer(versions={"concern.raised": 99}))


async def test_a_page_of_before_more_types_commits_nothing(north: Town) -> None:
    """If a consumer's types were extended, a page that was read before cannot be committed.

    Its cursor would skip events of the new types. If the types are the same or fewer, it can be committed.
    """
    await _keep(north, NewConsumer((CONCERN_ACCEPTED.name,)))
    raised = await happen(north)
    page = await _read(north)
    await _keep(north, NewConsumer((CONCERN_ACCEPTED.name, CONCERN_RAISED.name)))
    with pytest.raises(Conflict, match="more event types"):
        await _commit(north, page.next)
    page = await _read(north)
    assert ids_of(page) == [raised]
    await _keep(north, NewConsumer((CONCERN_RAISED.name,)))
    await _commit(north, page.next)
    page = await _read(north)
    await _keep(north)
    with pytest.raises(Conflict, match="more event types"):
        await _commit(north, page.next)
    page = await _read(north)
    await _keep(north)
    await _commit(north, page.next)


async def test_a_reader_of_a_rare_type_does_not_fall_out(north: Town) -> None:
    """A page with few events of a rare type still moves the consumer to the end of the feed.

    So it gets no 410 when older events expire.
    """
    await _keep(north, NewConsumer((CONCERN_ACCEPTED.name,)))
    old = await happen(north)
    await _commit(north, (await _read(north)).next)
    await _expire(north, old)
    assert ids_of(await _read(north)) == []


async def _expire(town: Town, event_id: UUID) -> None:
    """Expires everything in the feed up to this event."""
    owner = await asyncpg.connect(town.settings.url_of("owner"))
    try:
        gone = "SELECT seq FROM event WHERE district_id = $1 AND id = $2"
        await owner.execute(
            f"UPDATE event_counter SET expired = ({gone}) WHERE district_id = $1", town.district_id, event_id
        )
        await owner.execute(
            "DELETE FROM event WHERE district_id = $1 AND seq <= (SELECT expired FROM event_counter "
            "WHERE district_id = $1)",
            town.district_id,
        )
    finally:
        await owner.close()


async def test_a_place_that_fell_out_says_how_to_go_on(north: Town) -> None:
    """If events after a consumer's position have expired, it gets 410. A seek lets it go on.

    This holds whether or not the expired events have been deleted yet.
    """
    await _keep(north)
    old, kept = await happen(north), await happen(north)
    await age(north, old, KEPT + timedelta(minutes=2))
    with pytest.raises(Gone, match="seek to the beginning or the end"):
        await _read(north)
    await _expire(north, old)
    with pytest.raises(Gone, match="no longer kept"):
        await _read(north)
    await _seek(north, "beginning")
    assert ids_of(await _read(north)) == [kept]


async def test_a_new_epoch_ends_every_place(north: Town) -> None:
    """If the feed gets a new epoch after a restore from a backup, a consumer with the earlier epoch is refused.

    A cursor from the earlier epoch is refused too.
    """
    await _keep(north)
    made = await happen(north)
    cursor = (await _read(north)).next
    async with north.house() as work:
        await begin_epoch(work)
    with pytest.raises(Gone, match="was restarted"):
        await _read(north)
    with pytest.raises(Gone, match="was restarted"):
        await _commit(north, cursor)
    with pytest.raises(Gone, match="was restarted"):
        await _seek(north, "cursor", cursor=cursor)
    await _seek(north, "beginning")
    assert ids_of(await _read(north)) == [made]


async def test_a_place_beyond_the_head_is_refused(north: Town) -> None:
    """If a database is restored and no new epoch is begun, a consumer's position can be beyond the end of the feed.

    Reading is then refused.
    """
    await happen(north)
    await _keep(north)
    owner = await asyncpg.connect(north.settings.url_of("owner"))
    try:
        await owner.execute("UPDATE event_counter SET last = 0 WHERE district_id = $1", north.district_id)
    finally:
        await owner.close()
    with pytest.raises(Gone, match="beyond"):
        await _read(north)


async def test_a_consumer_is_its_clients_own(north: Town) -> None:
    """Each client of a district has its own consumers, even if they have the same name."""
    await _keep(north)
    other = client_principal(north.district_id, new_id(), "another", ALL_SCOPES)
    async with north.unit(other) as work:
        with pytest.raises(NotFound):
            await consumers.consumer(work, "nightly")
    await happen(north)
    await _keep(north, principal=other)
    assert ids_of(await _read(north, principal=other)) == []
    assert len(ids_of(await _read(north))) == 1
    async with north.unit(other) as work:
        await consumers.remove_consumer(work, "nightly")
        page = await consumers.consumers(work, keyset(north.district_id, "consumers", {}, None, None))
    assert page.rows == []
    assert len(ids_of(await _read(north))) == 1


async def test_a_consumer_of_no_client_is_refused(north: Town) -> None:
    """A request that has no client, such as one of an operator, cannot have a consumer."""
    async with north.house() as work:
        with pytest.raises(Forbidden):
            await consumers.save_consumer(work, "nightly", NewConsumer())


async def test_a_removed_consumer_begins_anew(north: Town) -> None:
    """A consumer that was removed and created again begins at the present end of the feed.

    A cursor that it read before its removal can no longer be committed.
    """
    await _keep(north)
    await happen(north)
    cursor = (await _read(north)).next
    async with north.unit() as work:
        await consumers.remove_consumer(work, "nightly")
    with pytest.raises(NotFound):
        await _read(north)
    assert (await _keep(north)).behind == 0
    with pytest.raises(Conflict):
        await _commit(north, cursor)


async def test_a_consumer_reads_what_its_client_reads(north: Town) -> None:
    """A consumer reads only the events of schools and areas that its client may see.

    Its reads are written to the disclosure log.
    """
    plain = north.client(frozenset({"event:read"}), schools=(north.schools[0],))
    await _keep(north, principal=plain)
    seen = await happen(north)
    await happen(north, student="cy", school=1)
    await happen(north, secured_area="sel")
    assert ids_of(await _read(north, principal=plain)) == [seen]

    @needs(Can.OPERATE)
    async def logged(work: Work) -> int:
        query = select(func.count()).where(
            Disclosure.district_id == north.district_id, literal("event") == any_(Disclosure.kinds)
        )
        return int((await work.db.execute(query)).scalar_one())

    async with north.house() as work:
        assert await logged(work) == 1


async def test_a_consumer_over_rest(app: FastAPI, north: Town) -> None:
    """REST creates, reads, commits and seeks consumers with the statuses that the contract documents."""
    client = caller(app, north)
    path = "/v1/events/consumers/nightly"
    new = {"event_types": ["concern.raised"], "versions": {"concern.raised": 1}}
    assert (await client.ask("PUT", path, json=new)).status_code == 201
    assert (await client.ask("PUT", path, json=new)).status_code == 200
    event_id = await happen(north)
    read = (await client.get(f"{path}/events")).json()
    assert [one["data"]["id"] for one in read["items"]] == [format_id("event", event_id)]
    feed = (await client.get("/v1/events", version="concern.raised:1")).json()
    assert read["items"] == feed["items"]
    committed = await client.post(f"{path}/commit", {"cursor": read["next"]})
    assert committed.json()["behind"] == 0
    assert (await client.post(f"{path}/seek", {"to": "beginning"})).json()["behind"] == 1
    assert (await client.post(f"{path}/commit", {"cursor": read["next"]})).status_code == 409
    assert (await client.post(f"{path}/seek", {"to": "somewhere"})).status_code == 422
    assert (await client.post(f"{path}/commit", {"cursor": "x"})).status_code == 422
    assert [one["name"] for one in await client.items("/v1/events/consumers")] == ["nightly"]
    async with north.house() as work:
        await begin_epoch(work)
    gone = await client.get(f"{path}/events")
    assert (gone.status_code, gone.json()["code"]) == (410, "feed.epoch")
    assert (await client.ask("DELETE", path)).status_code == 204
    assert (await client.get(path)).status_code == 404
    assert (await client.ask("PUT", "/v1/events/consumers/A%20b", json=new)).status_code == 422


async def test_an_existing_consumer_keeps_the_types_that_a_request_does_not_name(app: FastAPI, north: Town) -> None:
    """A request that changes a consumer without naming types keeps the consumer's types.

    A generated client may repeat such a request, which must not make the consumer read all types.
    """
    client, path = caller(app, north), "/v1/events/consumers/narrow"
    made = await client.ask("PUT", path, json={"event_types": [CONCERN_RAISED.name]})
    repeated = await client.ask("PUT", path, json={})
    assert (made.status_code, repeated.status_code) == (201, 200)
    assert repeated.json()["event_types"] == [CONCERN_RAISED.name]
    assert (await client.ask("PUT", path, json={"event_types": []})).json()["event_types"] == []
