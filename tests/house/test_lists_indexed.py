"""Tests that an index can serve every filter, search and order of every list.

The tests read with the role of the product. Under row-level security, PostgreSQL uses an index only for comparisons
that cannot reveal a hidden row. The district is large enough for PostgreSQL to prefer a narrow index.
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import asyncpg
import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from app.catalog import CATALOG
from app.concern.models import Concern
from app.resources.catalog import Catalog
from app.resources.declare import declaration
from app.resources.listing import Filter, Listing, Sort
from app.roster.models import Person
from app.settings import Settings
from tests.house.plans import column_of, counts, explain, fill, indexes_of_exceptions, scans_of_a_district
from tests.town import Town, found_town


@pytest.fixture(scope="module")
async def large(engine: AsyncEngine, worker_engine: AsyncEngine, settings: Settings) -> Town:
    """Returns a district with thousands of rows in each list that has a filter."""
    town = await found_town("large", engine, worker_engine, settings)
    connection = await asyncpg.connect(settings.url_of("owner"))
    await fill(connection, town.district_id, (town.students["amy"], town.staff["teacher"]))
    await connection.close()
    return town


def orders(listing: Listing) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Yields each order in which a list can be read, as its name and column names."""
    key = declaration(listing.resource).key
    given = [("its own order", listing.order or (key,))]
    given += [(f"sort={sort.name}", sort.columns) for sort in listing.sorts]
    if listing.paged:
        given.append(("updated_since", (listing.changed_at, key)))
    for name, columns in given:
        yield f"{listing.name} by {name}", tuple(column_of(column).name for column in columns)


async def unserved_orders(db: asyncpg.Connection, listings: list[Listing]) -> list[str]:
    """Returns the orders of lists for which no index begins with the district and the columns of the order."""
    missing = []
    for listing in listings:
        table = declaration(listing.resource).model.__tablename__
        # PostgreSQL quotes the names of columns that are words of its own, such as "position".
        definitions = [row["indexdef"].replace('"', "") for row in await db.fetch(INDEXES, table)]
        for name, columns in orders(listing):
            led = f"({', '.join(('district_id', *columns))}"
            if not any(f"{led})" in definition or f"{led}," in definition for definition in definitions):
                missing.append(f"{name}: {led})")
    return missing


INDEXES = "SELECT indexdef FROM pg_indexes WHERE schemaname = 'public' AND tablename = $1"


async def test_an_index_serves_every_filter_and_search(large: Town, owner: asyncpg.Connection) -> None:
    """A list with a filter or a search reads about as many rows as it shows, however many rows the district has."""
    findings, exceptions = {}, await indexes_of_exceptions(owner)
    async with large.unit(large.client()) as work:
        for listing in CATALOG.listings.values():
            for name, root in counts(listing):
                if faults := list(scans_of_a_district(await explain(work, root, off=("seqscan",)), exceptions)):
                    findings[name] = faults
    assert findings == {}


async def test_an_index_serves_every_order(owner: asyncpg.Connection) -> None:
    """A page of a list reads only its own rows, from any position in the list, in each of its orders."""
    assert [listing.name for listing in CATALOG.listings.values() if listing.changed_at is None] == []
    assert await unserved_orders(owner, list(CATALOG.listings.values())) == []


async def test_a_filter_and_an_order_without_an_index_are_found(large: Town, owner: asyncpg.Connection) -> None:
    """Planted faults are found: a filter by free text, a filter by a function, and an order without an index."""
    concerns, students = CATALOG.listings["concerns"], CATALOG.listings["students"]
    by_text: Filter[Any] = Filter("text", str, lambda text: Concern.description == text, "Only these.", "Late.")
    planted = [
        replace(concerns, filters=(by_text,), sorts=(Sort("text", (Concern.description, Concern.id), "By text."),)),
        replace(students, filters=(), search=lambda text: Person.search_family.like(text)),
    ]
    catalog = Catalog(CATALOG.modules)
    catalog.listings = {**CATALOG.listings, **{listing.name: listing for listing in planted}}
    exceptions, findings = await indexes_of_exceptions(owner), {}
    async with large.unit(large.client()) as work:
        for listing in planted:
            for name, root in counts(listing):
                findings[name] = list(
                    scans_of_a_district(await explain(work, root, off=("seqscan",), catalog=catalog), exceptions)
                )
    assert set(findings) == {"concerns by text", "students by q"}
    assert all(findings.values())
    assert await unserved_orders(owner, planted) == ["concerns by sort=text: (district_id, description, id)"]
