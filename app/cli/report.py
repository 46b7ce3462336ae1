"""Prints the report of a sync run for people. Texts from the SIS are printed without control characters."""

from dataclasses import fields

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from app.cli.output import printable
from app.core.ids import format_id
from app.core.plural import pluralize
from app.sis.engine.report import Counts, Report
from app.sis.rules import RunState
from app.sis.scheduler.report_text import render_guard_result, render_rekeys

LOG_WIDTH = 140  # characters, if standard output is not a terminal
HIDDEN = ("file", "known", "expired", "ignored", "left_out")
COLUMNS = tuple(field_.name for field_ in fields(Counts) if field_.name not in HIDDEN)


def print_report(report: Report, district: str, *, weighed: bool = False) -> None:
    """Prints a run's report: counts by kind, quarantined rows, warnings, the outcome, and the commands to use next.

    If `weighed` is true, also prints the limits that can hold a run for approval, each with the value that this run has
    reached.
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
            console.print(
                f"Ignored, because marked as deleted and not known: {pluralize(ignored, 'row', 'rows')}.", markup=False
            )
    for result in report.weighed if weighed else ():
        console.print(f"{'HELD ' if result['held'] else 'within '}{render_guard_result(result)}", markup=False)
    if report.refusals:
        console.print("First rows in quarantine (the header is row 1):")
        table = Table(box=SIMPLE_HEAD)
        for column in ("file", "row", "sourcedId", "field", "code"):
            table.add_column(column, justify="right" if column == "row" else "left")
        for refusal in report.refusals:
            cells = (refusal.file, f"{refusal.row:,}", refusal.sourced_id or "", refusal.field, refusal.code)
            table.add_row(*(Text(printable(cell)) for cell in cells))
        console.print(table)
    for line in render_rekeys(report):
        typer.echo(printable(line.replace("DISTRICT", district)))
    for table_name, rows in report.repaired.items():
        console.print(f"Schools repaired to those of the student: {rows:,} of {table_name}", markup=False)
    for file in report.not_taken:
        console.print(printable(f"Not supported in this version: {file}"), markup=False)
    for warning in report.warnings:
        console.print(printable(f"Note: {warning}"), markup=False)
    if report.taken and report.taken["name"] not in (counts.file for counts in report.kinds.values()):
        console.print(printable(f"Read from the file {report.taken['name']}."), markup=False)
    console.print(printable(report.sentence), markup=False)
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
