"""Defines `aimline doctor`, which checks two kinds of computed data, and repairs them on request.

First, a record must have the schools of its student. Second, a team must have exactly the students that its scopes
determine. A scope is a grade, a class or a named student.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Annotated
from uuid import UUID

import typer
from sqlalchemy.ext.asyncio import AsyncEngine

from app.access.directory import districts_after, find_district
from app.cli.operate import AsJson, as_operator
from app.settings import Settings
from app.sis.runs.doctor import Examination, examine

OUT_OF_STEP = 3
BEFORE_ALL = UUID(int=0)


def add_to(app: typer.Typer) -> None:
    """Adds `aimline doctor` to the command line."""

    @app.command("doctor")
    def doctor(
        district: Annotated[str, typer.Option(help="Only this district, by its short name.")] = "",
        repair: Annotated[bool, typer.Option("--repair", help="Repair the records.")] = False,
        as_json: AsJson = False,
    ) -> None:
        """Finds records whose schools differ from their student's, and teams whose list of students is wrong.

        With --repair, it also corrects them. Every sync corrects them too.

        Checks every district, or only the given one. Exits with 3 if something is wrong and was not corrected.
        """

        async def run(engine: AsyncEngine, settings: Settings) -> list[Examination]:
            return [
                await examine(engine, settings.keyring, district_id, repair=repair)
                async for district_id in _districts(engine, district)
            ]

        examinations = as_operator(run)
        is_out_of_step = any(examination.is_out_of_step for examination in examinations)
        if as_json:
            print(json.dumps(_to_json(examinations, repair)))
        else:
            print("\n".join(_sentences(examinations, repair)))
        if is_out_of_step and not repair:
            raise typer.Exit(OUT_OF_STEP)


async def _districts(engine: AsyncEngine, slug: str) -> AsyncIterator[UUID]:
    if slug:
        yield await find_district(engine, slug)
        return
    last = BEFORE_ALL
    while districts := await districts_after(engine, last):
        for district_id in districts:
            yield district_id
        last = districts[-1]


def _to_json(examinations: list[Examination], repair: bool) -> dict[str, object]:
    return {
        "districts": [
            {
                "district": examination.district,
                "out_of_step": examination.rows_by_table,
                "team_students_out_of_step": examination.of_teams,
                "repaired": repair and examination.is_out_of_step,
            }
            for examination in examinations
        ]
    }


def _sentences(examinations: list[Examination], repair: bool) -> list[str]:
    if not examinations:
        return ["There is no district yet. Create one with: aimline district create"]
    lines = []
    outcome = ", repaired" if repair else ""
    for examination in examinations:
        for table, rows in examination.rows_by_table.items():
            lines.append(f"{examination.district}: {table}: {rows:,} with other schools than their student{outcome}")
        if examination.of_teams:
            students = f"{examination.of_teams:,} students whom a team serves otherwise than its scopes say"
            lines.append(f"{examination.district}: team_student: {students}{outcome}")
        if not examination.is_out_of_step:
            lines.append(f"{examination.district}: every record has its student's schools.")
    return lines
