"""Watches every statement that the tests send through SQLAlchemy, as whichever role: each names the district.

Row-level security is the net beneath; on many nodes a statement without its district would go to all of them.
"""

from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import Engine, event

from app.core.db import Base
from tests.house.source import import_models
from tests.house.statements import unbound

LET_OFF = {
    "SELECT person.given_name FROM person": "the door's test: the net beneath must hold alone",
    "SELECT count(*) AS count_1 FROM person WHERE person.is_student": "as above",
}
findings: list[str] = []
_seen: dict[str, list[str]] = {}


@event.listens_for(Engine, "before_cursor_execute")
def _look(_connection: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
    found = _seen.get(statement)
    if found is None:
        found = _seen[statement] = findings_of(statement)
    findings.extend(found)


def findings_of(statement: str) -> list[str]:
    """The statement, once for each table whose district it does not bind."""
    plain = " ".join(statement.split())
    return [] if plain in LET_OFF else [f"{table}: {plain}" for table in unbound(statement, tenant_tables())]


def tenant_tables() -> set[str]:
    """The tables that have a district, as the models know them."""
    if not _tenants:
        import_models()
        _tenants.update(table.name for table in Base.metadata.tables.values() if "district_id" in table.columns)
    return _tenants


def seen() -> int:
    """How many different statements were looked at so far."""
    return len(_seen)


_tenants: set[str] = set()


@pytest.fixture(autouse=True)
def every_statement_names_its_district() -> Iterator[None]:
    """Fails the test whose statements left a district out."""
    findings.clear()
    yield
    left_out, findings[:] = list(findings), []
    assert not left_out, "Without their district:\n" + "\n".join(left_out)
