"""Defines `aimline sync run`, `csv` and `scores`, which sync a source and print the report.

Exit codes: 0 done · 1 internal · 2 usage · 3 done with quarantined rows · 4 held · 5 source unreadable or refused · 6
source inconsistent · 75 already running · 130 interrupted.
"""

import asyncio
import sys
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, NoReturn
from uuid import UUID

import orjson
import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn
from rich.table import Table
from sqlalchemy.ext.asyncio import AsyncEngine

from app.access.directory import find_district
from app.access.principal import system_principal
from app.access.work import unit
from app.core.crypto import KeyFault
from app.core.db import UnfitServer, check_server, open_engine
from app.core.errors import AimlineError, NotFound, StorageFull
from app.core.ids import format_id
from app.settings import Settings
from app.sis import port
from app.sis.engine.report import Counts, Report
from app.sis.kinds import MAY_BE_LEFT_OUT
from app.sis.port import AlreadyRunning
from app.sis.rules import RunState
from app.sis.runs.pull import Mode, run_source
from app.sis.scheduler.report_text import render_guard_result, render_rekeys
from app.sis.service import sync_csv, sync_scores
from app.sis.sources.service import load_source_by_name

INTERNAL, USAGE, ALREADY_RUNNING, INTERRUPTED = 1, 2, 75, 130
LOG_WIDTH = 140  # characters, if standard output is not a terminal
HIDDEN = ("file", "known", "expired", "ignored", "left_out")
COLUMNS = tuple(field_.name for field_ in fields(Counts) if field_.name not in HIDDEN)

sync_app = typer.Typer(help="Syncs the roster from the district's SIS.", no_args_is_help=True)


@sync_app.callback()
def sync() -> None:
    """Syncs the roster from the district's SIS."""


@sync_app.command("csv")
def sync_csv_zip(
    file: Annotated[Path, typer.Argument(metavar="FILE.zip", help="A OneRoster CSV zip, 1.1 or 1.2.")],
    district: Annotated[str, typer.Option(help="The district's short name.")],
    source: Annotated[str, typer.Option(help="The source's name; created on first use.")],
    leave_out: Annotated[list[str] | None, typer.Option(help="A file that is not read; may be repeated.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Plan and report, and write nothing.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as one JSON object.")] = False,
) -> None:
    """Syncs a OneRoster CSV zip, 1.1 or 1.2, bulk or delta according to its manifest."""
    if unknown := set(leave_out or ()) - set(MAY_BE_LEFT_OUT):
        print(f"{min(unknown)!r} cannot be left out. These can: {', '.join(MAY_BE_LEFT_OUT)}.", file=sys.stderr)
        raise typer.Exit(USAGE)
    _run_command(lambda run: _sync_csv(run, file, source, dry_run, leave_out or ()), district, as_json)


@sync_app.command("scores")
def sync_score_file(
    file: Annotated[Path, typer.Argument(metavar="FILE.csv", help="A CSV file of scores; docs/sync.md has its form.")],
    district: Annotated[str, typer.Option(help="The district's short name.")],
    source: Annotated[str, typer.Option(help="The source's name; created on first use.")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Plan and report, and write nothing.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as one JSON object.")] = False,
) -> None:
    """Imports scores of a screening window or of a vendor from a CSV file, and judges the changed series."""

    def import_file(run: RunContext) -> Awaitable[Report]:
        return sync_scores(run.engine, run.settings.keyring, run.district_id, file, source, dry_run, run.progress)

    _run_command(import_file, district, as_json)


@sync_app.command("run")
def sync_run(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The source: see `aimline sis list`.")],
    district: Annotated[str, typer.Option(help="The district's short name.")],
    full: Annotated[bool, typer.Option("--full", help="Sync everything, and read a file again.")] = False,
    delta: Annotated[bool, typer.Option("--delta", help="Sync only changes since the last run.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Plan and report, and write nothing.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as one JSON object.")] = False,
) -> None:
    """Syncs from a source now. Without --full or --delta, the source's schedule decides between the two."""
    if full and delta:
        print("Use --full or --delta, not both.", file=sys.stderr)
        raise typer.Exit(USAGE)
    mode: Mode | None = "full" if full else "delta" if delta else None
    _run_command(lambda run: _sync_source(run, name, mode, dry_run), district, as_json)


@dataclass(frozen=True, slots=True)
class RunContext:
    """The objects that a run on the command line uses."""

    engine: AsyncEngine
    settings: Settings
    district_id: UUID
    progress: port.Progress


def _run_command(sync: Callable[[RunContext], Awaitable[Report]], district: str, as_json: bool) -> NoReturn:
    """Runs a sync, prints the sync's report, and exits with the report's exit code."""
    errors = Console(stderr=True)
    try:
        with _progress(errors) as progress:
            report = asyncio.run(_over_engine(sync, Settings(), district, progress))
    except KeyboardInterrupt:
        errors.print("Interrupted. The roster was not changed.")
        raise typer.Exit(INTERRUPTED) from None
    except AlreadyRunning as error:
        errors.print(error.detail)
        raise typer.Exit(ALREADY_RUNNING) from None
    except NotFound as error:
        missing = "such source" if error.kind == "source" else f"district {district!r}"
        command = "sis add" if error.kind == "source" else "district create"
        errors.print(f"There is no {missing}. Create it with: aimline {command}", markup=False)
        raise typer.Exit(USAGE) from None
    except StorageFull as error:
        errors.print(error.detail, markup=False)
        raise typer.Exit(INTERNAL) from None
    except AimlineError as error:
        errors.print(error.detail, markup=False)
        raise typer.Exit(USAGE) from None
    except (KeyFault, UnfitServer) as error:
        errors.print(str(error), markup=False)
        raise typer.Exit(INTERNAL) from None
    if as_json:
        typer.echo(orjson.dumps(report.as_json()).decode())
    else:
        print_report(report, district)
    raise typer.Exit(report.exit_code)


async def _sync_csv(run: RunContext, file: Path, source: str, dry: bool, leave_out: Sequence[str]) -> Report:
    keyring = run.settings.keyring
    return await sync_csv(run.engine, keyring, run.district_id, file, source, dry, run.progress, leave_out=leave_out)


async def _sync_source(run: RunContext, name: str, mode: Mode | None, dry: bool) -> Report:
    keyring, operator = run.settings.keyring, system_principal(run.district_id, "operator")
    async with unit(run.engine, operator, keyring, "sync run") as work:
        source_id = (await load_source_by_name(work, name)).source.id
    allowed = run.settings.sis_allowed
    return await run_source(run.engine, keyring, run.district_id, source_id, run.progress, allowed, mode=mode, dry=dry)


async def _over_engine(
    sync: Callable[[RunContext], Awaitable[Report]], settings: Settings, district: str, progress: port.Progress
) -> Report:
    url = settings.url_of("worker")
    await check_server(url, "worker")
    engine = open_engine(url, name="sync", pool_size=2, timeouts=settings.sync_timeouts)
    try:
        return await sync(RunContext(engine, settings, await find_district(engine, district), progress))
    finally:
        await engine.dispose()


@contextmanager
def _progress(console: Console) -> Iterator[port.Progress]:
    """Yields a function that advances a progress bar; nothing is shown unless the output is a terminal."""
    if not sys.stderr.isatty():
        yield lambda _doing, _done, _of: None
        return
    columns = TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn()
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("opening the source", total=None)

        def advance(doing: str, done: int, of: int) -> None:
            bar.update(task, description=doing, completed=done, total=of or None)

        yield advance


def print_report(report: Report, district: str, *, weighed: bool = False) -> None:
    """Prints a report: counts by kind, quarantined rows, warnings, the sentence about the outcome, and the next
    commands.

    With `weighed`, it also prints each limit against mass changes with the measured value.
    """
    console = Console()
    if not console.is_terminal:
        console = Console(width=LOG_WIDTH)
    if report.kinds:
        table = Table(title=f"{format_id('run', report.run_id)}: {report.state}", title_justify="left", box=SIMPLE_HEAD)
        table.add_column("file", no_wrap=True)
        for column in COLUMNS:
            table.add_column(column, justify="right", overflow="fold")
        for counts in report.kinds.values():
            if counts.file:
                table.add_row(counts.file, *(f"{getattr(counts, column):,}" for column in COLUMNS))
        table.add_row("all", *(f"{report.total(column):,}" for column in COLUMNS), style="bold")
        console.print(table)
        left_out = [name.replace("_", " ") for name, counts in report.kinds.items() if not counts.file]
        if left_out:
            console.print(f"Not delivered: {', '.join(left_out)}.", markup=False)
        if unapproved := report.total("left_out"):
            console.print(f"Left out of the plan that was approved: {unapproved:,} changes.", markup=False)
        if ignored := report.total("ignored"):
            console.print(f"Ignored, because marked as deleted and not known: {ignored:,} rows.", markup=False)
    for result in report.weighed if weighed else ():
        console.print(f"{'HELD ' if result['held'] else 'within '}{render_guard_result(result)}", markup=False)
    if report.refusals:
        console.print("First rows in quarantine (the header is row 1):")
        table = Table(box=SIMPLE_HEAD)
        for column in ("file", "row", "sourcedId", "field", "code"):
            table.add_column(column, justify="right" if column == "row" else "left")
        for refusal in report.refusals:
            table.add_row(refusal.file, f"{refusal.row:,}", refusal.sourced_id or "", refusal.field, refusal.code)
        console.print(table)
    for line in render_rekeys(report):
        typer.echo(line.replace("DISTRICT", district))
    for table_name, rows in report.repaired.items():
        console.print(f"Schools repaired to those of the student: {rows:,} of {table_name}", markup=False)
    for file in report.not_taken:
        console.print(f"Not supported in this version: {file}", markup=False)
    for warning in report.warnings:
        console.print(f"Note: {warning}", markup=False)
    console.print(report.sentence, markup=False)
    if report.listed and report.state in (RunState.HELD, RunState.DRY):
        typer.echo(f"See who and what: aimline sync diff {format_id('run', report.run_id)} --district {district}")
    if report.plan:
        arguments = f"{format_id('run', report.run_id)} --district {district}"
        # Printed without wrapping, so that the command can be copied.
        typer.echo(f"Apply this plan: aimline sync approve {arguments} --plan {report.plan['digest']}")
        if report.total("removed") + report.total("absent"):
            typer.echo("  To leave out the removals, add --without-removals")
        if any(result["rule"] == "rekeyed" for result in report.weighed):
            typer.echo(f"If these are the same people under new ids: aimline sync rekey {arguments} --match identifier")
        typer.echo(f"Discard it: aimline sync discard {arguments}")
