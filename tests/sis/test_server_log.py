"""Tests that no submitted value appears in PostgreSQL's own log.

The server of these tests logs as PostgreSQL does by default: each error with its DETAIL, CONTEXT and STATEMENT.
"""

import asyncio
import json
import secrets
from collections.abc import Callable, Iterator
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy.ext.asyncio import AsyncEngine

from app.settings import Settings
from tests.faces.rest_town import caller
from tests.faces.spoiled import places_of, places_with_wrong_shape, spoiled, value_at
from tests.house.full_district import fill_district
from tests.house.walk import Request, operations, own_request
from tests.house.walk_knows import OPEN
from tests.sis.gradebook_zip import Delivered
from tests.sis.roster_zip import LENIENT, sync
from tests.town import Town, found_town

VALUES = {
    "text": "{}",
    "long": "{}" + "x" * 9_000,
    "no date": "2026-02-30{}",
    "no number": "1e999{}",
    "digits of another script": "٢٠٢٦{}",
    "JSON": '{{"{}": [',
    "a list": "{0},{0},,{0}",
    "quotes": '{}"{}"',
}
"""Values that no type of ours can read; each contains the canary."""
ROWS: dict[str, Callable[[str, str], str]] = {
    "too many cells": lambda row, word: f"{row},{word},{word}",
    "too few cells": lambda row, word: f"{word},{word}",
    "an open quote": lambda row, word: f'{row[:4]},"{word}',
    "a quote within": lambda row, word: f'{row},"{word}"{word}"',
    "a carriage return": lambda row, word: f"{word}\r{row}",
    "an end of data": lambda row, word: f"\\.{word}",
    "an old end of data": lambda row, word: "\\.",
}


@pytest.fixture
def word(server_log: Path) -> Iterator[str]:
    """Yields a random word for texts that must not be logged, and checks at the end that the log does not contain
    it.
    """
    canary = f"Zanary{secrets.token_hex(6)}"
    yield canary
    logged = server_log.read_text(errors="replace")
    lines = [line for line in logged.splitlines() if canary.lower() in line.lower()]
    assert lines == [], f"{len(lines)} lines of the server's log hold what was sent, such as: {lines[0][:300]}"


async def test_the_log_would_show_it(settings: Settings, server_log: Path) -> None:
    """If COPY cannot read a row, the row appears in PostgreSQL's log. The other tests would therefore notice a leak."""
    canary = f"Zanary{secrets.token_hex(6)}"
    connection = await asyncpg.connect(settings.url_of("worker"))
    async with connection.transaction():
        await connection.execute(f"CREATE TABLE staging.shown_{canary.lower()[-6:]} (a text)")
        with pytest.raises(asyncpg.BadCopyFileFormatError):
            await connection.copy_to_table(
                f"shown_{canary.lower()[-6:]}", schema_name="staging", source=_bytes(f"{canary},b\n"), format="csv"
            )
    await connection.close()
    assert canary in await asyncio.to_thread(server_log.read_text, errors="replace")


async def _bytes(text: str) -> Any:
    yield text.encode()


@pytest.mark.parametrize("version", ["1.1", "1.2"])
async def test_a_hostile_delivery_leaves_no_value(north: Town, tmp_path: Path, word: str, version: str) -> None:
    """A delivery with unreadable values in every column leaves none of them in the log."""
    await sync(north, Delivered(version=version), tmp_path)
    for value in VALUES.values():
        export = Delivered(version=version)
        for rows in export.rows.values():
            for number, column in enumerate(list(rows[0])):
                row = rows[number % len(rows)]
                row[column] = value.replace("{}", f"{word}{number}").replace("{0}", f"{word}{number}")
        report = await sync(north, export, tmp_path, limits=LENIENT)
        assert report.state in ("applied", "held"), report.sentence
    export = Delivered(version=version)
    for row in export.rows["users"]:
        row |= {"username": word, "email": f"{word}@example.org", "identifier": word, "givenName": word}
    assert (await sync(north, export, tmp_path, limits=LENIENT)).state == "applied"


@pytest.mark.parametrize("case", ROWS)
async def test_a_row_that_is_no_csv_leaves_no_value(north: Town, tmp_path: Path, word: str, case: str) -> None:
    """A row that COPY cannot read is quarantined and leaves no value in the log."""
    export = Delivered(version="1.2")
    for name in export.rows:
        lines = export.sheet(name).split("\r\n")
        lines.insert(2, ROWS[case](lines[1], word))
        export.raw[name] = "\r\n".join(lines).encode()
    report = await sync(north, export, tmp_path, limits=LENIENT)
    assert report.state in ("applied", "failed", "held"), report.sentence
    assert word not in report.sentence


async def test_a_delivery_that_breaks_off_leaves_no_value(north: Town, tmp_path: Path, word: str) -> None:
    """If a delivery breaks off in the middle of a COPY, PostgreSQL's log contains no row of it."""
    export = Delivered(version="1.1")
    user = export.rows["users"][0]
    export.rows["users"] += [{**user, "sourcedId": f"{word}{n}", "givenName": word} for n in range(60_000)]
    seen: list[asyncio.Task[Any]] = []

    def stop(doing: str, done: int, _of: int) -> None:
        if doing.endswith("users.csv") and done > 1 << 20:
            seen[0].cancel()

    seen.append(asyncio.create_task(sync(north, export, tmp_path, progress=stop)))
    with pytest.raises(asyncio.CancelledError):
        await seen[0]
    for tail in (b"\xff\xfe", b'"open'):
        export.raw["users"] = export.sheet("users").encode() + f"{word},".encode() + tail
        assert (await sync(north, export, tmp_path)).state == "failed"


async def test_hostile_requests_leave_no_value(
    app: FastAPI, engine: AsyncEngine, worker_engine: AsyncEngine, settings: Settings, word: str
) -> None:
    """Commands whose texts contain a random word leave no trace of this word in PostgreSQL's log, whether accepted or
    refused.

    Each text is sent alone in all its variants, and once together with the others. The word itself is also sent with
    an Idempotency-Key, so that it is in a stored answer.
    """
    district = await fill_district(await found_town("north", engine, worker_engine, settings))
    north, numbers, faults = caller(app, district.town), count(), list[tuple[str, Any]]()

    async def send(request: Request, keyed: bool, body: Any) -> httpx.Response:
        # As ASCII, so that half a surrogate can be sent at all.
        content, operation = json.dumps(body), request.operation
        plain = {**request.body.get("headers", {}), "Content-Type": "application/json"}
        given = [{**plain, "Idempotency-Key": f"{word}-{next(numbers)}"}, plain] if keyed else [plain]
        tries = [north.ask(operation.method, request.path, content=content, headers=headers) for headers in given]
        answers = await asyncio.gather(*tries)
        faults.extend((operation.name, body) for answer in answers if answer.status_code >= 500)
        return answers[-1]

    for operation in operations(app):
        if operation.name in OPEN or operation.reads:
            continue
        request = own_request(operation, district)
        if request.json is None:
            continue
        await send(request, True, request.json)
        texts = [place for place in places_of(request.json) if isinstance(value_at(request.json, place), str)]
        for value in (word, f"{word}\0", f"{word}\ud800", word * 400, f"2026-02-30{word}"):
            ask = partial(send, request, value == word)
            wrong_shape = await places_with_wrong_shape(ask, request.json, texts, value)
            for place in texts:
                if place not in wrong_shape:
                    await ask(spoiled(request.json, [place], value))
    assert faults == []
    assert next(numbers) > 200
