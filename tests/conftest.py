"""Provides a real PostgreSQL, migrated once per run, and two new districts for every test, `north` and `south`.

Nothing is deleted between tests: each has districts of its own, which relies on the isolation that the product
promises.

To keep the suite short: `north` is copied in some 12 ms, and tests that only read can share a district by a fixture of
their module (`full_north` has every kind of row). Use `app` and `caller` for a request, and `warm()` or `aimline()` for
a process. End a lease, or make a row due, by a statement instead of waiting. A test that waits for a timeout or starts
several processes is marked `long`, and runs in the second step of `.ci/run`.
"""

import asyncio
import gc
import os
import secrets
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis_settings
from pydantic import ValidationError
from sqlalchemy.ext.asyncio import AsyncEngine

from app.core import db
from app.core.db import open_engine
from app.core.timeouts import Timeouts
from app.resources import run
from app.resources.compile.plan import Plans
from app.settings import Settings
from tests.commands import COMMANDS  # noqa: F401  # forked before other modules change the product
from tests.databases import drop_database
from tests.faces.admission_app import built  # noqa: F401  # apps over other limits, a fixture
from tests.faces.rest_town import app  # noqa: F401  # the product's app, a fixture
from tests.faces.served_app import serving  # noqa: F401  # the same on its own port, a fixture
from tests.functions import load_functions
from tests.house.read_district import filled_once, read_district  # noqa: F401  # a district to read, fixtures
from tests.house.watch import (  # noqa: F401  # fixtures for every test
    every_event_is_as_its_schema_says,
    every_statement_names_its_district,
    passed,
)
from tests.house.writes import unsuitable_statements
from tests.kept_plans import open_keeping, share_plans_of_runs
from tests.prepared import fast_server, kept_folder, lay_database, over_database
from tests.town import Town, found_town

FIRST = (
    "test_documents",
    "test_cli_doctor",
    "test_webhooks_worker",
    "test_scaffold",
    "test_hostile_graphql",
    "test_hostile_sis",
    "test_story",
    "test_stranger",
    "test_disclosure",
    "test_syncs",
    "test_rest_sync",
    "test_rest_quirks",
    "test_cli_sis",
)
"""Files that run first, so that no process waits at the end.

The first measures processor time while the process is small; then come workers that would otherwise find other tests'
due jobs, and then the files that take longest.
"""

PATIENT = Timeouts(lock=60, statement=600, idle=120, connect=60)
"""The time limits of the tests' own engines: those of syncs, and a minute to connect.

With the limits of requests, a sync or a connection that a busy machine delays for some seconds would fail its test.
"""

share_plans_of_runs()
run.PLANS = Plans(100_000)  # the walks ask for more plans than any client, each walk for the same ones

hypothesis_settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
hypothesis_settings.load_profile("any machine")


def pytest_sessionstart(session: pytest.Session) -> None:
    """Makes garbage collection rare, because at the default rate it takes a third of the suite's time.

    Most objects of the suite live until its end.
    """
    if (folder := _folder_of_checkout(session.config, "passed")) is not None:
        passed.open(folder)
    gc.set_threshold(50_000, 20, 20)
    gc.enable()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Moves the tests of the files in `FIRST` to the beginning. The other tests keep their order."""
    rank = {name: place for place, name in enumerate(FIRST)}
    items.sort(key=lambda item: rank.get(item.path.stem, len(rank)))


def pytest_collection_finish() -> None:
    """Exempts all objects that exist after the collection of tests from garbage collection.

    These objects live until the end of the test run.
    """
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """The owner's settings of a PostgreSQL server: that of AIMLINE_DATABASE_URL, or the embedded one."""
    if os.environ.get("AIMLINE_DATABASE_URL"):
        yield Settings()
        return
    with fast_server(tmp_path_factory.mktemp("server"), kept_folder(shared_folder(tmp_path_factory))) as (_, settings):
        yield settings


@pytest.fixture(scope="session")
def server_log(server: Settings, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The log of the embedded server."""
    logs = list(tmp_path_factory.getbasetemp().glob("server*/postgres.log"))
    if not logs:
        pytest.skip("The log of a given server belongs to its operator.")
    return logs[-1]


@pytest.fixture(scope="session")
def settings(
    server: Settings, tmp_path_factory: pytest.TempPathFactory, pytestconfig: pytest.Config
) -> Iterator[Settings]:
    """Yields settings with a migrated database for this test run, which is dropped at the end."""
    name = f"aimline_test_{secrets.token_hex(4)}"
    try:
        own = Settings(
            database_url=over_database(server, name).url_of("owner"),
            key="\n".join(_lines(server)),
            sandbox=True,
            base_url="http://aimline.test",
            # One run sends in a minute what no client does; the limits have tests of their own.
            district_requests=10_000_000,
            client_requests=10_000_000,
        )
    except ValidationError as error:
        raise RuntimeError("The settings of the tests do not hold.") from error
    asyncio.run(lay_database(server, own, name))
    asyncio.run(load_functions(own.url_of("owner")))
    yield own
    claims = shared_folder(tmp_path_factory) / "statements"
    passed = _folder_of_checkout(pytestconfig, "statements")
    unsuitable = asyncio.run(unsuitable_statements(own.url_of("owner"), claims, passed))
    asyncio.run(drop_database(server.url_of("owner"), name))
    assert not unsuitable, "What Citus would refuse:\n" + "\n".join(unsuitable)


@pytest.fixture(scope="session")
async def engine(settings: Settings) -> AsyncIterator[AsyncEngine]:
    """Yields a database engine with the role `api`, as the product uses it, but with longer time limits."""
    engine = open_engine(settings.url_of("api"), name="tests api", timeouts=PATIENT)
    yield engine
    await engine.dispose()


@pytest.fixture(scope="session")
async def worker_engine(settings: Settings) -> AsyncIterator[AsyncEngine]:
    """Yields the engine of the role `worker`. The statements of syncs stay prepared on its connections."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(db, "_open_connection", open_keeping)
        engine = open_engine(settings.url_of("worker"), name="tests worker", timeouts=PATIENT)
    yield engine
    await engine.dispose()


@pytest.fixture
async def north(engine: AsyncEngine, worker_engine: AsyncEngine, settings: Settings) -> Town:
    """Returns a small district with two schools, staff, students and classes."""
    return await found_town("north", engine, worker_engine, settings)


@pytest.fixture
async def south(engine: AsyncEngine, worker_engine: AsyncEngine, settings: Settings) -> Town:
    """Returns another district with rows like those of `north`, which `north` must never see."""
    return await found_town("south", engine, worker_engine, settings)


def shared_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Returns a folder of this run that all its processes can use."""
    own = tmp_path_factory.getbasetemp()
    return own.parent if os.environ.get("PYTEST_XDIST_WORKER") else own


def _folder_of_checkout(config: pytest.Config, name: str) -> Path | None:
    """Returns a folder that is shared by later runs in this checkout, or None where nothing may be stored."""
    cache = getattr(config, "cache", None)
    try:
        return cache.mkdir(name) if cache is not None else None
    except OSError:
        return None


def _lines(server: Settings) -> list[str]:
    if server.key:
        return server.key.splitlines()
    return server.key_file.read_text().splitlines() if server.key_file else []
