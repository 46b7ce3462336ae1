"""Tests `updated_since`: every statement that changes a listed row sets the time of the change, even one that is
written as SQL text.
"""

import re
from collections.abc import Iterator

import pytest

from app.core.db import Base, HasChangeTime
from tests.house.source import REPOSITORY, import_models

UPDATE = re.compile(r'\bUPDATE "?(\w+)"?(?: AS \w+)?\s+SET\b(.*?)(?:\bFROM\b|\bWHERE\b|"""|$)', re.DOTALL)


def listed_tables() -> set[str]:
    """Returns the tables whose rows have the time of their last change."""
    import_models()
    mappers = [mapper for mapper in Base.registry.mappers if issubclass(mapper.class_, HasChangeTime)]
    return {table.name for mapper in mappers for table in mapper.tables}


def silent(text: str, tables: set[str]) -> Iterator[str]:
    """Yields each UPDATE in a text that changes one of these tables without setting `updated_at`."""
    for match in UPDATE.finditer(text):
        if match[1] in tables and "updated_at" not in match[2]:
            yield " ".join(match[0].split())


def test_every_update_that_is_written_as_text_notes_the_change() -> None:
    """Every UPDATE that is written as SQL text sets `updated_at`. Mapped classes set it by themselves.

    If an UPDATE did not set it, `updated_since` would not find the changed row.
    """
    tables = listed_tables()
    assert {"person", "score", "support", "sis_run"} <= tables
    texts = {path.name: path.read_text() for path in sorted((REPOSITORY / "app").rglob("*.py"))}
    assert [f"{name}: {finding}" for name, text in texts.items() for finding in silent(text, tables)] == []


@pytest.mark.parametrize("table", ["score AS s", '"support"', "person"])
def test_an_update_that_does_not_is_found(table: str) -> None:
    """An UPDATE that does not set `updated_at` is found, whether the name of the table is plain, in quotes or with an
    alias.

    The same UPDATE is accepted if it sets `updated_at`.
    """
    fault = f"UPDATE {table} SET value = 1 WHERE id = $1"
    assert list(silent(fault, listed_tables()))
    assert not list(silent(fault.replace("value = 1", "value = 1, updated_at = now()"), listed_tables()))
