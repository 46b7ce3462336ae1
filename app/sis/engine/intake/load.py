"""Loads a file into its raw table (text columns only) with COPY, after checking its bytes, and marks the refused rows.

If a COPY is cancelled or fails, PostgreSQL writes the current row, with a child's data, to its log. To prevent this:

* COPY gets only rows that it can read.
* COPY has no statement timeout and is never cancelled. To end it early, this module ends the stream that it reads.
"""

# ruff: noqa: S608  # only our own names are formatted into statements; values are bound

import asyncio
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing, suppress

import asyncpg

from app.core.plural import pluralize
from app.sis.engine.intake.blocks import BLANKS_SQL
from app.sis.engine.intake.cells import trim_cells
from app.sis.engine.intake.meanings import is_open_sql
from app.sis.engine.intake.screen import Screen
from app.sis.engine.stage import Stage
from app.sis.kinds import OPEN_YEARS
from app.sis.port import Delivery, Progress, SourceRefused

PATIENCE = 30.0  # seconds within which a COPY ends after its stream has ended
PLANNER = ("jit = off", "enable_mergejoin = off", "parallel_setup_cost = 0", "parallel_tuple_cost = 0")
"""Planner settings for statements on rows that were just loaded and have no statistics.

Without statistics the planner's cost estimates are wrong. With these settings, wrong estimates neither start a
compilation nor prevent parallel plans.
"""


class Stream:
    """Reads the bytes of a delivery in chunks. A thread reads and checks the next chunk in advance.

    An error ends the stream and is stored in `error`.
    """

    def __init__(self, delivery: Delivery, screen: Screen, progress: Progress) -> None:
        self.file, self._size = delivery.file, delivery.size
        self._screen, self._progress = screen, progress
        self.error: Exception | None = None
        self.is_stopped = False

    async def chunks(self) -> AsyncGenerator[bytes, None]:
        """Yields the bytes in chunks. While PostgreSQL reads a chunk, a thread unpacks and checks the next one."""
        done, chunks = 0, self._screen.read()
        ahead = asyncio.create_task(asyncio.to_thread(next, chunks, None))
        try:
            while not self.is_stopped and (chunk := await ahead) is not None:
                ahead = asyncio.create_task(asyncio.to_thread(next, chunks, None))
                yield chunk
                done += len(chunk)
                self._progress(f"reading {self.file}", done, self._size)
        except Exception as error:
            self.error = error
        finally:
            await asyncio.gather(ahead, return_exceptions=True)  # the file is about to close


async def copy_raw(stage: Stage, delivery: Delivery, progress: Progress) -> None:
    """Copies a file into its raw table. Of a row that does not match the header, only the kind of fault is stored.

    Raises `SourceRefused` if the bytes end too soon or are not UTF-8.
    """
    columns = [f"c{number}" for number in range(1, len(delivery.header) + 1)]
    for setting in PLANNER:
        await stage.driver.execute(f"SET LOCAL {setting}")
    timeout = await stage.driver.fetchval("SELECT current_setting('statement_timeout')")
    await stage.driver.execute("SET LOCAL statement_timeout = 0")
    await stage.driver.execute("SAVEPOINT copying")
    name, screen = await _create_raw(stage, delivery.kind, columns), Screen(delivery)
    status = await _copy(stage, name, columns, Stream(delivery, screen, progress))
    await stage.driver.execute("RELEASE SAVEPOINT copying")
    await stage.driver.execute("SELECT set_config('statement_timeout', $1, true)", timeout)
    for code, numbers in screen.faults.items():
        if numbers:
            await stage.driver.execute(
                f"UPDATE staging.{name} AS r SET fault = $2 FROM unnest($1::bigint[]) AS f (number) "
                "WHERE r.row_number = f.number",
                list(numbers),
                code,
            )
    if screen.blank:
        await stage.driver.execute(
            f"DELETE FROM staging.{name} AS r USING unnest($1::bigint[]) AS f (number) WHERE r.row_number = f.number",
            list(screen.blank),
        )
    if screen.has_separators:
        stage.with_separators.add(delivery.kind)
    await _note_repairs(stage, delivery, screen, f"staging.{name}")
    headers = await _drop_repeated_headers(stage, delivery, screen.repeated_header, f"staging.{name}")
    stage.malformed[delivery.kind] = screen.digests
    stage.raw_rows[delivery.kind] = int(status.rsplit(" ", 1)[-1]) - len(screen.blank) - headers


async def _drop_repeated_headers(stage: Stage, delivery: Delivery, header: list[str] | None, name: str) -> int:
    """Deletes the raw rows that repeat the header, notes them in the report, and returns their number.

    `header` has the cells of the header as the file writes them, or is None if no row repeats it.
    """
    if header is None:
        return 0
    is_header = " AND ".join(f"r.c{n} IS NOT DISTINCT FROM nullif(${n}, '')" for n in range(1, len(header) + 1))
    status = str(await stage.driver.execute(f"DELETE FROM {name} AS r WHERE {is_header}", *header))
    rows = int(status.rsplit(" ", 1)[-1])
    if rows:
        repeat = pluralize(rows, "row repeats the header and is", "rows repeat the header and are")
        stage.notes.append(f"{delivery.file}: {repeat} left out.")
    return rows


async def _note_repairs(stage: Stage, delivery: Delivery, screen: Screen, name: str) -> None:
    """Removes blanks around the values of the raw rows, and notes all corrections of the file in the report.

    The other corrections, of misplaced quotes and of NUL characters, were made while the file was read.
    """
    if screen.padded and (rows := await trim_cells(stage, delivery, name)):
        have = pluralize(rows, "row has", "rows have")
        stage.notes.append(f"{delivery.file}: {have} blanks around a sourcedId, which are left out.")
    if screen.quotes:
        have = pluralize(len(screen.quotes), "row has", "rows have")
        stage.notes.append(
            f"{delivery.file}: {have} stray or backslash-escaped quotes, which are read as text; the first is row "
            f"{screen.quotes[0] + 1:,}."
        )
    if screen.footers:
        are = pluralize(
            screen.footers, "row at the end is a footer and no record,", "rows at the end are footers and no records,"
        )
        stage.notes.append(f"{delivery.file}: {are} and left out.")
    for header in screen.open_ends:
        is_open = is_open_sql(f"r.c{delivery.header.index(header) + 1}")
        if rows := await stage.count(f"SELECT count(*) FROM {name} AS r WHERE {is_open}"):
            have = pluralize(rows, "row has", "rows have")
            years = f"{', '.join(OPEN_YEARS[:-1])} or {OPEN_YEARS[-1]}"
            stage.notes.append(f"{delivery.file}: {have} an {header} in {years}, which is read as no end.")
    if screen.nuls:
        are = pluralize(screen.nuls, "NUL character is", "NUL characters are")
        stage.notes.append(f"{delivery.file}: {are} replaced by \ufffd.")


async def drop_empty_rows(stage: Stage, delivery: Delivery) -> int:
    """Deletes the raw rows that have only empty cells, notes them in the report, and returns their number.

    Spreadsheets write such rows below a table. They contain no data, so they do not count as faulty.
    """
    columns = [f"r.c{number}" for number in range(1, len(delivery.header) + 1)]
    is_empty = " AND ".join(f"nullif(btrim({column}, {BLANKS_SQL}), '') IS NULL" for column in columns)
    rows = await stage.run(f"DELETE FROM {stage.raw_tables[delivery.kind]} AS r WHERE r.fault IS NULL AND {is_empty}")
    if rows:
        stage.notes.append(f"{delivery.file}: {pluralize(rows, 'row is', 'rows are')} empty and left out.")
    return rows


async def _copy(stage: Stage, name: str, columns: list[str], stream: Stream) -> str:
    """Copies the stream into the columns of a raw table, and returns COPY's status text.

    An error of the stream is raised after COPY has ended.
    """
    async with aclosing(stream.chunks()) as chunks:
        copying = asyncio.ensure_future(
            stage.driver.copy_to_table(
                name,
                schema_name="staging",
                columns=columns,
                source=chunks,
                format="csv",
                header=True,
                freeze=True,
                force_null=columns,
                encoding="UTF8",
            )
        )
        try:
            status = await asyncio.shield(copying)
        except asyncpg.BadCopyFileFormatError:
            raise SourceRefused(f"{stream.file} cannot be read as CSV: export it again.") from None
        except asyncio.CancelledError:
            stream.is_stopped = True
            await _wait_for_copy(copying)
            raise
    if stream.error is not None:
        raise stream.error
    return str(status)


async def _wait_for_copy(copying: "asyncio.Future[str]") -> None:
    """Waits until a COPY whose stream has ended is finished, even if this task is cancelled again while it waits.

    A connection that returned to the pool during a COPY would be unusable.
    """
    until = time.monotonic() + PATIENCE
    while not copying.done() and time.monotonic() < until:
        with suppress(asyncio.CancelledError):
            await asyncio.wait({copying}, timeout=until - time.monotonic())
    if not copying.cancel():
        copying.exception()


async def widen_raw(stage: Stage, kind: str, columns: Sequence[str], query: str) -> None:
    """Replaces the raw table of a kind of record by a table with other `columns`, filled with the rows of `query`.

    `query` returns the row number, the reason for which the row was refused (or null), and then `columns`.
    """
    narrow = stage.raw_tables[kind]
    name = await _create_raw(stage, kind, columns, "wide")
    await stage.run(f"INSERT INTO staging.{name} (row_number, fault, {', '.join(columns)}) {query}")
    await stage.driver.execute(f"DROP TABLE {narrow}")


async def add_raw_column(stage: Stage, kind: str, column: str) -> None:
    """Adds an empty text column to the raw table of a kind of record."""
    await stage.driver.execute(f"ALTER TABLE {stage.raw_tables[kind]} ADD {column} text")


async def drop_raw(stage: Stage) -> None:
    """Deletes the raw tables of a run."""
    if stage.raw_tables:
        await stage.driver.execute(f"DROP TABLE {', '.join(stage.raw_tables.values())}")
        stage.raw_tables.clear()


async def _create_raw(stage: Stage, kind: str, columns: Sequence[str], prefix: str = "raw") -> str:
    """Creates the raw table for the file of one kind of record. Returns its name, which begins with `prefix`.

    The table has a text column for each column of the file. It exists on one node only, and only the transaction that
    creates it sees it. It is not TEMPORARY, because PostgreSQL runs no parallel plan on a temporary table.
    """
    name = f"{prefix}_{kind}_{stage.run_id.hex}"
    await stage.driver.execute(
        # The sequence may cache a thousand numbers, because one session takes all of them in order.
        f"CREATE UNLOGGED TABLE staging.{name} "
        "(row_number bigint GENERATED BY DEFAULT AS IDENTITY (CACHE 1000), fault text, "
        f"{', '.join(f'{column} text' for column in columns)})"
    )
    stage.raw_tables[kind] = f"staging.{name}"
    return name
