"""Checks every statement that units of work send in the tests, in any role: each must name the district.

Without this check, no test would notice a missing condition on the district, because row-level security would still
hide the rows of other districts. On several nodes, such a statement would be sent to all of them. Also checks that the
payload of every event matches the catalogue's schema.
"""

import os
import re
from collections.abc import Iterator
from datetime import datetime
from functools import cache
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path
from typing import Any
from uuid import UUID

import jsonschema_rs
import orjson
import pytest

from app.core.db import Base
from app.events import outbox
from app.events.catalogue import CATALOGUE, EventType, NewEvent
from app.events.models import Event
from app.events.render import body, schema
from tests.house import writes
from tests.house.source import import_models
from tests.house.statements import unbound
from tests.sent import watched

LET_OFF = {
    "SELECT person.given_name FROM person": "the door's test: the net beneath must hold alone",
    "SELECT count(*) AS count_1 FROM person WHERE person.is_student": "as above",
    "SELECT given_name FROM person": "as above",
}
NO_ROWS = re.compile(
    r"\s*(ALTER|COMMENT|DO|GRANT|REVOKE|SET|CREATE (OR REPLACE |UNIQUE )?(FUNCTION|INDEX|POLICY|SCHEMA)"
    r"|CREATE (UNLOGGED )?TABLE [\w.]+ *\()"
)
"""The beginnings of statements that name no rows; a migration has hundreds, and parsing them takes seconds."""
writes.watch_the_sync()
findings: list[str] = []
misshapen: list[str] = []
_seen: dict[str, list[str]] = {}


def _look(_connection: object, statement: str) -> None:
    cached = _seen.get(statement)
    if cached is None:
        cached = _seen[statement] = [] if passed.has(statement) else findings_of(statement)
        if not cached:
            passed.add(statement)
        writes.keep(statement)
    findings.extend(cached)


class Passed:
    """Remembers which SQL statements passed the checks, in this process, in other processes and in earlier runs.

    The digests of these statements are in a file of the checkout, one on each line. Other processes may append to the
    file, so an incompletely read line is ignored. If the checks change, a new file is used.
    """

    def __init__(self) -> None:
        """Stores digests only in memory until `open` names a folder."""
        self._known: set[str] = set()
        self._file: int | None = None

    def open(self, folder: Path) -> None:
        """Reads the digests of the statements that passed earlier. From now on, stores new digests in the same file."""
        name = _version_of_checks()
        for other in folder.iterdir():
            if other.name != name:
                other.unlink(missing_ok=True)
        self._file = os.open(folder / name, os.O_RDWR | os.O_CREAT | os.O_APPEND)

    def has(self, statement: str) -> bool:
        """Returns whether a statement has passed the checks, in this process or in another one."""
        digest = _digest(statement)
        if digest not in self._known and self._file is not None:
            while added := os.read(self._file, 1 << 20):
                self._known.update(added.decode().split("\n"))
        return digest in self._known

    def add(self, statement: str) -> None:
        """Records that a statement has passed."""
        digest = _digest(statement)
        if digest not in self._known and self._file is not None:
            self._known.add(digest)
            os.write(self._file, f"{digest}\n".encode())


def _digest(statement: str) -> str:
    return sha256(statement.encode()).hexdigest()


def _version_of_checks() -> str:
    """Returns a digest of the checks: of their code, of the version of sqlglot, and of the names of tables."""
    here = Path(__file__)
    code = [file.read_text() for file in (here, here.with_name("statements.py"))]
    return _digest("\n".join([*code, version("sqlglot"), *sorted(tenant_tables())]))


passed = Passed()


_watching = watched(_look)
_watching.__enter__()  # until the process ends


_row_of = outbox._row_of


def _watched_row_of(event_id: UUID, at: datetime, event: NewEvent) -> dict[str, Any]:
    row = _row_of(event_id, at, event)
    recorded = Event(**row, seq=1, district_id=UUID(int=0))
    misshapen.extend(misshapen_in(orjson.loads(orjson.dumps(body(recorded, "http://aimline.test")))))
    return row


outbox._row_of = _watched_row_of


def misshapen_in(body: dict[str, Any]) -> list[str]:
    """Returns the differences between an event's body and the schema of its type."""
    return [
        f"{body['type']} {error.instance_path}: {error.message}"
        for error in _validator(CATALOGUE[body["type"]].at(body["data"]["version"])).iter_errors(body)
    ]


@cache
def _validator(type_: EventType) -> Any:
    return jsonschema_rs.validator_for(schema(type_), validate_formats=True)


def findings_of(statement: str) -> list[str]:
    """Returns a finding for each table that the statement uses without a condition on the district."""
    if NO_ROWS.match(statement):
        return []
    plain = " ".join(statement.split())
    return [] if plain in LET_OFF else [f"{table}: {plain}" for table in unbound(statement, tenant_tables())]


def tenant_tables() -> set[str]:
    """Returns the names of the tables that have a district, according to the models."""
    if not _tenants:
        import_models()
        _tenants.update(table.name for table in Base.metadata.tables.values() if "district_id" in table.columns)
    return _tenants


def seen() -> int:
    """Returns how many different statements were checked so far."""
    return len(_seen)


_tenants: set[str] = set()


@pytest.fixture(autouse=True)
def every_event_is_as_its_schema_says() -> Iterator[None]:
    """Fails a test that emitted an event whose body differs from its schema."""
    misshapen.clear()
    yield
    findings, misshapen[:] = list(misshapen), []
    assert not findings, "Not as the schema says:\n" + "\n".join(findings)


@pytest.fixture(autouse=True)
def every_statement_names_its_district() -> Iterator[None]:
    """Fails a test if one of its statements did not name the district."""
    findings.clear()
    yield
    left_out, findings[:] = list(findings), []
    assert not left_out, "Without their district:\n" + "\n".join(left_out)
