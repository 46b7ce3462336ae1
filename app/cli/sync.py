"""Defines `aimline sync run`, `csv` and `scores`, which sync a source and print the report.

Exit codes: 0 done · 1 internal · 2 usage · 3 done with quarantined rows · 4 held · 5 source unreadable or refused · 6
source inconsistent · 75 already running · 130 interrupted.
"""

import asyncio
import sys
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, NoReturn
from uuid import UUID

import orjson
import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn
from sqlalchemy.ext.asyncio import AsyncEngine

from app.access.directory import find_district
from app.access.principal import system_principal
from app.access.work import unit
from app.cli.report import print_report
from app.cli.scope_options import ExcludeUsers, Schools, UnusableOption, read_schools, read_users
from app.core.crypto import KeyFault
from app.core.db import UnfitServer, check_server, open_engine
from app.core.errors import AimlineError, NotFound, StorageFull
from app.settings import Settings
from app.sis import port
from app.sis.engine.report import Report
from app.sis.engine.review.scope import SourceScope
from app.sis.kinds import MAY_BE_LEFT_OUT
from app.sis.port import AlreadyRunning
from app.sis.runs.pull import Mode, run_source
from app.sis.service import sync_csv, sync_scores
from app.sis.sources.service import load_source_by_name

INTERNAL, USAGE, ALREADY_RUNNING, INTERRUPTED = 1, 2, 75, 130

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
    schools: Schools = None,
    exclude_users: ExcludeUsers = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Plan and report, and write nothing.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as one JSON object.")] = False,
) -> None:
    """Syncs a OneRoster CSV zip, 1.1 or 1.2, bulk or delta according to its manifest."""
    scope = _scope(schools, exclude_users)
    if unknown := set(leave_out or ()) - set(MAY_BE_LEFT_OUT):
        print(f"{min(unknown)!r} cannot be left out. These can: {', '.join(MAY_BE_LEFT_OUT)}.", file=sys.stderr)
        raise typer.Exit(USAGE)
    _run_command(lambda run: _sync_csv(run, file, source, dry_run, leave_out or (), scope), district, as_json)


@sync_app.command("scores")
def sync_score_file(
    file: Annotated[Path, typer.Argument(metavar="FILE.csv", help="A CSV file of scores; docs/sync.md has its form.")],
    district: Annotated[str, typer.Option(help="The district's short name.")],
    source: Annotated[str, typer.Option(help="The source's name; created on first use.")],
    schools: Schools = None,
    exclude_users: ExcludeUsers = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Plan and report, and write nothing.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as one JSON object.")] = False,
) -> None:
    """Imports scores from a CSV file, for example of a screening vendor, and judges the students with new scores."""
    scope = _scope(schools, exclude_users)

    def import_file(run: RunContext) -> Awaitable[Report]:
        keyring = run.settings.keyring
        return sync_scores(run.engine, keyring, run.district_id, file, source, dry_run, run.progress, scope)

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
    """What a sync on the command line uses: engine, settings, district, and a function that shows the progress."""

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


def _scope(schools: Sequence[str] | None, exclude_users: str | None) -> SourceScope:
    """Returns the schools and users that the options select.

    Exits if an option is given without a value, because the run would then import more than intended.
    """
    try:
        chosen = SourceScope(
            () if schools is None else read_schools(schools),
            () if exclude_users is None else read_users(exclude_users),
        )
    except UnusableOption as error:
        print(error, file=sys.stderr)
        raise typer.Exit(USAGE) from None
    if schools is not None and not chosen.schools:
        print("Name at least one school after --schools, or leave the option out.", file=sys.stderr)
        raise typer.Exit(USAGE)
    return chosen


async def _sync_csv(
    run: RunContext, file: Path, source: str, dry: bool, leave_out: Sequence[str], scope: SourceScope
) -> Report:
    return await sync_csv(
        run.engine,
        run.settings.keyring,
        run.district_id,
        file,
        source,
        dry,
        run.progress,
        leave_out=leave_out,
        scope=scope,
    )


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
    """Yields a function that advances a progress bar; nothing is shown unless standard error is a terminal."""
    if not sys.stderr.isatty():
        yield lambda _doing, _done, _of: None
        return
    columns = TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn()
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("opening the source", total=None)

        def advance(doing: str, done: int, of: int) -> None:
            bar.update(task, description=doing, completed=done, total=of or None)

        yield advance
