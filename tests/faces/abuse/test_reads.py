"""Tests that reads with very much data are bounded, and do not block the process or use all its connections."""

import asyncio
import threading
from datetime import timedelta
from typing import Any
from uuid import UUID

import asyncpg
import pytest
from fastapi import FastAPI
from sqlalchemy.pool import QueuePool

from app.agenda.pages import recap
from app.core.ids import format_id
from app.events.hub import MAX_READERS
from app.evidence import queries
from app.evidence.service import NewScore
from app.response.administration import playbook
from app.response.judging import cohort, load
from app.response.service import record_scores
from app.rest.door import Services
from tests.faces.abuse.blocking import watched
from tests.faces.abuse.measure import pace
from tests.faces.rest_town import caller
from tests.faces.sockets import connected, listening
from tests.rooms.test_groups import formed
from tests.rooms.test_loop import BEGINS, RISES, STALLS, served, stu, weekly
from tests.rooms.test_recaps import closed_meeting
from tests.rooms.test_verdicts_playbook import FOUR
from tests.town import Town

QUARANTINED = 20_000
LONGEST = 0.1
"""The longest time in seconds for which a request may block the event loop."""


async def quarantined_run(town: Town) -> UUID:
    """Writes a run with many rows in quarantine, and returns its id."""
    connection = await asyncpg.connect(town.settings.url_of("owner"))
    try:
        async with connection.transaction():
            run_id: UUID = await connection.fetchval(
                """INSERT INTO sis_run (district_id, id, source_id, dry, state, mode, began_at, counts, held_because,
                                        not_taken, repaired, sentence, warnings)
                   SELECT district_id, gen_random_uuid(), id, false, 'applied', 'full', now(), '{}', '[]', '[]', '{}',
                          'Nothing has changed.', '[]'
                   FROM source WHERE district_id = $1 LIMIT 1 RETURNING id""",
                town.district_id,
            )
            await connection.execute(
                """INSERT INTO sis_quarantine (district_id, id, run_id, kind, file, row_number, sourced_id, field, code,
                                               content, acknowledged)
                   SELECT $1, gen_random_uuid(), $2, 'person', 'users.csv', n, 'u' || n, 'enabledUser',
                          'boolean.malformed', md5(n::text), false FROM generate_series(1, $3::int) n""",
                town.district_id,
                run_id,
                QUARANTINED,
            )
    finally:
        await connection.close()
    return run_id


async def test_a_long_quarantine_does_not_block_the_process(app: FastAPI, north: Town) -> None:
    """Neither listing nor acknowledging many quarantined rows blocks the event loop for long.

    Once, listing 100,000 rows blocked it for seconds. Acknowledging them blocked it until the process was ended.
    """
    run = format_id("run", await quarantined_run(north))
    client = caller(app, north)
    await client.get("/v1/me")
    async with watched() as blocking:
        sheet = await client.ask("GET", f"/v1/sync-runs/{run}/quarantine.csv")
        done = await client.post(f"/v1/sync-runs/{run}/quarantine/acknowledge", {})
    assert sheet.text.count("\r\n") == QUARANTINED + 1
    assert done.json() == {"acknowledged": QUARANTINED}
    assert blocking.longest < LONGEST * pace()


async def test_a_preview_is_computed_beside_the_event_loop(
    app: FastAPI, north: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A preview of rules is computed in a thread, so that the event loop stays free for other requests.

    A preview judges every support twice. Before a thread was used, a preview of 1,300 supports ended the process.
    """
    monkeypatch.setattr(load, "MANY", 1, raising=False)
    threads: list[threading.Thread] = []
    judge = cohort.judge_series

    def watch(*args: Any, **kwargs: Any) -> Any:
        threads.append(threading.current_thread())
        return judge(*args, **kwargs)

    monkeypatch.setattr(playbook, "judge_series", watch)
    for name in ("amy", "ben", "cy"):
        await served(north, name)
        async with north.unit() as work:
            await record_scores(work, weekly(north, name, RISES + STALLS))
    preview = await caller(app, north).post("/v1/playbook/preview", FOUR)
    assert (preview.json()["judged"], sum(preview.json()["before"].values())) == (3, 3)
    assert threads
    assert threading.main_thread() not in threads


async def test_a_recap_is_bounded(app: FastAPI, north: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    """A recap lists items and action items only up to the limit that also applies to an agenda.

    It states how many further items were left out.
    """
    asks = caller(app, north)
    _, meeting = await closed_meeting(asks, north)
    monkeypatch.setattr(recap, "MOST", 2, raising=False)
    shown = (await asks.get(f"/v1/meetings/{meeting}/recap")).json()
    assert sum(len(shown[state]) for state in ("discussed", "carried", "dropped", "suspended")) == 2
    assert shown["hidden"] == 1


async def test_a_chart_is_bounded(app: FastAPI, north: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    """A chart of too many scores is refused before they are read. 60,000 scores once blocked the process for 2 s."""
    supported = await served(north, "amy")
    async with north.unit() as work:
        await record_scores(work, weekly(north, "amy", RISES + STALLS))
    client = caller(app, north)
    path = f"/v1/supports/{format_id('support', supported.id)}/chart"
    for most, status in ((len(RISES + STALLS), 200), (len(RISES + STALLS) - 1, 422)):
        monkeypatch.setattr(queries, "MAX_CHARTED", most, raising=False)
        for picture in (path, f"{path}.svg"):
            assert (answer := await client.ask("GET", picture)).status_code == status
            assert status == 200 or answer.json()["violations"][0]["code"] == "link.too_long"


async def test_the_chart_of_a_group_has_a_point_for_each_day(
    app: FastAPI, north: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the chart of a group, the scores of a student on one day are one point, which is their median. The limit of a
    chart counts these points and not the scores.
    """
    group = await formed(north, "amy", "ben")
    values = {1: (41.0, 44.5), 2: (40.0, 50.0, 43.0)}
    async with north.unit() as work:
        await record_scores(
            work,
            [
                NewScore(stu(north, "amy"), "orf", BEGINS + timedelta(weeks=week), value, attempt=attempt)
                for week, of_day in values.items()
                for attempt, value in enumerate(of_day, 1)
            ],
        )
    client, path = caller(app, north), f"/v1/groups/{format_id('group', group.id)}/chart"
    monkeypatch.setattr(queries, "MAX_CHARTED", 2, raising=False)
    lines = (await client.ask("GET", path)).json()["lines"]
    assert sorted([point["value"] for point in line["points"]] for line in lines) == [[], [42.75, 43.0]]
    monkeypatch.setattr(queries, "MAX_CHARTED", 1)
    assert (await client.ask("GET", path)).json()["violations"][0]["code"] == "link.too_long"


async def test_many_subscriptions_at_once_leave_connections_to_requests(app: FastAPI, north: Town) -> None:
    """A client's subscriptions use only some of the database connections at the same time.

    The other connections stay free for other requests.
    """
    services: Services = app.state.services
    pool, used = services.engine.pool, [0]
    assert isinstance(pool, QueuePool)
    client, number = caller(app, north), 10

    async def watch() -> None:
        while True:
            used.append(pool.checkedout())
            await asyncio.sleep(0)

    async with (
        listening(app) as address,
        connected(address, client.token) as one,
        connected(address, client.token) as two,
    ):
        watching = asyncio.create_task(watch())
        for name in range(number):
            for each in (one, two):
                await each.subscribe("subscription { events { cursor } }", f"s{name}")
        async with asyncio.timeout(60):
            while services.hub.waiting < 2 * number:  # noqa: ASYNC110  # no event reports it
                await asyncio.sleep(0.01)
        watching.cancel()
    assert max(used) <= MAX_READERS + 1, "the poll of the feeds' heads is one more"


async def test_a_long_series_is_computed_beside_the_event_loop(north: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    """A series with very many scores is assembled in a thread, even if it is the only one.

    Only the number of series once decided, and a series of 60,000 scores was computed on the event loop.
    """
    monkeypatch.setattr(load, "SCORES_OF_SERIES", 1, raising=False)
    monkeypatch.setattr(load, "MANY", 1 + len(RISES))
    threads: list[threading.Thread] = []
    assemble = load._assemble

    def watch(*args: Any) -> Any:
        threads.append(threading.current_thread())
        return assemble(*args)

    monkeypatch.setattr(load, "_assemble", watch)
    await served(north, "amy")
    async with north.unit() as work:
        await record_scores(work, weekly(north, "amy", RISES))
    assert threads[-1] is not threading.main_thread()
