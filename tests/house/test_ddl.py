"""Tests that only migrations contain DDL, apart from the exceptions that are listed here.

On a distributed database, DDL in a transaction is sent to every node and waits for every shard. Meanwhile, other sync
runs must wait.
"""

import ast
import re
from collections.abc import Iterator

import pytest

from tests.house.source import modules

DDL = re.compile(
    r"\b(CREATE|ALTER|DROP|TRUNCATE)\s+(OR REPLACE |UNLOGGED |TEMP |TEMPORARY |UNIQUE |MATERIALIZED )*"
    r"(TABLE|INDEX|POLICY|SCHEMA|VIEW|FUNCTION|TRIGGER|SEQUENCE|TYPE|DOMAIN|EXTENSION|ROLE|DATABASE|RULE)\b"
)
COPY = "the tables into which COPY writes a file, local to one node and to the transaction that makes and drops them"
OPERATOR = "an operator's command, as the owner"
EXCEPTIONS = {
    "app.sis.engine.intake.load": COPY,
    "app.cli.citus": OPERATOR,
    "app.cli.migrate": OPERATOR,
    "app.cli.backup.security": OPERATOR,
    "app.cli.scaffold_texts": "the migration of a new noun, which a developer adds",
    "app.core.db": "a sentence that tells an administrator what to run",
    "app.core.embedded": "makes the role and the database of the embedded server",
    "app.sandbox.database": "empties the database of the playground, on the embedded server",
}


def ddl_in(tree: ast.Module) -> list[str]:
    """Returns the beginnings of DDL statements in the texts of a module, without docstrings."""
    return [match[0] for text in _texts(tree) for match in DDL.finditer(text)]


def _texts(tree: ast.Module) -> Iterator[str]:
    documents = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in documents:
            yield node.value


def test_the_schema_is_changed_by_migrations_only() -> None:
    """Outside of migrations, exactly the listed modules contain DDL."""
    assert {name for name, tree in modules().items() if ddl_in(tree)} == EXCEPTIONS.keys()


def analyzes(tree: ast.Module) -> bool:
    """Returns whether a module contains an ANALYZE statement."""
    return any(re.search(r"\bANALYZE\b", text) for text in _texts(tree))


def test_no_run_analyzes_what_it_stages() -> None:
    """No run analyzes its staging tables. ANALYZE locks a table until the transaction ends, so runs would wait for each
    other.
    """
    assert {name for name, tree in modules().items() if analyzes(tree)} == {"app.sis.service", "app.cli.backup.restore"}
    assert analyzes(ast.parse('execute(f"ANALYZE {table}")'))


@pytest.mark.parametrize(
    "source",
    [
        'db.execute(f"CREATE UNLOGGED TABLE {name} (a int)")',
        'STATEMENT = "ALTER TABLE concern ADD COLUMN a text"',
        'text("DROP   INDEX concern_idx")',
        'f"{start}; TRUNCATE TABLE {name}"',
        'CREATE = """\\nCREATE OR REPLACE FUNCTION app.more()"""',
    ],
)
def test_planted_ddl_is_found(source: str) -> None:
    """The check finds planted DDL in f-strings, constants and arguments, and after another statement."""
    assert len(ddl_in(ast.parse(source))) == 1


def test_what_documents_the_code_is_no_ddl() -> None:
    """A docstring may contain the words CREATE TABLE."""
    assert ddl_in(ast.parse('"""CREATE TABLE a"""\nA = 1\n"""DROP TABLE a"""')) == []
