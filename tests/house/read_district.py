"""Provides a district with every kind of row. Several test files share it, because their tests change no row."""

from collections.abc import AsyncIterator

import asyncpg
import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from app.settings import Settings
from tests.house.full_district import FullDistrict, fill_district, rows_of
from tests.town import found_town

LOGGED = {"disclosure"}
"""The tables to which a read adds rows."""


@pytest.fixture(scope="session")
async def filled_once(engine: AsyncEngine, worker_engine: AsyncEngine, settings: Settings) -> FullDistrict:
    """Returns the filled district. Tests use it through `read_district`."""
    return await fill_district(await found_town("north", engine, worker_engine, settings))


@pytest.fixture(scope="module")
async def read_district(filled_once: FullDistrict, settings: Settings) -> AsyncIterator[FullDistrict]:
    """Yields the shared district for a file whose tests change no row. A test that changes a row fails."""
    owner = await asyncpg.connect(settings.url_of("owner"))
    before = await rows_of(owner, filled_once.town.district_id)
    yield filled_once
    after = await rows_of(owner, filled_once.town.district_id)
    await owner.close()
    changed = {table for table in before if before[table] != after[table]}
    assert changed <= LOGGED, "Tests that change rows need a district of their own."
