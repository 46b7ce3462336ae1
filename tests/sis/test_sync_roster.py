"""Tests that a OneRoster zip becomes a roster, that the same zip changes nothing, and that changes are logged."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Iterator
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from app.core.db import open_engine
from app.core.ids import format_id, parse_any_id
from app.sandbox.district import District
from app.sandbox.export import export_csv
from app.settings import Settings
from app.sis.engine.stage import Stage
from tests.databases import drop_database
from tests.house.watch import findings_of
from tests.prepared import lay_database, over_database
from tests.sis.roster_zip import ROSTER, STUDENTS, Export, ask, fingerprint, row_id, staged_rows, sync
from tests.town import Town, found_town

SAMPLES = Path(__file__).parents[3] / "shared/oneroster/samples/gospelnerd-1.1"


@pytest.fixture(scope="session")
def alone_settings(server: Settings) -> Iterator[Settings]:
    """Yields settings with a database for these tests alone, so that no other statements are in its statistics."""
    name = f"aimline_sync_{secrets.token_hex(4)}"
    settings = over_database(server, name).model_copy(update={"sandbox": True})
    asyncio.run(lay_database(server, settings, name))
    yield settings
    asyncio.run(drop_database(server.url_of("owner"), name))


@pytest.fixture
async def alone(alone_settings: Settings) -> AsyncIterator[Town]:
    """Yields a district with two connections of its own, whose statistics a test can read."""
    engine = open_engine(alone_settings.url_of("worker"), name="tests alone", pool_size=1)
    yield await found_town("alone", engine, engine, alone_settings)
    await engine.dispose()


async def _writes(town: Town) -> dict[str, int]:
    """Returns how many rows were inserted, updated and deleted so far in each roster table, as PostgreSQL counts
    them.
    """
    connections = [await town.worker_engine.connect() for _ in range(2)]
    for connection in connections:
        driver = (await connection.get_raw_connection()).driver_connection
        assert driver is not None
        # A backend reports what it counted before it is ready for the next statement.
        await driver.fetchval("SELECT pg_stat_force_next_flush()")
    for connection in connections:
        await connection.close()
    rows = await ask(
        town,
        "SELECT relname, n_tup_ins + n_tup_upd + n_tup_del FROM pg_stat_user_tables WHERE relname = ANY (:names)",
        names=list(ROSTER),
    )
    return dict(tuple(row) for row in rows)


def _sample(name: str) -> Path:
    path = SAMPLES / f"oneroster-{name}.zip"
    if not path.exists():
        pytest.skip("The samples of other authors are not in the folder next to this project.")
    return path


@pytest.mark.parametrize(("name", "people", "enrollments"), [("school-small", 79, 546), ("district-medium", 837, 5810)])
async def test_a_zip_written_by_others_is_taken_as_it_is(
    alone: Town, tmp_path: Path, name: str, people: int, enrollments: int
) -> None:
    """A zip that another program wrote is imported completely, with one warning, and a second run writes nothing."""
    first = await sync(alone, _sample(name), tmp_path)
    assert (first.state, first.exit_code, first.refusals) == ("applied", 0, [])
    (warning,) = first.warnings
    assert "announced as bulk, with status or dateLastModified filled in" in warning
    assert (first.kinds["person"].created, first.kinds["enrollment"].created) == (people, enrollments)
    years = await ask(alone, "SELECT DISTINCT school_year FROM academic_session WHERE district_id = :district")
    assert years == [(2027,)]
    before = await _writes(alone)
    assert before["enrollment"] >= enrollments
    second = await sync(alone, _sample(name), tmp_path)
    assert (second.state, second.exit_code, second.total("changes")) == ("applied", 0, 0)
    assert second.total("unchanged") == second.total("fetched") == first.total("created")
    assert await _writes(alone) == before


async def test_the_sandbox_district_is_synced_day_by_day(north: Town, tmp_path: Path) -> None:
    """A sandbox district is loaded first, then again unchanged, and then with the next day's changes.

    Each change is counted, and the counts add up.
    """
    district = District(7, 200, date(2026, 11, 20))
    path = tmp_path / "sandbox.zip"
    export_csv(district, path)
    first = await sync(north, path, tmp_path)
    assert (first.state, first.exit_code) == ("applied", 0)
    before = await fingerprint(north)
    repeated = await sync(north, path, tmp_path)
    assert repeated.total("changes") == 0
    assert await fingerprint(north) == before
    export_csv(district.on(10), path)
    later = await sync(north, path, tmp_path)
    assert later.state == "applied"
    assert later.total("changes") > 0
    for counts in (counts for report in (first, repeated, later) for counts in report.kinds.values()):
        assert counts.fetched == (
            counts.unchanged + counts.created + counts.updated + counts.removed + counts.quarantined
        )


async def test_what_the_files_say_is_what_the_roster_holds(north: Town, tmp_path: Path) -> None:
    """After a small delivery, the roster has the delivered grades, references, roles, memberships and weeks."""
    report = await sync(north, Export(), tmp_path)
    assert (report.exit_code, report.sentence) == (0, f"{report.total('created'):,} changes were made.")
    school, student = await row_id(north, "org", "south"), await row_id(north, "person", "s1")
    (person,) = await ask(
        north,
        "SELECT role, is_student, grades, school_ids, enabled, arrived_in FROM person "
        "WHERE district_id = :district AND id = :id",
        id=student,
    )
    assert tuple(person) == ("student", True, ["03"], [school], True, report.run_id)
    (demographics,) = await ask(
        north,
        "SELECT birth_date, sex, asian, white, school_ids FROM demographics "
        "WHERE district_id = :district AND person_id = :id",
        id=student,
    )
    assert tuple(demographics) == (date(2018, 3, 4), "female", True, False, [school])
    memberships = await ask(
        north,
        "SELECT school_id, begins_on, ends_on FROM school_membership WHERE district_id = :district AND person_id = :id",
        id=student,
    )
    assert memberships == [(school, date(2026, 8, 17), None)], "a first load begins with the school year"
    weeks = await ask(
        north,
        "SELECT min(monday), max(n), count(*) FROM school_week WHERE district_id = :district AND school_id = :id",
        id=school,
    )
    assert weeks == [(date(2026, 8, 17), 43, 43)]
    (one,) = await ask(
        north,
        "SELECT c.academic_session_ids, k.grades FROM class c "
        "JOIN course k ON k.district_id = :district AND k.id = c.course_id "
        "WHERE c.district_id = :district AND c.id = :id",
        id=await row_id(north, "class", "class-south"),
    )
    sessions = [await row_id(north, "academic_session", one) for one in ("fall", "y27")]
    assert tuple(one) == (sessions, ["03", "04"])


async def test_new_ids_are_time_ordered_uuids(north: Town, tmp_path: Path) -> None:
    """Ids that are created in SQL have the form of UUIDv7 (RFC 9562) and can be formatted and parsed."""
    await sync(north, Export(), tmp_path)
    person_id = await row_id(north, "person", "s1")
    assert (person_id.version, person_id.variant) == (7, "specified in RFC 4122")
    assert parse_any_id(format_id("student", person_id)) == ("student", person_id)


async def test_a_dry_run_plans_and_writes_nothing(north: Town, tmp_path: Path) -> None:
    """A dry run has the same counts as a real one and changes nothing."""
    before = await fingerprint(north, [table for table in ROSTER if table != "source"])
    dry = await sync(north, Export(), tmp_path, dry=True)
    assert (dry.state, dry.exit_code) == ("dry", 0)
    assert await fingerprint(north, before) == before
    real = await sync(north, Export(), tmp_path)
    assert {k: c.created for k, c in real.kinds.items()} == {k: c.created for k, c in dry.kinds.items()}
    states = await ask(north, "SELECT state, dry FROM sis_run WHERE district_id = :district ORDER BY began_at")
    assert states == [("dry", True), ("applied", False)]


async def test_a_run_leaves_nothing_staged(north: Town, tmp_path: Path) -> None:
    """After a run no staged row and no table of raw rows is left."""
    export = Export()
    export.row("users", "s1")["password"] = "Secret-in-a-file"
    report = await sync(north, export, tmp_path)
    left = await ask(
        north,
        "SELECT relname FROM pg_class WHERE relnamespace = 'staging'::regnamespace AND strpos(relname, :run) > 0",
        run=report.run_id.hex,
    )
    assert left == []
    assert await staged_rows(north) == {}
    people = await ask(north, "SELECT t::text FROM person t WHERE district_id = :district")
    assert not any("Secret-in-a-file" in row[0] for row in people)


async def test_columns_that_a_file_lacks_leave_what_is_known(north: Town, tmp_path: Path) -> None:
    """A column that is missing from a file keeps its stored values: without `email`, people keep their e-mail
    addresses.
    """
    export = Export()
    await sync(north, export, tmp_path)
    lines = [line.split(",") for line in export.sheet("users").splitlines()]
    at = lines[0].index("email")
    export.raw["users"] = "\r\n".join(",".join([*line[:at], *line[at + 1 :]]) for line in lines).encode()
    report = await sync(north, export, tmp_path)
    assert report.total("changes") == 0
    assert any("users.csv has no email" in warning for warning in report.warnings)
    kept = await ask(north, "SELECT count(*) FROM person WHERE district_id = :district AND email LIKE 's%@example.org'")
    assert kept == [(STUDENTS,)]


async def test_files_that_are_not_taken_are_named(north: Town, tmp_path: Path) -> None:
    """Files that are not imported are named in the report."""
    export = Export(raw={"resources": b"sourcedId\r\nr1\r\n"}, modes={"resources": "bulk"})
    report = await sync(north, export, tmp_path)
    assert (report.exit_code, report.not_taken) == (0, ["resources.csv"])


async def test_every_statement_of_a_sync_names_its_district(
    north: Town, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every statement of a sync names its district, including the statements that are sent directly to the driver."""
    sent: list[str] = []
    bound = Stage._bound

    def watched(stage: Stage, sql: str) -> tuple[Any, ...]:
        statement, *values = bound(stage, sql)
        sent.append(statement)
        return (statement, *values)

    monkeypatch.setattr(Stage, "_bound", watched)
    export = Export()
    await sync(north, export, tmp_path)
    export.row("users", "s3")["orgSourcedIds"] = "north"
    export.row("users", "s4")["orgSourcedIds"] = "nowhere"
    export.rows["users"].append({**export.row("users", "s5"), "givenName": "Another"})
    export.without("enrollments", "e7")
    report = await sync(north, export, tmp_path)
    assert (report.state, report.exit_code) == ("applied", 3)
    assert len(sent) > 100
    assert [finding for statement in sent for finding in findings_of(statement)] == []
