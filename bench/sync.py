"""Measures the sync beside a bare COPY of the same files in the same run. Owns no threshold: it prints ratios.

`python -m bench.sync [--students 100000] [--shuffled]` uses the embedded server in a temporary folder, or the server
of `AIMLINE_DATABASE_URL`. The generated zip is kept in the temporary folder of the machine for the next run.
"""

import argparse
import asyncio
import contextlib
import csv
import io
import random
import secrets
import statistics
import tempfile
import time
import zipfile
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import asyncpg
from sqlalchemy.engine import make_url

from app.cli.district import open_district
from app.cli.migrate import migrate
from app.core.crypto import fresh_key
from app.core.db import open_engine
from app.core.embedded import EmbeddedPostgres
from app.sandbox.district import District
from app.sandbox.export import export_with_progress
from app.settings import Settings
from app.sis.engine.weigh import Report
from app.sis.oneroster_csv.archive import open_zip
from app.sis.service import sync_csv

DAY = date(2026, 11, 2)  # the same bytes in whatever year it is run
SERVER = {"shared_buffers": "1GB", "max_wal_size": "8GB"}
COPIES = 3


def roster_zip(students: int) -> Path:
    """The generated zip, made on the first use."""
    folder = Path(tempfile.gettempdir()) / "aimline-bench"
    folder.mkdir(exist_ok=True)
    path = folder / f"roster-{students}.zip"
    if not path.exists():
        export_with_progress(District(1, students, DAY), path)
    return path


def shuffled(path: Path) -> Path:
    """The same rows, each file in another order."""
    other = path.with_name(path.stem + "-shuffled.zip")
    if other.exists():
        return other
    with zipfile.ZipFile(path) as source, zipfile.ZipFile(other, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as out:
        for name in source.namelist():
            head, *rows = list(csv.reader(io.StringIO(source.read(name).decode(), newline="")))
            if name != "manifest.csv":
                random.Random(name).shuffle(rows)
            text = io.StringIO(newline="")
            csv.writer(text).writerows([head, *rows])
            out.writestr(name, text.getvalue())
    return other


async def bare_copy(settings: Settings, path: Path, folder: Path) -> float:
    """Seconds to COPY the unpacked files into plain tables of text, the median of some tries."""
    with zipfile.ZipFile(path) as archive:
        archive.extractall(folder)
    connection = await asyncpg.connect(settings.url_of("worker"))
    took = []
    for _ in range(COPIES):
        began = time.perf_counter()
        async with connection.transaction():
            with open_zip(path) as source:
                for delivery in source.deliveries.values():
                    columns = ", ".join(f"c{number} text" for number in range(len(delivery.header)))
                    await connection.execute(f"CREATE TABLE staging.bare_{delivery.kind} ({columns})")
                    await connection.copy_to_table(
                        f"bare_{delivery.kind}",
                        schema_name="staging",
                        source=folder / delivery.file,
                        format="csv",
                        header=True,
                    )
        took.append(time.perf_counter() - began)
        names = ", ".join(f"staging.bare_{kind}" for kind in source.deliveries)
        await connection.execute(f"DROP TABLE {names}")
    await connection.close()
    return statistics.median(took)


async def measure(
    settings: Settings, path: Path, folder: Path, *, shuffle: bool
) -> list[tuple[str, float, Report | None]]:
    """Seconds of a bare COPY, of a first load and of runs without news."""
    engine = open_engine(settings.url_of("worker"), name="bench")
    district = await open_district(engine, settings.keyring, "bench", "Bench", "America/Chicago")
    lines: list[tuple[str, float, Report | None]] = [("bare COPY", await bare_copy(settings, path, folder), None)]
    runs = [("first load", path), ("unchanged", path), ("unchanged again", path)]
    if shuffle:
        runs.append(("unchanged, rows shuffled", shuffled(path)))
    for name, file in runs:
        began = time.perf_counter()
        report = await sync_csv(
            engine, settings.keyring, district, file, "bench", False, lambda _doing, _done, _of: None
        )
        lines.append((name, time.perf_counter() - began, report))
        assert report.state == "applied", report.sentence
    await engine.dispose()
    return lines


@contextlib.contextmanager
def server(folder: Path) -> Iterator[Settings]:
    """One's own server, or the embedded one."""
    given = Settings()
    if given.database_url:
        yield given
        return
    with EmbeddedPostgres(folder / "server", settings=SERVER) as postgres:
        yield Settings(database_url=postgres.url("owner"), key=fresh_key("k1"))


async def _owner(settings: Settings, statement: str) -> Any:
    connection = await asyncpg.connect(settings.url_of("owner"))
    try:
        return await connection.fetchval(statement)
    finally:
        await connection.close()


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="bench.sync", description="Measure the sync beside a bare COPY.")
    parser.add_argument("--students", type=int, default=100_000)
    parser.add_argument("--shuffled", action="store_true", help="also the same rows in another order")
    options = parser.parse_args()
    path = roster_zip(options.students)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        with server(folder) as given:
            database = f"aimline_bench_{secrets.token_hex(4)}"
            asyncio.run(_owner(given, f"CREATE DATABASE {database}"))
            url = make_url(given.url_of("owner")).set(database=database).render_as_string(hide_password=False)
            settings = given.model_copy(update={"database_url": url})
            try:
                migrate(settings)
                version = asyncio.run(_owner(settings, "SHOW server_version"))
                lines = asyncio.run(measure(settings, path, folder, shuffle=options.shuffled))
            finally:
                asyncio.run(_owner(given, f"DROP DATABASE {database} WITH (FORCE)"))
    bare = lines[0][1]
    print(f"{path.name}, PostgreSQL {version}")
    print(f"{'run':<26}{'seconds':>9}{'× COPY':>9}{'rows':>12}{'changes':>12}")
    for what, seconds, report in lines:
        rows = f"{report.total('fetched'):>12,}{report.total('changes'):>12,}" if report else ""
        print(f"{what:<26}{seconds:>9.2f}{seconds / bare:>9.1f}{rows}")


if __name__ == "__main__":
    main()
