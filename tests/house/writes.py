"""Collects the statements by which the product writes during the tests, each once, to check them at the end.

Statements that are sent through SQLAlchemy are stored unchanged. A sync also sends statements through asyncpg. They may
name tables of raw rows, which no longer exist after the run, so the definitions of these tables are stored too. The
run's number is removed from the tables' names.
"""

# names that the product made

import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path
from typing import Any

import asyncpg

from app.sis.engine.stage import STAGING_TABLES, Stage
from tests.house.distributed import find_unsuitable, read_catalogue
from tests.house.statements import unbound

LOOKED_AT = re.compile(
    r"\b(INSERT INTO|UPDATE|DELETE FROM|MERGE INTO|FROM (public\.)?(district|client|client_secret))\b"
)
STATEMENT = re.compile(r"\s*(WITH|INSERT|UPDATE|DELETE|MERGE|SELECT)\b")
OF_A_RUN = re.compile(r"_[0-9a-f]{32}\b")
RAW = re.compile(r"\bstaging\.(\w+_[0-9a-f]{32})\b")
SHAPES = """
SELECT c.relname AS table, string_agg(quote_ident(a.attname) || ' ' || format_type(a.atttypid, a.atttypmod), ', ') AS is
FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
WHERE c.relnamespace = 'staging'::regnamespace AND c.relname = ANY ($1) GROUP BY c.relname
"""
DIRECTORY_FUNCTIONS = """
SELECT p.prosrc AS body, p.proargnames AS names,
       ARRAY (SELECT format_type(t, NULL) FROM unnest(p.proargtypes) AS t) AS types
FROM pg_proc p WHERE p.pronamespace = 'app'::regnamespace AND p.prosecdef
"""
HERE = Path(__file__).parent
MIGRATIONS = HERE.parents[1] / "migrations"
LET_OFF: dict[str, str] = {}
"""Parts of statements that are not fit yet, and why."""

_staged: set[str] = set()
"""The statements of syncs, whether they write or not."""
_kept: dict[str, dict[str, str]] = {}
"""Statement: (table of raw rows: columns)."""


def keep(statement: str) -> None:
    """Records a statement that SQLAlchemy sends."""
    if STATEMENT.match(statement) and LOOKED_AT.search(statement):
        _kept.setdefault(statement, {})


def watch_the_sync() -> None:
    """Records the statements of every sync from now on."""
    run, rows, insert_parallel = Stage.run, Stage.rows, Stage.insert_parallel

    async def watched_run(stage: Stage, sql: str) -> int:
        await _keep_staged(stage, sql)
        return await run(stage, sql)

    async def watched_rows(stage: Stage, sql: str) -> list[Any]:
        await _keep_staged(stage, sql)
        return await rows(stage, sql)

    async def watched_parallel(stage: Stage, name: str, kind: str, columns: Sequence[str], query: str) -> int:
        await _keep_staged(stage, query)
        return await insert_parallel(stage, name, kind, columns, query)

    Stage.run, Stage.rows = watched_run, watched_rows  # type: ignore[method-assign, assignment]  # watched
    Stage.insert_parallel = watched_parallel  # type: ignore[method-assign, assignment]  # watched


async def _keep_staged(stage: Stage, sql: str) -> None:
    statement = OF_A_RUN.sub("_run", stage._bound(sql)[0].partition(" /* ")[0])
    _staged.add(statement)
    if statement in _kept or not (STATEMENT.match(statement) and LOOKED_AT.search(statement)):
        return
    shapes = await stage.driver.fetch(SHAPES, RAW.findall(sql))
    _kept[statement] = {OF_A_RUN.sub("_run", row["table"]): row["is"] for row in shapes}


async def unsuitable_statements(url: str, claims: Path, passed: Path | None) -> list[str]:
    """Returns the recorded statements that Citus would refuse. Changes nothing in the database.

    Statements within functions that run with the owner's rights are included. If several processes have sent the same
    statement, the first of them checks it; files in the folder `claims` coordinate this. `passed` is a folder with a
    file for each check that found nothing in an earlier run. These checks are skipped while the checks and tables are
    unchanged.
    """
    owner = await asyncpg.connect(url)
    try:
        checks = Checks(claims, passed and passed / _version_of_checks(await owner.fetchval("SHOW server_version")))
        catalogue = await read_catalogue(owner)
        findings = []
        for statement, shapes in {**_kept, **await _bodies(owner)}.items():
            check = f"unfit {statement} {sorted(shapes.items())}"
            if not checks.claim(check):
                continue
            transaction = owner.transaction()
            await transaction.start()
            try:
                for table, columns in shapes.items():
                    await owner.execute(f"CREATE TABLE staging.{table} ({columns})")
                violations = await find_unsuitable(owner, catalogue, statement)
            except asyncpg.PostgresError as error:
                violations = [f"cannot be prepared: {error}"]
            finally:
                await transaction.rollback()
            remaining = [] if _is_let_off(statement) else violations
            checks.record(check, remaining)
            findings += [f"{one}: {' '.join(statement.split())}" for one in remaining]
        return [*findings, *_without_run(checks)]
    finally:
        await owner.close()


@dataclass
class Checks:
    """Divides the checks of statements among the processes of a run, and skips checks that passed in an earlier run."""

    claims: Path
    passed: Path | None

    def __post_init__(self) -> None:
        """Creates the folders, and removes the results of other versions of the checks."""
        self.claims.mkdir(exist_ok=True)
        if self.passed is not None:
            self.passed.mkdir(parents=True, exist_ok=True)
            for other in self.passed.parent.iterdir():
                if other != self.passed:
                    shutil.rmtree(other, ignore_errors=True)  # another process may remove it too

    def claim(self, check: str) -> bool:
        """Returns whether this process must do a check. It need not if the check passed in an earlier run, or if
        another process has claimed it.
        """
        name = _digest(check)
        if self.passed is not None and (self.passed / name).exists():
            return False
        try:
            (self.claims / name).touch(exist_ok=False)
        except FileExistsError:
            return False
        return True

    def record(self, check: str, violations: Sequence[str]) -> None:
        """Records a check that found nothing, so that later runs skip it. All other checks are repeated."""
        if self.passed is not None and not violations:
            (self.passed / _digest(check)).touch()


def _digest(text: str) -> str:
    return sha256(text.encode()).hexdigest()


def _version_of_checks(server: str) -> str:
    """Returns a digest of everything, except the statement, that a check depends on: code, tables and server."""
    modules = ("catalogue", "distributed", "query_tree", "statements", "writes")
    files = [HERE / f"{name}.py" for name in modules]
    files += sorted(path for path in MIGRATIONS.rglob("*") if path.suffix in (".py", ".sql", ".txt"))
    contents = [sha256(path.read_bytes()).hexdigest() for path in files]
    return _digest(" ".join([*contents, server, version("sqlglot"), *sorted(STAGING_TABLES)]))


def _without_run(checks: Checks) -> list[str]:
    """Checks the recorded statements of syncs.

    Each must name the district and the run for every staging table that it uses.

    Returns a sentence for each violation.
    """
    tables = {f"staging.{name}" for name in (*STAGING_TABLES, "kept_plan", "kept_rekey")}
    findings = []
    for statement in sorted(_staged):
        check = f"run {statement}"
        if checks.claim(check):
            violations = [
                f"{table} without its {column}: {' '.join(statement.split())}"
                for column in ("district_id", "run_id")
                for table in unbound(statement, tables, column)
            ]
            checks.record(check, violations)
            findings += violations
    return findings


async def _bodies(owner: asyncpg.Connection) -> dict[str, dict[str, str]]:
    """Returns the bodies of the functions that run with the owner's rights.

    In a body, each parameter's name is replaced by its place and type, such as `$1::uuid`.
    """
    bodies: dict[str, dict[str, str]] = {}
    for row in await owner.fetch(DIRECTORY_FUNCTIONS):
        body = row["body"].strip()
        for place, type_ in enumerate(row["types"], start=1):
            body = re.sub(rf"(?<![.\w]){row['names'][place - 1]}\b", f"${place}::{type_}", body)
        bodies[body] = {}
    return bodies


def _is_let_off(statement: str) -> bool:
    plain = " ".join(statement.split())
    return any(part in plain for part in LET_OFF)
