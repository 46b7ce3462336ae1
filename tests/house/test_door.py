"""Tests `app/access/work.py`, the only way to the database.

Every statement needs a principal and a permission, and none may read or reference a row of another district.
"""

import asyncio
import warnings
from uuid import UUID

import pytest
from sqlalchemy import func, select, text, update
from sqlalchemy.exc import DBAPIError

from app.access.permission import Can
from app.access.work import Work, needs, unit
from app.core.bound import BoundConnection
from app.core.db import bound_connection, set_binding
from app.core.errors import Forbidden, Misuse
from app.roster.models import Person
from tests.town import Town


@needs(Can.READ_ROSTER)
async def _everyone(work: Work) -> list[str]:
    # No district in this statement, on purpose: the net beneath must hold alone.
    return list((await work.db.scalars(select(Person.given_name))).all())


async def test_a_transaction_without_a_principal_does_not_begin(north: Town) -> None:
    """A transaction without a principal does not begin."""
    async with north.engine.connect() as connection:
        with pytest.raises(Misuse, match="without a principal"):
            await connection.execute(text("SELECT 1"))


async def test_a_pooled_connection_keeps_no_principal(north: Town) -> None:
    """After a commit, a pooled connection is bound to no principal."""
    async with north.unit() as work:
        await _everyone(work)
    async with north.engine.connect() as connection:
        with pytest.raises(Misuse, match="without a principal"):
            await connection.execute(text("SELECT 1"))


async def test_the_session_is_shut_outside_needs(north: Town) -> None:
    """`work.db` can be used only within a function with the decorator `needs`, which checks a permission."""
    async with north.unit() as work:
        with pytest.raises(Misuse, match="outside a function marked"):
            _ = work.db


async def test_a_missing_permission_is_refused_before_any_statement(north: Town) -> None:
    """A missing permission is refused before the database session is opened."""
    async with north.unit(north.client(frozenset({"event:read"}))) as work:
        with pytest.raises(Forbidden):
            await _everyone(work)


async def test_rows_of_another_district_do_not_show(north: Town, south: Town) -> None:
    """A statement without a condition on the district returns only rows of the caller's district.

    Row-level security hides the rows of other districts.
    """
    async with north.unit() as work:
        names = await _everyone(work)
    assert names
    assert all(north.canary in name for name in names)


async def test_a_caseload_hides_whom_it_does_not_hold(north: Town) -> None:
    """Row-level security hides students outside a person's caseload, even from a statement without conditions. Members
    of staff are not hidden.
    """
    from dataclasses import replace

    from app.access.principal import Reach

    bound = replace(north.client(), reach=Reach.CASELOAD, students=(north.students["amy"],))
    async with north.unit(bound) as work:
        names = await _everyone(work)
    assert any(name.startswith("Amy") for name in names)
    assert any(name.startswith("Teacher") for name in names)
    assert not any(name.startswith(("Ben", "Cy")) for name in names)


async def test_a_row_cannot_point_into_another_district(north: Town, south: Town) -> None:
    """A reference to a row of another district is refused by the composite foreign key."""

    @needs(Can.SYNC_ROSTER)
    async def cross(work: Work) -> None:
        await work.db.execute(
            text(
                "INSERT INTO school_membership (district_id, id, person_id, school_id, is_student, begins_on) "
                "VALUES (:district, gen_random_uuid(), :person, :school, false, current_date)"
            ),
            {"district": north.district_id, "person": north.staff["teacher"], "school": south.schools[0]},
        )

    with pytest.raises(DBAPIError, match="foreign key"):
        async with north.house() as work:
            await cross(work)


async def test_a_step_as_the_district_gives_the_reach_back(north: Town) -> None:
    """The caller's own rights are restored after a block of `Work.as_district`, even if the block raises an error.

    Within the block, the caller has the rights of the whole district.
    """
    from dataclasses import replace

    from app.access.principal import Reach

    @needs(Can.READ_ROSTER)
    async def students(work: Work) -> int:
        return int(await work.db.scalar(select(func.count()).where(Person.is_student)) or 0)

    bound = replace(north.client(), reach=Reach.CASELOAD, students=(north.students["amy"],))
    async with north.unit(bound) as work:
        assert await students(work) == 1
        async with work.as_district("judging"):
            assert await students(work) == 3
        assert await students(work) == 1
        with pytest.raises(ZeroDivisionError):
            async with work.as_district("judging"):
                raise ZeroDivisionError
        assert await students(work) == 1


@needs(Can.READ_ROSTER)
async def _people_by_driver(work: Work) -> list[str]:
    # No district in this statement either.
    return [row[0] for row in await work.run("SELECT given_name FROM person", ())]


async def test_a_statement_on_the_driver_passes_the_same_locks(north: Town, south: Town) -> None:
    """`work.run` is refused outside a function with the decorator `needs`, and row-level security limits its reads."""
    async with north.unit() as work:
        with pytest.raises(Misuse, match="outside a function marked"):
            await work.run("SELECT 1", ())
        names = await _people_by_driver(work)
    assert names
    assert all(north.canary in name for name in names)


async def test_a_failed_read_on_the_driver_leaves_nothing_on_its_connection(north: Town) -> None:
    """If a unit of work fails after a read on asyncpg's connection, its transaction and its principal end.

    The next user of the pooled connection gets neither of them.
    """

    async def read_and_fail() -> None:
        async with north.unit() as work:
            await _people_by_driver(work)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await read_and_fail()
    async with north.engine.connect() as connection:
        driver = (await connection.get_raw_connection()).driver_connection
        assert isinstance(driver, BoundConnection)
        assert not driver.is_in_transaction()
        assert not await driver.fetchval("SELECT current_setting('app.district_id', true)")


async def test_the_driver_and_the_session_share_one_transaction(north: Town) -> None:
    """Changes by the driver and by the session in one unit of work are committed together or not at all."""

    @needs(Can.READ_ROSTER)
    async def rename(work: Work) -> str:
        await work.run("SELECT 1", ())
        await work.db.execute(
            update(Person)
            .where(Person.district_id == work.district_id, Person.id == north.students["amy"])
            .values(family_name="Other")
        )
        (row,) = await work.run(
            "SELECT family_name FROM person WHERE district_id = $1 AND id = $2",
            (work.district_id, north.students["amy"]),
        )
        return str(row[0])

    async def family_name() -> str:
        async with north.house() as work:
            return await _family_name(work, north.students["amy"])

    async def rename_and_fail() -> None:
        async with north.house() as work:
            assert await rename(work) == "Other"
            raise ZeroDivisionError

    before = await family_name()
    with pytest.raises(ZeroDivisionError):
        await rename_and_fail()
    assert await family_name() == before
    async with north.house() as work:
        await rename(work)
    assert await family_name() == "Other"


@needs(Can.READ_ROSTER)
async def _family_name(work: Work, student_id: UUID) -> str:
    name = await work.db.scalar(
        select(Person.family_name).where(Person.district_id == work.district_id, Person.id == student_id)
    )
    return str(name)


async def test_a_cancelled_unit_leaves_its_principal_to_nobody(north: Town, south: Town) -> None:
    """After a unit of work is cancelled, its connection is never used with its principal by somebody else.

    The unit is cancelled at thirty different points. Each time, a unit of another district then reads its own rows
    only.
    """

    async def read_in_north() -> None:
        async with north.unit() as work:
            await _people_by_driver(work)

    await read_in_north()
    for turns in range(30):
        reading = asyncio.create_task(read_in_north())
        for _ in range(turns):
            await asyncio.sleep(0)
        reading.cancel()
        await asyncio.wait({reading})
        async with unit(north.engine, south.client(), south.settings.keyring, "test") as work:
            names = await _people_by_driver(work)
        assert names
        assert all(south.canary in name for name in names), turns


async def test_a_connection_that_was_given_back_is_not_closed_late(north: Town) -> None:
    """`invalidate` does nothing to a connection that was already given back to the pool.

    If a unit of work is cancelled, one task may give the connection back and another may close it. Earlier, the late
    closing raised an error in a task that nobody awaits.
    """
    async with bound_connection(north.engine, north.client().binding()) as held:
        assert held.connection is not None
    with warnings.catch_warnings(action="error"):
        await held.invalidate()
    assert not held.driver.is_closed()


async def test_an_open_transaction_is_not_bound_to_another_principal(north: Town) -> None:
    """A connection with an open transaction cannot be bound to another principal."""
    async with north.engine.connect() as connection:
        driver = await set_binding(connection, north.client().binding())
        await driver.begin_bound()
        with pytest.raises(Misuse, match="another principal"):
            await set_binding(connection, north.client().binding())
