"""Runs a sandbox SIS over HTTP for tests of the REST adapters, and reads from it."""

import csv
import io
from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime
from typing import Any, Literal

import httpx

from app.sis.oneroster_rest.connection import Connection, RetryPolicy
from app.sis.oneroster_rest.pull import open_rest
from app.sis.port import OpenedSource
from tests.processes import TRUSTS_NOBODY
from tests.sis.sandbox_sis import V11, V12

Version = Literal["1.1", "1.2"]
Rows = dict[str, dict[str, dict[str, str]]]
"""Rows by kind, then by sourcedId."""

HASTY = RetryPolicy(tries=8, first=0.01, longest=0.05, total=20.0, answer=20.0)
FLAGS = {
    *("enabledUser", "primary", "americanIndianOrAlaskaNative", "asian", "blackOrAfricanAmerican"),
    *("nativeHawaiianOrOtherPacificIslander", "white", "demographicRaceTwoOrMoreRaces", "hispanicOrLatinoEthnicity"),
}


def quiet(_doing: str, _done: int, _of: int) -> None:
    """Accepts a report of progress and does nothing."""


def connect(address: str, version: Version, **changed: Any) -> Connection:
    """Returns the connection settings of a sandbox SIS."""
    connection = Connection(
        version=version,
        url=address + (V11 if version == "1.1" else V12),
        gradebook_url=None,
        token_url=f"{address}oauth/token",
        auth="oauth2-basic",
        client_id="north",
        client_secret="of-a-test",
        sandbox=True,
        patience=HASTY,
    )
    return replace(connection, **changed)


def behave(address: str, *quirks: str, day: int = 0) -> None:
    """Sets the quirks (deviations) of a running sandbox SIS, and the day of its simulation."""
    answer = httpx.post(f"{address}sandbox/quirks", params={"name": list(quirks)}, verify=TRUSTS_NOBODY)
    assert answer.status_code == 200, answer.text
    httpx.post(f"{address}sandbox/day/{day}", verify=TRUSTS_NOBODY)


async def pulled(connection: Connection, since: datetime | None = None) -> tuple[Rows, tuple[str, ...]]:
    """Reads a source over REST. Returns all of its rows, and the warnings."""
    async with open_rest(connection, since=since, progress=quiet) as source:
        return rows_of(source), source.warnings


def rows_of(source: OpenedSource) -> Rows:
    """Returns the rows of a source, and checks that no id occurs twice."""
    rows_by_kind: Rows = {}
    for kind, delivery in source.deliveries.items():
        rows = cells_of(delivery.read())
        assert all(tuple(row) == delivery.header for row in rows)
        rows_by_kind[kind] = {row["sourcedId"]: row for row in rows}
        assert len(rows_by_kind[kind]) == len(rows), f"{kind} came twice"
    return rows_by_kind


def cells_of(chunks: Iterable[bytes]) -> list[dict[str, str]]:
    """Returns the rows of a CSV, keyed by column."""
    return list(csv.DictReader(io.StringIO(b"".join(chunks).decode(), newline="")))


def without(rows: Rows, *columns: str) -> Rows:
    """Returns the rows without some columns."""
    return {
        kind: {one: {name: cell for name, cell in row.items() if name not in columns} for one, row in kind_rows.items()}
        for kind, kind_rows in rows.items()
    }


def alike(rows: Rows) -> Rows:
    """Returns the rows with `true` and `false` instead of 1 and 0 in the columns for booleans."""
    form = {"1": "true", "0": "false"}
    return {
        kind: {
            one: {name: form.get(cell, cell) if name in FLAGS else cell for name, cell in row.items()}
            for one, row in kind_rows.items()
        }
        for kind, kind_rows in rows.items()
    }
