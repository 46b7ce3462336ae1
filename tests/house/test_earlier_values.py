"""Tests that the values from before a change are deleted: after a year, and when their person is erased.

The catalogue of the database finds the tables that have such values, so a new table is not missed.
"""

import asyncio
from datetime import timedelta
from typing import Any

import asyncpg
import pytest

from app.core import ids
from app.core.clock import now
from app.maintenance.history import EARLIER_VALUES, expire_earlier_values
from app.maintenance.models import TaskKind
from app.maintenance.service import run_task
from app.settings import Settings
from app.sis.models import SisChange, SisPlannedChange
from app.sis.scheduler.retention import KEPT
from tests.faces.rest_town import caller
from tests.house.full_district import FullDistrict, fill_district
from tests.processes import environment, warm
from tests.sis.roster_zip import ask
from tests.town import Town, maintain

BEFORE = "(^|_)(before|old|previous|former|earlier|prior)(_|$)"
"""A regular expression that matches the name of a column with the value from before a change."""
LOG = "_(change|history|revision|version|audit|log)$"
"""A regular expression that matches the name of a table of changes."""
DELETED = {
    **{table.__tablename__: "expire_earlier_values and erase_earlier_values" for table in EARLIER_VALUES},
    SisChange.__tablename__: "expire_changes and erase_person",
    SisPlannedChange.__tablename__: "expire_lists and erase_person, with its table of personal values",
}
"""The tables with values from before a change, and the functions that delete these values."""
LET_OFF = {
    "alembic_version": "the number of the last migration",
    "core_stall": "`window_before_id` refers to another screening window",
    "handover": "ids of staff: who handed a support over is a fact of the handover",
    "phase": "`required_rate_before` is a number that belongs to the phase's own goal",
    "phase_goal": "as in `phase`",
    "playbook_version": "rules of the district, which are about nobody",
    "screening_result": "`level_before` is a result that the report compares, and is computed again",
    "webhook_endpoint": "the secret until its rotation, which expires by itself",
}
"""The tables whose names or columns match, although they have no copy of a changed record, with the reason."""
TABLES = [table.__tablename__ for table in EARLIER_VALUES]
VALUES = {"score_change": "before", "session_change": "before", "note_change": "text"}
HAS_VALUES = {
    "score_change": "EXISTS (SELECT FROM jsonb_each_text(c.before) WHERE value IS NOT NULL)",
    "session_change": "EXISTS (SELECT FROM jsonb_each_text(c.before) WHERE value IS NOT NULL)",
    "note_change": "length(c.text) > 0",
}


async def tables_with_earlier_values(connection: asyncpg.Connection) -> set[str]:
    """Returns the tables of the schema `public` whose name or columns say that they keep values from before changes."""
    rows = await connection.fetch(
        """SELECT DISTINCT c.relname FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
           WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p')
             AND a.attnum > 0 AND NOT a.attisdropped AND (c.relname ~ $1 OR a.attname ~ $2)""",
        LOG,
        BEFORE,
    )
    return {row["relname"] for row in rows}


async def test_every_table_of_earlier_values_has_a_retention(settings: Settings) -> None:
    """Each table that keeps values from before a change is one whose values expire and are erased with a person."""
    connection = await asyncpg.connect(settings.url_of("owner"))
    transaction = connection.transaction()
    await transaction.start()
    try:
        present = await tables_with_earlier_values(connection)
        await connection.execute("CREATE TABLE planted_change (id uuid); CREATE TABLE planted (text_before text)")
        planted = await tables_with_earlier_values(connection) - present
    finally:
        await transaction.rollback()
        await connection.close()
    assert present == DELETED.keys() | LET_OFF.keys()
    assert planted == {"planted_change", "planted"}


async def test_earlier_values_are_kept_for_a_year_by_default() -> None:
    """Without a setting, the values from before a change are kept for 365 days."""
    assert Settings.model_fields["sync_history_days"].default == KEPT.days == 365


async def kept(town: Town, table: str) -> list[Any]:
    """Returns the student of each row of a table of earlier values that still has its values."""
    rows = await ask(
        town, f"SELECT c.student_id FROM {table} c WHERE c.district_id = :district AND {HAS_VALUES[table]}"
    )
    return [student_id for (student_id,) in rows]


async def facts(town: Town, table: str) -> list[Any]:
    """Returns the rows of a table without their earlier values and without the time of their deletion."""
    return await ask(
        town,
        f"""SELECT to_jsonb(c) - 'expired_at' - '{VALUES[table]}' FROM {table} c
            WHERE c.district_id = :district ORDER BY c.id""",
    )


async def make_older(town: Town, table: str, days: int) -> None:
    """Changes the time of every change in a table, as if it were made some days ago."""
    changed_at = now() - timedelta(days=days)
    await ask(town, f"UPDATE {table} SET changed_at = :at WHERE district_id = :district", at=changed_at)


async def test_old_values_are_deleted_and_the_facts_stay(app: Any, north: Town) -> None:
    """Maintenance deletes the values from before changes that are older than a year, in every table.

    Who changed a record, when and why stays, with the names of the changed fields. Younger values stay too.
    """
    district = await fill_district(north)
    before = {table: (await kept(north, table), await facts(north, table)) for table in TABLES}
    assert all(rows for rows, _ in before.values()), "each table has a row to try"
    await maintain(north)
    assert {table: await kept(north, table) for table in TABLES} == {table: rows for table, (rows, _) in before.items()}
    for table in TABLES:
        await make_older(north, table, 366)
    aged = {table: await facts(north, table) for table in TABLES}
    await maintain(north)
    assert {table: await kept(north, table) for table in TABLES} == {table: [] for table in TABLES}
    assert {table: await facts(north, table) for table in TABLES} == aged
    await _shows_the_changed_fields(app, district)


async def _shows_the_changed_fields(app: Any, district: FullDistrict) -> None:
    client = caller(app, district.town)
    (change,) = (await client.get(f"/v1/scores/{district.shown['score']}/changes")).json()["items"]
    assert (change["before"], change["because"]) == ({"value": None}, f"Because {district.town.canary}")
    assert change["expired_at"] is not None
    session = await client.get(f"/v1/sessions/{district.shown['session']}", expand="changes")
    (change,) = session.json()["changes"]
    assert change["before"] == {"delivered_minutes": None, "lost_because": None}


@pytest.mark.parametrize("how", ["a setting", "a batch"])
async def test_the_setting_and_the_batch_bound_what_is_deleted(north: Town, how: str) -> None:
    """`AIMLINE_SYNC_HISTORY_DAYS` sets how long values are kept, and a batch deletes only some rows of each table."""
    await fill_district(north)
    table = "session_change"
    before = len(await kept(north, table))
    assert before > 1
    if how == "a batch":
        async with north.house() as work:
            await expire_earlier_values(work, timedelta(0), most=1)
        assert len(await kept(north, table)) == before - 1
        return
    await make_older(north, table, 40)
    command = ["aimline", "district", "maintain", north.slug, "--task", "sync_history"]
    for days, left in (("41", before), ("39", 0)):
        variables = environment(north.settings, AIMLINE_SYNC_HISTORY_DAYS=days)
        done = await asyncio.to_thread(warm().run, command, variables)
        assert done.returncode == 0, done.stderr
        assert len(await kept(north, table)) == left, days


async def test_erasure_reaches_the_earlier_values_of_records(north: Town) -> None:
    """`aimline sis forget` deletes a person's values from before changes, in every table, and nobody else's."""
    await fill_district(north)
    before = {table: await kept(north, table) for table in TABLES}
    for student_id in {one for students in before.values() for one in students if one is not None}:
        shown = ids.format_id("student", student_id)
        command = ["aimline", "sis", "forget", shown, "--district", north.slug]
        done = await asyncio.to_thread(warm().run, command, environment(north.settings))
        assert done.returncode == 0, done.stderr
        before = {table: [one for one in students if one != student_id] for table, students in before.items()}
        assert {table: sorted(await kept(north, table)) for table in TABLES} == {
            table: sorted(students) for table, students in before.items()
        }
    engine = north.worker_engine
    await run_task(engine, north.settings.keyring, north.district_id, TaskKind.SYNC_HISTORY, timedelta(0))
    assert not any([await kept(north, table) for table in TABLES]), "those about no student expire as well"
