"""Defines `aimline sandbox`, which provides a synthetic district for partners and for experiments."""

import secrets
import sys
from datetime import date
from pathlib import Path
from typing import Annotated

import typer

from app.core.clock import now
from app.sandbox.district import District
from app.sandbox.export import ExportOptions, export_with_progress
from app.sandbox.export_files import CSV_QUIRKS, Binding, UnknownCsvQuirk, csv_quirks
from app.sandbox.score_window import export_scores
from app.sandbox.sis import run
from app.sandbox.sis_auth import Gate
from app.sandbox.sis_quirks import QUIRKS, Quirks, UnknownQuirk
from app.sandbox.sis_server import Sis

USAGE, BUSY = 2, 1


def add_to(app: typer.Typer) -> None:
    """Adds `aimline sandbox` to the command line."""
    sandbox = typer.Typer(help="A synthetic district of people who do not exist.", no_args_is_help=True)
    app.add_typer(sandbox, name="sandbox")

    @sandbox.callback()
    def _sandbox() -> None:
        """Makes `aimline sandbox` a group of commands. Does nothing itself."""

    @sandbox.command("export")
    def export(
        out: Annotated[Path, typer.Argument(metavar="OUT.zip")],
        students: Annotated[int, typer.Option(min=1, help="The approximate number of students.")] = 1500,
        seed: Annotated[int, typer.Option(help="The same seed gives the same bytes.")] = 1,
        on: Annotated[str, typer.Option(help="A date in the school year; by default, today.")] = "",
        day: Annotated[int, typer.Option(min=0, help="Days of simulated changes after the first day.")] = 0,
        oneroster: Annotated[str, typer.Option(metavar="1.1|1.2", help="The version of OneRoster.")] = "1.1",
        gradebook: Annotated[
            bool, typer.Option("--gradebook", help="Include categories, line items and results.")
        ] = False,
        line_items: Annotated[
            int | None, typer.Option(min=0, help="The largest number of line items per class.")
        ] = None,
        quirk: Annotated[
            list[str] | None, typer.Option(metavar="NAME", help="A defect of the files; may be repeated.")
        ] = None,
    ) -> None:
        """Writes the district as a OneRoster CSV zip, 1.1 or 1.2, with or without its gradebook."""
        within = date.fromisoformat(on) if on else now().date()
        if oneroster not in ("1.1", "1.2"):
            print("--oneroster is 1.1 or 1.2.", file=sys.stderr)
            raise typer.Exit(USAGE)
        binding = Binding(oneroster, gradebook)
        try:
            options = ExportOptions(binding, line_items, csv_quirks(quirk or (), binding.headers))
        except UnknownCsvQuirk as error:
            print(error, file=sys.stderr)
            raise typer.Exit(USAGE) from None
        export_with_progress(District(seed, students, within).on(day), out, options)

    _add_scores(sandbox)
    _add_sis(sandbox)


def _add_scores(sandbox: typer.Typer) -> None:
    @sandbox.command("scores")
    def scores(
        out: Annotated[Path, typer.Argument(metavar="OUT.csv")],
        students: Annotated[int, typer.Option(min=1, help="The approximate number of students.")] = 1500,
        seed: Annotated[int, typer.Option(help="The same seed gives the same bytes.")] = 1,
        on: Annotated[str, typer.Option(help="The day of the scores; by default, today.")] = "",
        measure: Annotated[str, typer.Option(help="The code of a measure.")] = "orf",
    ) -> None:
        """Writes one score of each student of the district as CSV, for `aimline sync scores`."""
        within = date.fromisoformat(on) if on else now().date()
        print(f"{out}: {export_scores(District(seed, students, within), out, measure):,} scores")


def _add_sis(sandbox: typer.Typer) -> None:
    @sandbox.command("sis")
    def sis(
        port: Annotated[int, typer.Option(min=0, max=65535, help="The port; 0 picks a free one.")] = 0,
        host: Annotated[str, typer.Option(help="The address to listen on.")] = "127.0.0.1",
        students: Annotated[int, typer.Option(min=1, help="The approximate number of students.")] = 1500,
        seed: Annotated[int, typer.Option(help="The same seed gives the same district.")] = 1,
        on: Annotated[str, typer.Option(help="A date in the school year; by default, today.")] = "",
        day: Annotated[int, typer.Option(min=0, help="Days of simulated changes after the first day.")] = 0,
        quirk: Annotated[
            list[str] | None, typer.Option(metavar="NAME", help="A fault of the service; may be repeated.")
        ] = None,
        client: Annotated[
            str, typer.Option(metavar="ID:SECRET", help="The accepted client; by default, a new one is printed.")
        ] = "",
        token_seconds: Annotated[int, typer.Option(min=1, help="The lifetime of a token in seconds.")] = 3600,
        until_stdin_closes: Annotated[bool, typer.Option(hidden=True)] = False,
    ) -> None:
        """Serves the district as a SIS would: OneRoster 1.1, 1.2 and CSV, with or without faults."""
        try:
            quirks = Quirks(quirk or ())
            within = date.fromisoformat(on) if on else now().date()
        except UnknownQuirk as error:
            print(error, file=sys.stderr)
            raise typer.Exit(USAGE) from None
        except ValueError:
            print("--on is a date, such as 2026-11-21.", file=sys.stderr)
            raise typer.Exit(USAGE) from None
        client_id, _, secret = client.partition(":")
        gate = Gate(client_id or "sandbox", secret or secrets.token_urlsafe(18), token_seconds, quirks)
        try:
            run(Sis(District(seed, students, within, day), gate, quirks), host, port, until_stdin_closes)
        except OSError as error:
            print(f"Port {port} cannot be used ({error.strerror}): pass another --port, or 0.", file=sys.stderr)
            raise typer.Exit(BUSY) from None

    @sandbox.command("quirks")
    def quirks() -> None:
        """Lists the faults that the sandbox SIS can simulate."""
        width = max(map(len, QUIRKS))
        for name, does in QUIRKS.items():
            print(f"{name:{width}}  {does}")
        print("\nOf a CSV export:")
        for name, does in CSV_QUIRKS.items():
            print(f"{name:{width}}  {does}")
