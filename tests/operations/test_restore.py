"""Tests restores: every row comes back with its keys, policies and grants, and no restore is left incomplete."""

import json
import secrets
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from app.cli.backup.manifest import DUMP, MANIFEST
from app.core.crypto import generate_key
from app.core.schema_lines import lines_of_owner
from app.main import build
from tests.faces.rest_town import caller
from tests.operations.conftest import EmptyDatabase, Installation, as_owner, rows_of_tables, run_aimline

pytestmark = pytest.mark.long

Empty = Callable[[], EmptyDatabase]


async def test_every_row_comes_back(source: Installation, backup: Path, empty: Empty) -> None:
    """A restore returns every row, with two documented changes: the feed's epoch, and the run that waits for approval.

    A plain pg_dump by the owner would fail because of row-level security, and because of the tables of the run's plan.
    """
    target = await empty().settings()
    done = await run_aimline(target, "restore", str(backup), "--json")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert (report["discarded_runs"], report["districts"], report["secrets"]) == (1, 1, 2)
    before, after = await rows_of_tables(source.settings), await rows_of_tables(target)
    changed = {table for table in before if before[table] != after[table]}
    assert changed == {"public.event_counter", "public.sis_run"}
    counts_before, counts_after = ({table: rows for table, [(rows, _)] in counts.items()} for counts in (before, after))
    assert counts_before == counts_after
    runs = await as_owner(target, "SELECT state, sentence, plan FROM sis_run WHERE id = $1", source.held_run)
    assert (runs[0]["state"], runs[0]["plan"]) == ("discarded", None)
    assert "restored from a backup" in runs[0]["sentence"]
    held = await as_owner(source.settings, "SELECT state FROM sis_run WHERE id = $1", source.held_run)
    assert held[0]["state"] == "held", "a backup changes nothing"


async def test_a_cursor_from_before_is_refused(source: Installation, backup: Path, empty: Empty) -> None:
    """After a restore, an earlier cursor of the feed gets 410, because numbers of the feed are assigned again.

    The restored API accepts the same token, and returns the same students.
    """
    target = await empty().settings()
    assert (await run_aimline(target, "restore", str(backup))).returncode == 0
    app = build(target.model_copy(update={"sandbox": True, "base_url": "http://aimline.test"}))
    try:
        asks = caller(app, source.town)
        refused = await asks.get("/v1/events", after=source.cursor)
        assert (refused.status_code, refused.json()["code"]) == (410, "feed.epoch")
        assert (await asks.get("/v1/events")).status_code == 200
        students = await asks.items("/v1/students")
        assert students == await source.caller.items("/v1/students")
        assert len(students) > 40
    finally:
        await app.state.services.engine.dispose()


async def test_objects_of_other_roles_do_not_prevent_a_restore(
    source: Installation, empty: Empty, tmp_path: Path
) -> None:
    """A database that also has tables of other software can be restored. Their owner is another role.

    The restore once failed at its very end, because these tables were not in the restored schema.
    """
    other = f"other_{secrets.token_hex(4)}"
    await as_owner(source.settings, f"CREATE ROLE {other}")
    for statement in (
        f"GRANT {other} TO current_user",
        f"GRANT CREATE ON SCHEMA public TO {other}",
        "CREATE TABLE public.of_other_software (a int PRIMARY KEY)",
        "CREATE INDEX of_other_index ON public.of_other_software (a)",
        f"ALTER TABLE public.of_other_software OWNER TO {other}",
    ):
        await as_owner(source.settings, statement)
    try:
        done = await run_aimline(source.settings, "backup", str(tmp_path / "one"))
        assert done.returncode == 0, done.stderr
        target = await empty().settings()
        restored = await run_aimline(target, "restore", str(tmp_path / "one"))
        assert restored.returncode == 0, restored.stderr
        assert await as_owner(target, "SELECT 1 FROM pg_class WHERE relname = 'of_other_software'") == []
    finally:
        await as_owner(source.settings, "DROP TABLE public.of_other_software")
        await as_owner(source.settings, f"REVOKE ALL ON SCHEMA public FROM {other}")
        await as_owner(source.settings, f"DROP ROLE {other}")


def test_a_function_of_another_role_is_expected_as_the_owners() -> None:
    """After a restore the owner role owns every function, even one of another role. Other lines stay the same."""
    lines = [
        "function app.more() returns integer sql volatility=v owner=role:a dba md5=1",
        "function app.enter() returns void sql volatility=v owner=<owner> md5=2",
        "relation public.concern rp owner=<owner>",
        "relation public.of_other rp owner=role:other",
        "column public.of_other.a integer",
        "grant SELECT on public.of_other to <api>",
    ]
    own = "function app.more() returns integer sql volatility=v owner=<owner> md5=1"
    assert lines_of_owner(lines) == [own, *lines[1:3]]


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
    """A damaged backup is refused with an error of one line, and nothing is written."""
    copy = _damaged(backup, tmp_path / "copy", damage)
    target = await empty().settings()
    done = await run_aimline(target, "restore", str(copy))
    assert done.returncode == 2
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr
    assert await as_owner(target, "SELECT 1 FROM pg_class WHERE relnamespace = 'public'::regnamespace") == []


async def test_a_restore_writes_over_nothing(source: Installation, backup: Path) -> None:
    """A restore into the database that is in use is refused, and changes nothing."""
    before = await rows_of_tables(source.settings)
    for options in ((), ("--check",)):
        done = await run_aimline(source.settings, "restore", str(backup), *options)
        assert done.returncode == 2
        assert "is not empty" in done.stderr
    assert await rows_of_tables(source.settings) == before


async def test_a_restore_without_the_key_is_refused(backup: Path, empty: Empty) -> None:
    """A restore without the right key is refused before any role gets access.

    The error names a missing key by its id. Another key with the same id is recognized because it decrypts no value.
    """
    target = await empty().settings()
    wrong = target.model_copy(update={"key": generate_key("other")})
    missing = await run_aimline(wrong, "restore", str(backup), "--check")
    assert (missing.returncode, "k1, which the key file lacks" in missing.stderr) == (1, True), missing.stderr
    roles = {f"AIMLINE_{role.upper()}_DATABASE_URL": target.url_of(role) for role in ("api", "worker")}
    twin = target.model_copy(update={"key": generate_key("k1")})
    refused = await run_aimline(twin, "restore", str(backup), **roles)
    assert refused.returncode == 1
    assert "cannot be decrypted with this key file's 'k1'" in refused.stderr
    assert await as_owner(target, "SELECT 1 FROM information_schema.table_privileges WHERE grantee = 'api'") == []
    migrated = await run_aimline(target, "migrate")
    assert migrated.returncode == 1, "what is half restored is not taken for an installation"
