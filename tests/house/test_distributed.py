"""Tests the checks that find SQL statements which Citus would refuse.

The statements that the test suite sends are checked when its database is dropped, in `tests/conftest.py`.
"""

from collections.abc import AsyncIterator

import asyncpg
import pytest

from app.settings import Settings
from tests.house.distributed import find_unsuitable, read_catalogue
from tests.sent import composite_columns

UPDATE = "UPDATE settlement SET {sets} WHERE district_id = $1 {more}"
FIT = [
    UPDATE.format(sets="due = now()", more="AND due <= now() - interval '1 day'"),
    "WITH at AS MATERIALIZED (SELECT now() AS now, now() + interval '1 day' AS then) "
    + "UPDATE settlement AS s SET due = at.then FROM at WHERE s.district_id = $1 AND s.due <= at.now RETURNING at.now",
    "INSERT INTO event_counter (district_id, last, epoch) VALUES ($1, 0, $2) ON CONFLICT (district_id) "
    "DO UPDATE SET last = excluded.last RETURNING last",
    "SELECT (SELECT count(*) FROM client_secret WHERE client_id = $1) FROM client WHERE client_id = $1",
]
FAULTS = [
    (UPDATE.format(sets="due = now()", more="RETURNING id, now()"), "now() in RETURNING"),
    (UPDATE.format(sets="due = $2", more="RETURNING due + interval '1 day'"), "timestamptz_pl_interval() in RETURNING"),
    (UPDATE.format(sets="due = CASE WHEN attempts > 3 THEN now() END", more=""), "now() in CASE"),
    (UPDATE.format(sets="due = COALESCE(leased_until, now())", more=""), "now() in COALESCE"),
    (UPDATE.format(sets="due = due + interval '1 day'", more=""), "timestamptz_pl_interval() is applied to a column"),
    (UPDATE.format(sets="state = 'x'", more="AND monday + interval '1 d' < now()"), "is applied to a column"),
    (UPDATE.format(sets="due = clock_timestamp()", more=""), "clock_timestamp() is VOLATILE"),
    ("DELETE FROM settlement WHERE district_id = $1 AND random() < 0.5", "random() is VOLATILE"),
    (
        "DELETE FROM event WHERE district_id = $1 RETURNING CURRENT_TIMESTAMP",
        "CURRENT_TIMESTAMP or its like in RETURNING",
    ),
    (
        "WITH one AS MATERIALIZED (SELECT gen_random_uuid() AS id) UPDATE settlement AS s SET measure_id = one.id "
        "FROM one WHERE s.district_id = $1",
        "gen_random_uuid() is VOLATILE in WITH",
    ),
    (
        "WITH gone AS (DELETE FROM event WHERE district_id = $1 RETURNING now() AS at) SELECT * FROM gone",
        "now() in RETURNING",
    ),
    (
        "INSERT INTO event_counter (district_id, last, epoch) VALUES ($1, 0, $2) ON CONFLICT (district_id) "
        "DO UPDATE SET last = extract(epoch FROM now())",
        "now() in ON CONFLICT",
    ),
    (
        "SELECT (SELECT count(*) FROM client_secret AS s WHERE s.client_id = c.client_id) FROM client AS c",
        "a correlated subquery next to client",
    ),
    (
        "SELECT 1 FROM district AS d WHERE EXISTS (SELECT FROM org AS o WHERE o.district_id = d.district_id)",
        "a correlated subquery next to district",
    ),
]


@pytest.fixture
async def owner(settings: Settings) -> AsyncIterator[asyncpg.Connection]:
    """The owner's connection to the migrated database."""
    connection = await asyncpg.connect(settings.url_of("owner"))
    yield connection
    await connection.close()


@pytest.mark.parametrize("statement", FIT, ids=range(len(FIT)))
async def test_a_fit_statement_passes(owner: asyncpg.Connection, statement: str) -> None:
    """The check for Citus has no finding about a statement that Citus accepts."""
    assert await find_unsuitable(owner, await read_catalogue(owner), statement) == []


@pytest.mark.parametrize(("statement", "words"), FAULTS, ids=[words for _, words in FAULTS])
async def test_a_planted_fault_is_found(owner: asyncpg.Connection, statement: str, words: str) -> None:
    """The check for Citus finds each kind of statement that Citus refuses."""
    assert words in "\n".join(await find_unsuitable(owner, await read_catalogue(owner), statement))


async def test_a_composite_value_in_a_result_is_found(owner: asyncpg.Connection) -> None:
    """A statement that returns a composite value, or an array of them, is found, because Citus could not pass it on."""
    row = await owner.fetchrow("SELECT 1 AS a, ROW (1, 'x') AS b, ARRAY (SELECT ROW (2)) AS c, ARRAY[1, 2] AS d")
    assert row is not None
    assert composite_columns(row) == ["b", "c"]
