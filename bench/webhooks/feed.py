"""Measures the time to read a page of the feed: the first page, and a page after ten million events. There is no
target.

The time is that of the processor and the database without HTTP. It includes the unit of work of a client, the rows and
their bodies, the disclosure log and the commit.
"""

import os
import statistics
import sys
import time

import asyncpg
import orjson

from app.access.permission import Can
from app.access.principal import client_principal
from app.access.work import unit
from app.core.ids import new_id
from app.core.page import keyset
from app.events import render
from app.events.feed import events_after
from bench.webhooks.district import Bench

EVENTS = int(os.environ.get("AIMLINE_BENCH_EVENTS", "10000000"))
LIMIT = 100
PAGES = 200

INSERT_EVENTS = """
INSERT INTO event (district_id, seq, id, type, version, at, subject_kind, subject_id, subject_version,
                   student_id, school_ids, ids)
SELECT district, n, lpad(to_hex(n), 32, '0')::uuid, 'concern.raised', 1,
       now() - interval '29 days' * ({last} - n) / {last}, 'concern', subject, 1, subject, ARRAY[subject],
       jsonb_build_object('concern', subject, 'student', subject)
FROM (SELECT '{district}'::uuid AS district, n, md5((n / 7)::text)::uuid AS subject
      FROM generate_series({first}, {upto}) AS n) AS made"""
AT_ONCE = 1_000_000

# The constraints and indexes other than the primary key are dropped while the table is filled, and restored afterwards,
# so that ten million rows take minutes.
LIFTED = """
SELECT format('ALTER TABLE event DROP CONSTRAINT %I', conname) AS remove,
       format('ALTER TABLE event ADD CONSTRAINT %I %s', conname, pg_get_constraintdef(oid)) AS restore
FROM pg_constraint WHERE conrelid = 'event'::regclass AND contype IN ('u', 'f')
UNION ALL
SELECT format('DROP INDEX %s', indexrelid::regclass), pg_get_indexdef(indexrelid)
FROM pg_index WHERE indrelid = 'event'::regclass
  AND NOT EXISTS (SELECT FROM pg_constraint WHERE conindid = indexrelid)
"""


async def feed(bench: Bench) -> list[tuple[str, float, str]]:
    """Measures how long it takes to read a page of 100 events, in milliseconds. Returns the figures with their names.

    Pages at the beginning and at the end of ten million events are read.
    """
    district = bench.district_id
    await _fill(bench)
    async with unit(bench.engine, bench.principal, bench.settings.keyring, "bench") as work:
        page = await events_after(work, keyset(district, "events", {}, None, 1))
        epoch = str(page.next)
    begin, end = _cursor(bench, epoch, 0), _cursor(bench, epoch, EVENTS - LIMIT)
    took: dict[str | None, list[float]] = {None: [], begin: [], end: []}
    for _ in range(PAGES):
        for cursor, times in took.items():
            times.append(await _page(bench, cursor))
    newest, first_page, last_page = (statistics.median(took[cursor]) for cursor in (None, begin, end))
    return [
        ("feed: the first page, without a cursor, ms", newest, ""),
        ("feed: the first page after a cursor, ms", first_page, ""),
        (f"feed: the last page of {EVENTS:,} events, ms", last_page, ""),
        ("feed: last page over first page", last_page / first_page, "≤ 1.3"),
    ]


async def _fill(bench: Bench) -> None:
    """Writes the events as the owner, a million in each statement, and rebuilds the table's indexes."""
    owner = await asyncpg.connect(bench.settings.url_of("owner"))
    try:
        lifted = await owner.fetch(LIFTED)
        for statements in lifted:
            await owner.execute(statements["remove"])
        for first in range(1, EVENTS + 1, AT_ONCE):
            upto = min(first + AT_ONCE - 1, EVENTS)
            await owner.execute(INSERT_EVENTS.format(district=bench.district_id, first=first, upto=upto, last=EVENTS))
            print(f"{upto:,} events are written.", file=sys.stderr)
        for statements in lifted:
            await owner.execute(statements["restore"])
        await owner.execute("UPDATE event_counter SET last = $1 WHERE district_id = $2", EVENTS, bench.district_id)
        await owner.execute("VACUUM ANALYZE event")
    finally:
        await owner.close()


def _cursor(bench: Bench, cursor: str, number: int) -> str:
    """Returns a cursor at an event number, in the same feed epoch as a given cursor."""
    place = keyset(bench.district_id, "events", {}, cursor, LIMIT)
    return place.mark(place.after_id(), number)


async def _page(bench: Bench, cursor: str | None) -> float:
    reader = client_principal(bench.district_id, new_id(), "bench", frozenset({str(Can.READ_EVENTS)}))
    began = time.perf_counter()
    async with unit(bench.engine, reader, bench.settings.keyring, "bench") as work:
        page = await events_after(work, keyset(bench.district_id, "events", {}, cursor, LIMIT))
        body = orjson.dumps([render.body(event, bench.settings.base_url) for event in page.rows])
    assert len(page.rows) == LIMIT, len(body)
    return (time.perf_counter() - began) * 1000
