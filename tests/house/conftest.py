"""Provides two districts with every kind of row, and a connection as the owner, for the tests of isolation between
districts.
"""

from collections.abc import AsyncIterator

import asyncpg
import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from app.settings import Settings
from tests.house.full_district import FullDistrict, fill_district
from tests.town import found_town


@pytest.fixture(scope="module")
async def full_north(engine: AsyncEngine, worker_engine: AsyncEngine, settings: Settings) -> FullDistrict:
    """Returns the district North, filled with rows of every kind."""
    return await fill_district(await found_town("north", engine, worker_engine, settings))


@pytest.fixture(scope="module")
async def full_south(engine: AsyncEngine, worker_engine: AsyncEngine, settings: Settings) -> FullDistrict:
    """Yields the second district, South, with rows of all kinds.

    The requests of its client are valid except for the ids, which are north's.
    """
    return await fill_district(await found_town("south", engine, worker_engine, settings))


@pytest.fixture
async def owner(settings: Settings) -> AsyncIterator[asyncpg.Connection]:
    """Yields the owner's connection, which sees all districts."""
    connection = await asyncpg.connect(settings.url_of("owner"))
    yield connection
    await connection.close()
