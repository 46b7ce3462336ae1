"""`aimline sandbox`: a synthetic district, for partners and for trying things."""

from datetime import date
from pathlib import Path
from typing import Annotated

import typer

from app.core.clock import now
from app.sandbox.district import District
from app.sandbox.export import export_with_progress


def add_to(app: typer.Typer) -> None:
    """Adds the commands."""
    sandbox = typer.Typer(help="A synthetic district of people who do not exist.", no_args_is_help=True)
    app.add_typer(sandbox, name="sandbox")

    @sandbox.callback()
    def _sandbox() -> None:
        """A synthetic district of people who do not exist."""

    @sandbox.command("export")
    def export(
        out: Annotated[Path, typer.Argument(metavar="OUT.zip")],
        students: Annotated[int, typer.Option(min=1, help="About how many.")] = 1500,
        seed: Annotated[int, typer.Option(help="The same seed gives the same bytes.")] = 1,
        on: Annotated[str, typer.Option(help="A date in the school year; today without it.")] = "",
        day: Annotated[int, typer.Option(min=0, help="Days of plausible change since.")] = 0,
    ) -> None:
        """Writes the district as a OneRoster 1.1 CSV zip."""
        within = date.fromisoformat(on) if on else now().date()
        export_with_progress(District(seed, students, within).on(day), out)
