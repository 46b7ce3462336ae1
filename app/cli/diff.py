"""`aimline sync diff`: shows who and what a held or dry run would change. Changes nothing itself.

A held run waits for somebody's approval; a dry run only plans its changes. The exit codes have the same meanings as
those of `aimline sync`. The code is 0 even if no change matches the options, and 2 for a run that has no list of
changes.
"""

import shutil
import sys
from collections.abc import AsyncIterator, Callable
from dataclasses import asdict
from typing import Annotated, NoReturn
from uuid import UUID

import click
import orjson
import typer
from sqlalchemy.ext.asyncio import AsyncEngine

from app.access.directory import find_district
from app.access.principal import system_principal
from app.access.work import unit
from app.cli.operate import AsJson, District, as_operator
from app.cli.output import print_csv, printable
from app.cli.sync import USAGE, sync_app
from app.core import ids
from app.core.csv_file import BOM
from app.core.errors import AimlineError, Invalid
from app.settings import Settings
from app.sis.engine.report import Report
from app.sis.rules import PlannedAction
from app.sis.runs import queries
from app.sis.runs.plans import changes as planned
from app.sis.runs.plans.kinds import LISTED

OPERATION = "sync diff"
NARROW = 100  # characters; on a narrower terminal, lines are cut to this width
HEADINGS = ("kind", "action", "sourcedId", "schools", "changes")
WIDTHS = (14, 8, 20, 26)


def add_to_sync() -> None:
    """Adds the command `diff` to `aimline sync`."""

    @sync_app.command("diff")
    def diff(
        run: Annotated[str, typer.Argument(metavar="RUN", help="The id of a held or dry run: run_…")],
        district: District,
        kind: Annotated[str, typer.Option(help=f"Only this kind: {', '.join(LISTED)}.")] = "",
        action: Annotated[str, typer.Option(help=f"Only this action: {', '.join(PlannedAction)}.")] = "",
        school: Annotated[str, typer.Option(help="Only this school: an id, or sis:<source>:<sourcedId>.")] = "",
        as_json: AsJson = False,
        as_csv: Annotated[bool, typer.Option("--csv", help="CSV, one line for each field.")] = False,
    ) -> None:
        """Shows who and what a held or dry run would change, row by row."""
        if kind and kind not in LISTED:
            _refuse(f"There is no kind {kind!r}. The kinds: {', '.join(LISTED)}.")
        if action and action not in set(PlannedAction):
            _refuse(f"There is no action {action!r}. The actions: {', '.join(PlannedAction)}.")
        if as_json and as_csv:
            _refuse("Use --json or --csv, not both.")
        form = _csv if as_csv else _json if as_json else _table

        async def go(engine: AsyncEngine, settings: Settings) -> list[str]:
            source = await _open(engine, settings, district, run, kind or None, action or None, school or None)
            is_paged = sys.stdout.isatty() and not as_json and not as_csv
            pages: list[str] = []
            async for text in form(source):
                if as_csv:
                    print_csv(text)
                elif is_paged:
                    pages.append(text)
                else:
                    print(text, end="")
            return pages

        if pages := _run_or_refuse(lambda: as_operator(go)):
            click.echo_via_pager(pages)


class _List:
    """The list of changes that one run plans, read in batches with the operator's permissions."""

    def __init__(
        self, engine: AsyncEngine, settings: Settings, district_id: UUID, report: Report, chosen: planned.ChangeFilter
    ) -> None:
        self.engine, self.keyring, self.report, self.chosen = engine, settings.keyring, report, chosen
        self.principal = system_principal(district_id, "operator")

    async def pages(self) -> AsyncIterator[list[planned.PlannedChange]]:
        """Yields the changes in pages."""
        after: UUID | None = None
        while True:
            async with unit(self.engine, self.principal, self.keyring, OPERATION) as work:
                changes = await planned.planned_changes(work, self.report.run_id, self.chosen, after)
            yield changes
            if len(changes) < planned.BATCH:
                return
            after = changes[-1].id


async def _open(
    engine: AsyncEngine,
    settings: Settings,
    district: str,
    run: str,
    kind: str | None,
    action: str | None,
    school: str | None,
) -> _List:
    district_id = await find_district(engine, district)
    principal = system_principal(district_id, "operator")
    async with unit(engine, principal, settings.keyring, OPERATION) as work:
        report = await queries.read_report(work, ids.parse_id("run", run))
        school_id = None if school is None else await planned.locate_school(work, school, "/school")
    if not report.listed and report.state not in ("held", "dry"):
        state = report.state.replace("_", " ")
        _refuse(f"The run is {state}, and has no list: only held and dry runs have one, for 30 days.")
    return _List(engine, settings, district_id, report, planned.ChangeFilter(kind, action, school_id))


async def _table(source: _List) -> AsyncIterator[str]:
    """Yields the changes as a table, one line for each row, no wider than the terminal."""
    width = max(shutil.get_terminal_size((140, 24)).columns, NARROW) if sys.stdout.isatty() else None
    count = 0
    yield _line(HEADINGS, None)
    async for page in source.pages():
        count += len(page)
        yield "".join(
            _line((row.kind, row.action, row.sourced_id or "", "; ".join(row.schools), _changes(row)), width)
            for row in page
        )
    listed, planned_rows = source.report.listed, source.report.total("changes")
    whole = "" if listed >= planned_rows else f" The list has the first {listed:,} of {planned_rows:,} changes."
    yield f"{count:,} of {listed:,} listed changes.{whole}\n"


def _changes(row: planned.PlannedChange) -> str:
    if row.action in (PlannedAction.REMOVE, PlannedAction.ABSENT):
        return ", ".join(f"{each.field} {each.before}" for each in row.fields if each.before)
    if row.action == PlannedAction.CREATE:
        return ", ".join(f"{each.field} {each.after}" for each in row.fields if each.after)
    return ", ".join(
        f"{each.field} {_value(each.before)}" + ("" if each.after == each.before else f" -> {_value(each.after)}")
        for each in row.fields
    )


def _value(text: str | None) -> str:
    return "(none)" if text in (None, "") else str(text)


def _line(cells: tuple[str, ...], width: int | None) -> str:
    padded = [printable(cell).ljust(size) for cell, size in zip(cells, WIDTHS, strict=False)]
    line = "  ".join([*padded, printable(cells[-1])]).rstrip()
    return (line if width is None or len(line) <= width else f"{line[: width - 1]}…") + "\n"


async def _json(source: _List) -> AsyncIterator[str]:
    """Yields the text of one JSON object with all changes, in parts."""
    run = orjson.dumps(ids.format_id("run", source.report.run_id)).decode()
    yield f'{{"run_id":{run},"changes":['
    separator = ""
    async for page in source.pages():
        for row in page:
            yield separator + orjson.dumps({**asdict(row), "id": str(row.id)}).decode()
            separator = ",\n"
    yield "]}\n"


async def _csv(source: _List) -> AsyncIterator[str]:
    yield BOM
    lines = planned.csv_of_changes(
        source.engine, source.principal, source.keyring, OPERATION, source.report.run_id, source.chosen
    )
    async for text in lines:
        yield text


def _run_or_refuse(run: Callable[[], list[str]]) -> list[str]:
    try:
        return run()
    except Invalid as error:
        _refuse(" ".join(violation.detail for violation in error.violations))
    except AimlineError as error:
        _refuse(error.detail)


def _refuse(detail: str) -> NoReturn:
    print(detail, file=sys.stderr)
    raise typer.Exit(USAGE)
