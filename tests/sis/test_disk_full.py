"""Tests a full disk: it is reported on the run, in the log and to the caller, and the roster is unchanged."""

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from structlog.testing import capture_logs

from app.core.address import Allowed
from app.core.errors import StorageFull
from app.settings import Settings
from app.sis.runs.pull import run_source
from app.sis.sources import service as sources
from app.sis.sources.settings import SourceSettings as Fit
from tests.sis.plain_server import Reply, SisRequest, answering
from tests.sis.rest_source import quiet
from tests.sis.roster_zip import ROSTER, Export, ask, fingerprint, sync
from tests.town import Town

ALLOWED = Allowed(sandbox=True)
KEPT = [table for table in ROSTER if table != "source"]


@contextmanager
def _files_up_to(size: int) -> Iterator[None]:
    """Limits the size of every file that this process writes, so that writes fail as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def _users(request: SisRequest) -> Reply:
    """Returns a page of ten thousand users, and nothing for other collections."""
    if request.name == "token":
        return Reply(body={"access_token": "opaque", "token_type": "Bearer", "expires_in": 3600})
    first, limit = int(request.query.get("offset", 0)), int(request.query.get("limit", 100))
    rows = [{"sourcedId": f"u{first + n}", "givenName": "x" * 200} for n in range(min(limit, 10_000 - first))]
    return Reply(body={request.name: rows if request.name == "users" else []})


async def _state(town: Town) -> tuple[str, str]:
    rows = await ask(town, "SELECT state, sentence FROM sis_run WHERE district_id = :district ORDER BY id DESC LIMIT 1")
    return rows[0][0], rows[0][1]


@pytest.mark.parametrize("kind", ["oneroster-1.1", "oneroster-csv"])
async def test_no_room_for_what_is_fetched(north: Town, kind: str) -> None:
    """If the disk is full while data are fetched, the error says so, and does not name the source as the cause."""

    def serve(request: SisRequest) -> Reply:
        return Reply(body=" " * (2 << 20)) if request.path.endswith(".zip") else _users(request)

    with answering(serve) as (address, _):
        rest: dict[str, Any] = {"token_url": f"{address}token", "client_id": "north", "client_secret": "of-a-test"}
        where = f"{address}roster.zip" if kind == "oneroster-csv" else f"{address}v1p1"
        new = Fit(kind=kind, url=where, **({} if kind == "oneroster-csv" else rest))
        async with north.unit() as work:
            made = await sources.register_source(work, "full", new, ALLOWED)
        before = await fingerprint(north)
        with _files_up_to(1 << 20), capture_logs() as logged, pytest.raises(StorageFull) as raised:
            await run_source(
                north.worker_engine, north.settings.keyring, north.district_id, made.source.id, quiet, ALLOWED
            )
    assert "disk for temporary files" in raised.value.detail
    assert await _state(north) == ("failed", f"{raised.value.detail} Nothing was changed.")
    assert [one["log_level"] for one in logged if one["event"] == "syncs.disk_full"] == ["error"]
    assert await fingerprint(north) == before


async def test_no_room_at_the_database(north: Town, settings: Settings, tmp_path: Path) -> None:
    """If PostgreSQL's disk is full while a plan is applied, the run states this and the roster is unchanged."""
    owner = await asyncpg.connect(settings.url_of("owner"))
    before = await fingerprint(north, KEPT)
    try:
        # The SQLSTATE is PostgreSQL's own; only the disk is not.
        await owner.execute(
            "CREATE FUNCTION public.full_disk() RETURNS trigger LANGUAGE plpgsql AS "
            "$$ BEGIN RAISE EXCEPTION 'could not extend file' USING ERRCODE = '53100'; END $$"
        )
        await owner.execute(
            "CREATE TRIGGER full_disk BEFORE INSERT ON demographics FOR EACH ROW "
            f"WHEN (new.district_id = '{north.district_id}') EXECUTE FUNCTION public.full_disk()"
        )
        with capture_logs() as logged, pytest.raises(StorageFull, match="disk of the PostgreSQL server is full"):
            await sync(north, Export(), tmp_path)
    finally:
        await owner.execute("DROP TRIGGER full_disk ON demographics; DROP FUNCTION public.full_disk()")
        await owner.close()
    state, sentence = await _state(north)
    assert (state, "disk of the PostgreSQL server is full" in sentence) == ("failed", True)
    assert [one["log_level"] for one in logged if one["event"] == "syncs.disk_full"] == ["error"]
    assert await fingerprint(north, KEPT) == before
    assert (await sync(north, Export(), tmp_path)).state == "applied"
