"""Tests roster zips that are sent over REST. They may be larger than other bodies.

A zip is validated at once, read by the worker, and then deleted.
"""

import asyncio
import io
import random
import resource
import tracemalloc
import zipfile
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI

from app.core.address import Allowed
from app.core.errors import Busy
from app.main import build
from app.rest.edge import MAX_BODY_BYTES
from app.settings import Settings
from app.sis.runs import upload
from app.sis.scheduler.execute import SyncScheduler
from tests.faces.rest_town import CLIENT_SCOPES, Caller, caller
from tests.sis.roster_zip import STUDENTS, Export, ask, fingerprint, lose_a_worker
from tests.sis.test_sources_rest import REST
from tests.town import Town

ZIP = {"Content-Type": "application/zip"}
_LIVE = "SELECT count(*) FROM sis_upload_slot WHERE district_id = :district AND leased_until > now()"
CSV = {"name": "sent", "kind": "oneroster-csv", "url": "upload:"}


async def _run_due_syncs(town: Town) -> None:
    scheduler = SyncScheduler(town.worker_engine, town.settings.keyring, Allowed(sandbox=True))
    await scheduler._district(town.district_id)


async def _source(asks: Caller) -> str:
    """Creates a source that takes only uploaded files, and returns its path."""
    made = await asks.post("/v1/sis-sources", CSV)
    assert made.status_code == 201, made.text
    assert made.json()["url"] == "upload:"
    return f"/v1/sis-sources/{made.json()['id']}/roster"


async def _send(asks: Caller, path: str, content: bytes | AsyncIterator[bytes], **params: str) -> httpx.Response:
    return await asks.ask("POST", path, content=content, headers=ZIP, params=params)


async def _parts(town: Town) -> int:
    return int((await ask(town, "SELECT count(*) FROM sis_upload WHERE district_id = :district"))[0][0])


def _larger(packed: bytes, more: int) -> bytes:
    """Returns the zip with an additional file. This file is not imported, and its bytes cannot be compressed."""
    out = io.BytesIO(packed)
    with zipfile.ZipFile(out, "a") as archive:
        archive.writestr("notes.bin", random.Random(1).randbytes(more))
    return out.getvalue()


async def test_a_zip_that_is_sent_is_applied_by_the_worker(app: FastAPI, north: Town) -> None:
    """The worker applies and deletes an uploaded zip, and the next run of the source finds nothing to do."""
    asks = caller(app, north)
    path = await _source(asks)
    packed = _larger(Export().packed(), 3 << 20)
    assert len(packed) > MAX_BODY_BYTES, "no other route takes as much"
    sent = await _send(asks, path, packed)
    assert sent.status_code == 202, sent.text
    assert (sent.json()["state"], sent.headers["location"]) == ("pending", f"/v1/sync-runs/{sent.json()['id']}")
    assert await _parts(north) == 4
    await _run_due_syncs(north)
    run = (await asks.get(sent.headers["location"])).json()
    assert (run["state"], run["counts"]["person"]["created"]) == ("applied", STUDENTS + 2), run["sentence"]
    report = (await asks.get(f"{sent.headers['location']}/report")).json()
    assert "notes.bin" in report["not_taken"]
    assert await _parts(north) == 0
    answer = await asks.post("/v1/sync-runs", {"source": path.split("/")[-2]})
    assert answer.status_code == 202, answer.text
    await _run_due_syncs(north)
    repeated = (await asks.get(answer.headers["location"])).json()
    assert (repeated["state"], "No zip was uploaded" in repeated["sentence"]) == ("skipped", True)


async def test_it_may_be_tried_dry(app: FastAPI, north: Town) -> None:
    """An upload can be a dry run, which reports the plan and stores nothing."""
    asks = caller(app, north)
    path = await _source(asks)
    before = await fingerprint(north)
    sent = await _send(asks, path, Export().packed(), dry="true")
    await _run_due_syncs(north)
    run = (await asks.get(sent.headers["location"])).json()
    assert (run["state"], run["counts"]["org"]["created"]) == ("dry", 3), run["sentence"]
    assert (await fingerprint(north), await _parts(north)) == (before, 0)


async def test_what_is_wrong_is_said_at_once_and_all_of_it(app: FastAPI, north: Town) -> None:
    """All faulty headers of an uploaded zip are reported at once. No run is created.

    The report contains no value of the zip's rows.
    """
    asks = caller(app, north)
    path = await _source(asks)
    export = Export()
    export.raw["users"] = export.sheet("users").replace("sourcedId", "id", 1).encode()
    export.raw["orgs"] = export.sheet("orgs").partition("\r\n")[0].encode()
    bad = await _send(asks, path, export.packed())
    assert bad.status_code == 422, bad.text
    assert bad.headers["content-type"] == "application/problem+json"
    violations = bad.json()["violations"]
    assert {one["pointer"] for one in violations} == {"/users.csv", "/orgs.csv"}, violations
    assert {one["code"] for one in violations} == {"archive.unfit"}
    assert "Synthetic" not in bad.text
    assert "@example.org" not in bad.text
    for content in (b"", b"no zip", export.packed()[:-30]):
        broken = await _send(asks, path, content)
        assert (broken.status_code, broken.json()["violations"][0]["code"]) == (422, "archive.unreadable")
    assert (await asks.get("/v1/sync-runs")).json()["items"] == []
    assert await _parts(north) == 0


async def test_who_may_not_send_is_turned_away_before_the_body(app: FastAPI, north: Town, south: Town) -> None:
    """A caller who may not upload is refused before the body is read."""
    asks = caller(app, north)
    path = await _source(asks)
    rest = (await asks.post("/v1/sis-sources", REST)).json()["id"]
    read = []

    async def body() -> AsyncIterator[bytes]:
        read.append(1)
        yield Export().packed()

    async def status(asker: Caller, where: str = path) -> int:
        return (await _send(asker, where, body())).status_code

    lacking = caller(app, north, CLIENT_SCOPES - {"sync:run"})
    assert await status(Caller(app, "none")) == 401
    assert await status(lacking) == 403
    assert await status(caller(app, south)) == 404
    assert await status(asks, f"/v1/sis-sources/{rest}/roster") == 409
    typed = await asks.ask("POST", path, content=body(), headers={"Content-Type": "multipart/form-data"})
    assert (typed.status_code, typed.json()["code"]) == (415, "body.media_type")
    assert read == []


async def test_one_waits_at_a_time(app: FastAPI, north: Town) -> None:
    """While an uploaded file waits for its run, a second upload is refused.

    If the worker that has claimed the run dies, another worker imports the file.
    """
    asks = caller(app, north)
    path = await _source(asks)
    sent = await _send(asks, path, Export().packed())
    second = await _send(asks, path, Export().packed())
    assert (second.status_code, second.json()["code"]) == (409, "sis.already_running")
    assert await _parts(north) == 1
    await lose_a_worker(north)
    await _run_due_syncs(north)
    assert (await asks.get(sent.headers["location"])).json()["state"] == "applied"
    assert await _parts(north) == 0


@pytest.mark.parametrize("announced", [True, False])
async def test_a_body_beyond_the_operators_limit_is_refused(north: Town, settings: Settings, announced: bool) -> None:
    """An upload that is larger than the operator's limit gets 413, even if the request does not announce its size.

    The answer names the setting. All other routes keep their own limits.
    """
    small = build(settings.model_copy(update={"largest_upload_mb": 3}))
    asks = caller(small, north)
    path = await _source(asks)
    packed = _larger(Export().packed(), 4 << 20)

    async def pieces() -> AsyncIterator[bytes]:
        for at in range(0, len(packed), 1 << 16):
            yield packed[at : at + (1 << 16)]

    refused = await _send(asks, path, packed if announced else pieces())
    assert refused.status_code == 413, refused.text
    assert refused.json()["code"] == "body.too_large"
    assert "AIMLINE_LARGEST_UPLOAD_MB" in refused.json()["detail"]
    fits = await _send(asks, path, _larger(Export().packed(), (2 << 20) + (1 << 19)))
    assert fits.status_code == 202, fits.text
    elsewhere = await asks.ask("POST", "/v1/sis-sources", content=b" " * (MAX_BODY_BYTES + 1))
    assert elsewhere.status_code == 413
    await small.state.services.engine.dispose()


async def test_a_district_sends_two_at_a_time(app: FastAPI, settings: Settings, north: Town, south: Town) -> None:
    """A district's third concurrent upload is refused with a time to retry, over all processes."""
    asks, other = caller(app, north), build(settings)
    path, held = await _source(asks), asyncio.Event()

    async def half() -> AsyncIterator[bytes]:
        yield Export().packed()[:100]
        await held.wait()

    senders = [asyncio.create_task(_send(asks, path, half())) for _ in range(2)]
    async with asyncio.timeout(60):
        while int((await ask(north, _LIVE))[0][0]) < 2:  # noqa: ASYNC110  # no event reports the rows
            await asyncio.sleep(0.02)
    for process in (app, other):
        third = await _send(caller(process, north), path, Export().packed())
        assert (third.status_code, third.json()["code"]) == (429, "upload.busy")
        assert int(third.headers["retry-after"]) > 0
    elsewhere = caller(app, south)
    assert (await _send(elsewhere, await _source(elsewhere), Export().packed())).status_code == 202
    held.set()
    assert {answer.status_code for answer in await asyncio.gather(*senders)} == {422}
    assert (await _send(asks, path, Export().packed())).status_code == 202
    await other.state.services.engine.dispose()


async def test_a_lost_process_keeps_no_place(app: FastAPI, north: Town) -> None:
    """If the lease of a place for uploads has ended, another upload can claim the place.

    The former upload can then no longer free the place.
    """
    slots = []
    for _ in range(upload.AT_ONCE):
        async with north.unit() as work:
            slots.append(await upload.claim_slot(work))
    lost = slots[-1]
    async with north.unit() as work:
        with pytest.raises(Busy):
            await upload.claim_slot(work)
    async with north.unit() as work:
        await upload.renew_slot(work, lost, timedelta(seconds=-1))
    async with north.unit() as work:
        taken = await upload.claim_slot(work)
    assert (taken.place, taken.holder != lost.holder) == (lost.place, True)
    async with north.unit() as work:
        await upload.renew_slot(work, lost, timedelta(0))
    async with north.unit() as work:
        with pytest.raises(Busy):
            await upload.claim_slot(work)


async def test_a_body_that_stalls_is_given_up(app: FastAPI, north: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    """An upload is ended if no bytes arrive for a while, and also if it takes too long in total."""
    asks, never = caller(app, north), asyncio.Event()
    path = await _source(asks)

    async def stalls() -> AsyncIterator[bytes]:
        yield b"PK"
        await never.wait()

    async def drips() -> AsyncIterator[bytes]:
        while True:
            yield b"."
            await asyncio.sleep(0.01)

    for name, body in (("SILENCE", stalls), ("MAX_UPLOAD_SECONDS", drips)):
        with monkeypatch.context() as patch:
            patch.setattr(upload, name, 0.2)
            slow = await _send(asks, path, body())
        assert (slow.status_code, slow.json()["violations"][0]["code"]) == (400, "body.too_slow")
    assert int((await ask(north, _LIVE))[0][0]) == 0


async def test_a_full_disk_is_told_to_the_sender(app: FastAPI, north: Town) -> None:
    """If the disk of the server is full, an upload gets 507 with the reason, and its place is free again."""
    asks = caller(app, north)
    path = await _source(asks)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, hard))
    try:
        full = await _send(asks, path, _larger(Export().packed(), 3 << 20))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert (full.status_code, full.json()["code"]) == (507, "storage.full")
    assert int((await ask(north, _LIVE))[0][0]) == 0


@pytest.mark.parametrize("size", [40, pytest.param(510, marks=pytest.mark.long)])
async def test_a_large_upload_takes_little_memory(app: FastAPI, north: Town, tmp_path: Path, size: int) -> None:
    """The memory of an upload is bounded, because the body is written in parts.

    The larger file is as large as the default setting allows.
    """
    asks = caller(app, north)
    path, large = await _source(asks), Export().write(tmp_path / "large.zip")
    with zipfile.ZipFile(large, "a") as archive, archive.open("notes.bin", "w") as notes:
        for number in range(size):
            notes.write(random.Random(number).randbytes(1 << 20))

    async def pieces() -> AsyncIterator[bytes]:
        with large.open("rb") as file:
            while piece := file.read(1 << 16):
                yield piece

    tracemalloc.start()
    try:
        sent = await _send(asks, path, pieces())
        assert tracemalloc.get_traced_memory()[1] < 24 << 20
    finally:
        tracemalloc.stop()
    assert (sent.status_code, await _parts(north)) == (202, size + 1), sent.text
