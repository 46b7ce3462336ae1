"""Tests the SQL text that fragments give: which parts become text, and which are compiled as expressions."""

from sqlalchemy import bindparam, func, select, table
from sqlalchemy import column as column_of

from app.resources.compile.json_sql import DIALECT, MAX_ARGUMENTS, Fragment, joined, operand, quoted, sql

ROWS = table("person", column_of("id"), column_of("order")).alias("t1")


def compiled(fragment: Fragment) -> str:
    """Returns the SQL of a fragment."""
    return str(fragment.compile(dialect=DIALECT))


def test_columns_and_fragments_become_text() -> None:
    """Texts, columns and fragments are merged into one SQL text. A name is quoted if PostgreSQL requires it."""
    fragment = sql("coalesce(", sql(ROWS.c.id, " :: text"), ", ", ROWS.c.order, ")")
    assert fragment.parts == ['coalesce(t1.id :: text, t1."order")']


def test_other_expressions_keep_their_parameters() -> None:
    """If an expression has a parameter, the compiled statement has this parameter and its value."""
    statement = select(sql("concat(", ROWS.c.id + bindparam("given", 1), ", ", func.now(), ")")).select_from(ROWS)
    assert str(statement.compile(dialect=DIALECT)).startswith("SELECT concat(t1.id + $1")
    assert statement.compile(dialect=DIALECT).params == {"given": 1}


def test_only_an_expression_that_binds_loosely_gets_parentheses() -> None:
    """A comparison is put in parentheses if it is an operand. A column and a function are not."""
    assert compiled(operand(ROWS.c.id)) == "t1.id"
    assert compiled(operand(func.now())) == "now()"
    assert compiled(operand(select(ROWS.c.id).scalar_subquery())).startswith("(SELECT")
    assert compiled(operand(ROWS.c.id.is_(None))) == "(t1.id IS NULL)"


def test_a_quote_ends_no_literal() -> None:
    """A quote in a constant text is doubled."""
    assert quoted("it's") == "'it''s'"


def test_more_arguments_than_a_function_takes_are_joined_in_groups() -> None:
    """If there are more arguments than PostgreSQL allows for a function, they are divided among several calls."""
    many = compiled(joined([ROWS.c.id] * (MAX_ARGUMENTS + 5)))
    assert many.count("concat(") == 3
    assert many.count("t1.id") == MAX_ARGUMENTS + 5
