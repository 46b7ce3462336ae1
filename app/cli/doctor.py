"""`aimline doctor`: checks that every record has its student's schools, and repairs those that do not."""

from __future__ import annotations

import json
from typing import Annotated

import typer
from sqlalchemy.ext.asyncio import AsyncEngine

from app.access.directory import find_district
from app.cli.operate import AsJson, District, as_operator
from app.settings import Settings
from app.sis.runs.doctor import examine

OUT_OF_STEP = 3


def add_to(app: typer.Typer) -> None:
    """Adds the command."""

    @app.command("doctor")
    def doctor(
        district: District,
        repair: Annotated[bool, typer.Option("--repair", help="Repair the records.")] = False,
        as_json: AsJson = False,
    ) -> None:
        """Finds records whose schools differ from their student's, and repairs them with --repair.

        Exits with 3 if there are such records and they were not repaired. Every sync repairs them too.
        """

        async def run(engine: AsyncEngine, settings: Settings) -> dict[str, int]:
            district_id = await find_district(engine, district)
            return await examine(engine, settings.keyring, district_id, repair=repair)

        rows_by_table = as_operator(run)
        if as_json:
            print(json.dumps({"out_of_step": rows_by_table, "repaired": repair and bool(rows_by_table)}))
        else:
            for table, rows in rows_by_table.items():
                print(f"{table}: {rows:,} with other schools than their student{', repaired' if repair else ''}")
            if not rows_by_table:
                print("Every record has its student's schools.")
        if rows_by_table and not repair:
            raise typer.Exit(OUT_OF_STEP)
