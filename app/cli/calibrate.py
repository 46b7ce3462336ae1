"""Defines `aimline calibrate`, which calibrates a district's measures by its own scores and prints the results."""

from __future__ import annotations

import json
from typing import Any

import typer
from sqlalchemy.ext.asyncio import AsyncEngine

from app.access.directory import find_district
from app.access.principal import system_principal
from app.access.work import unit
from app.cli.operate import AsJson, District, as_operator
from app.core import ids
from app.response.administration.calibration import calibrate_district
from app.response.models import CalibrationRow
from app.settings import Settings


def add_to(app: typer.Typer) -> None:
    """Adds `aimline calibrate` to the command line."""

    @app.command("calibrate")
    def calibrate(district: District, as_json: AsJson = False) -> None:
        """Estimates each measure's growth, its noise and the differences between its forms, from last year's scores.

        With too little data the published defaults are used. A district's true false-alarm rate cannot be known from
        its scores, so the report does not state one. Instead, it compares the number of flagged series with the number
        that the estimated model expects.
        """

        async def run(engine: AsyncEngine, settings: Settings) -> list[dict[str, Any]]:
            district_id = await find_district(engine, district)
            operator = system_principal(district_id, "operator")
            async with unit(engine, operator, settings.keyring, "calibrate") as work:
                return [report_of(row) for row in await calibrate_district(work)]

        rows = as_operator(run)
        if as_json:
            print(json.dumps({"calibrations": rows}))
            return
        for row in rows or [{"sentence": "There are no series to calibrate from."}]:
            print(row["sentence"])


def report_of(row: CalibrationRow) -> dict[str, Any]:
    """Returns the values that the command prints about one calibration, keyed by name."""
    measure, grade = ids.format_id("measure", row.measure_id), f", grade {row.grade}" if row.grade else ", all grades"
    summary = f"{measure}{grade}: {row.series} series, {row.scores} scores"
    if row.published:
        sentence = f"{summary}: too few, so the published defaults are used."
    else:
        observed, expected = row.report["observed"], row.report["expected"]
        sentence = f"{summary}: flagged {observed:.3f}, the estimated model expects {expected:.3f}."
    return {
        "id": ids.format_id("calibration", row.id),
        "number": row.number,
        "measure": measure,
        "grade": row.grade,
        "series": row.series,
        "scores": row.scores,
        "published_defaults": row.published,
        **{name: row.report[name] for name in ("observed", "expected", "estimates")},
        "sentence": sentence,
    }
