"""Writes the SQL that renders values as JSON text.

Most of a statement renders values. It is built as text with embedded expressions (fragments), because that takes a
small part of the time that SQLAlchemy needs for a tree of expressions.
"""

from collections.abc import Iterator, Sequence
from datetime import date, datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import ColumnClause, ColumnElement, ScalarSelect, literal_column
from sqlalchemy.dialects.postgresql.asyncpg import dialect as asyncpg_dialect
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.sql.selectable import NamedFromClause

from app.resources.compile.tokens import id_token
from app.resources.members import FieldMember, ReferenceMember
from app.resources.select import Style

DIALECT: Any = asyncpg_dialect()  # type: ignore[no-untyped-call]  # an untyped library
MAX_ARGUMENTS = 90
"""The largest number of arguments in one function call; PostgreSQL allows a hundred."""
Piece = str | ColumnElement[Any]
"""A part of a value: a text or an SQL expression."""
_quote: Any = DIALECT.identifier_preparer.quote
INSTANT = 'YYYY-MM-DD"T"HH24:MI:SS.US'
FIRST_DATE, LAST_DATE = "0001-01-01", "9999-12-31"
FIRST_INSTANT, LAST_INSTANT = "0001-01-01T00:00:00.000000", "9999-12-31T23:59:59.999999"


class Fragment(ColumnElement[Any]):
    """An SQL expression that consists of texts and other expressions.

    SQLAlchemy does not find the tables of these other expressions, so a FROM clause must name these tables itself.
    """

    inherit_cache = False

    def __init__(self, parts: list[Piece]) -> None:
        self.parts = parts


@compiles(Fragment)  # type: ignore[untyped-decorator, unused-ignore]  # an untyped library
def _compiled(fragment: Fragment, compiler: Any, **options: Any) -> str:
    return "".join(
        compiler.escape_literal_column(part) if isinstance(part, str) else compiler.process(part, **options)
        for part in fragment.parts
    )


def sql(*parts: Piece) -> Fragment:
    """Returns SQL that consists of these parts, in this order.

    A part that is a `str` is SQL, so it must come from a declaration or from `quoted`, and never from a request.
    """
    merged: list[Piece] = []
    for part in parts:
        for piece in part.parts if isinstance(part, Fragment) else (_text_of(part),):
            if isinstance(piece, str) and merged and isinstance(merged[-1], str):
                merged[-1] += piece
            else:
                merged.append(piece)
    return Fragment(merged)


def operand(expression: ColumnElement[Any]) -> Fragment:
    """Returns the SQL of an expression as an operand: in parentheses, unless it binds as closely as a column."""
    is_close = isinstance(expression, ColumnClause | FunctionElement | ScalarSelect)
    return sql(expression) if is_close else sql("(", expression, ")")


def quoted(constant: str) -> str:
    """Returns constant text as an SQL literal."""
    return "'" + constant.replace("'", "''") + "'"


def text(constant: str) -> ColumnElement[Any]:
    """Returns constant text as an SQL expression."""
    return literal_column(quoted(constant))


def joined(pieces: Sequence[Piece]) -> Fragment:
    """Returns constant and computed pieces of text as one expression; a piece that is null counts as an empty text."""
    merged: list[Piece] = []
    for piece in pieces:
        if isinstance(piece, str) and merged and isinstance(merged[-1], str):
            merged[-1] += piece
        elif not isinstance(piece, str) or piece:
            merged.append(piece)
    arguments: list[Piece] = [quoted(part) if isinstance(part, str) else part for part in merged]
    while len(arguments) > MAX_ARGUMENTS:
        arguments = [
            _concatenated(arguments[start : start + MAX_ARGUMENTS]) for start in range(0, len(arguments), MAX_ARGUMENTS)
        ]
    return _concatenated(arguments)


def _concatenated(arguments: Sequence[Piece]) -> Fragment:
    return sql("concat(", *separated(arguments), ")")


def separated(parts: Sequence[Piece]) -> Iterator[Piece]:
    """Yields parts of SQL, with commas between them."""
    for place, part in enumerate(parts):
        if place:
            yield ", "
        yield part


def _text_of(part: Piece) -> Piece:
    if isinstance(part, ColumnClause) and isinstance(part.table, NamedFromClause):
        return f"{_quote(part.table.name)}.{_quote(part.name)}"
    return part


def field_pieces(member: FieldMember, column: ColumnElement[Any], style: Style) -> list[Piece]:
    """Returns constant texts and SQL expressions that, joined in this order, give the JSON of a field."""
    if member.many:
        return [_or_null(as_json(column)) if member.nullable else as_json(column)]
    if member.value_type is bool:
        shown = operand(column)
        absent = sql("(", shown, " IS NULL) THEN 'null' WHEN ") if member.nullable else ""
        return [sql("CASE WHEN ", absent, shown, " THEN 'true' ELSE 'false' END")]
    pieces = _pieces(member, column, style)
    return [_or_null(_glued(pieces))] if member.nullable else pieces


def reference_pieces(member: ReferenceMember, column: ColumnElement[Any]) -> list[Piece]:
    """Returns constant texts and SQL expressions that, joined in this order, give a public id or a list of them."""
    token = id_token(member.kind)
    if not member.many:
        return optional_id(member.kind, column) if member.nullable else [token, column]
    # A null array (nothing was aggregated) and an empty array both give the empty list.
    listed = sql("array_to_string(", column, ", ", quoted("," + token), ")")
    joined_ids = _glued(["[" + token, listed, "]"])
    return [sql("CASE WHEN (cardinality(", column, ") > 0) THEN ", joined_ids, " ELSE '[]' END")]


def optional_id(kind: str, column: ColumnElement[Any]) -> list[Piece]:
    """Returns SQL expressions that, joined in this order, give a public id, or null if the column is null."""
    return [_or_null(_glued([id_token(kind), as_text(column)]))]


def reference_of_kind(member: ReferenceMember, column: ColumnElement[Any], kind: ColumnElement[Any]) -> Piece:
    """Returns the SQL of a public id whose kind is in the column `kind`.

    If the kind is not one of those that `member` declares, the SQL yields null.
    """
    choices: list[str | ColumnElement[Any]] = []
    for choice in member.kinds:
        token = quoted(id_token(choice))
        choices += ["WHEN (", operand(kind), f" = {quoted(choice)}) THEN concat({token}, ", column, ") "]
    return sql("CASE ", *choices, "ELSE 'null' END")


def position_pieces(columns: list[ColumnElement[Any]]) -> list[Piece]:
    """Returns constant texts and SQL expressions that, joined in this order, give a row's position in a list.

    A position is a JSON array with the values of the columns by which the list is ordered.
    """
    pieces: list[Piece] = ["["]
    for place, column in enumerate(columns):
        pieces += ["," if place else "", as_json(column)]
    return [*pieces, "]"]


def as_text(value: ColumnElement[Any]) -> Fragment:
    """Returns the SQL that casts a value to text."""
    return sql(operand(value), " :: text")


def as_json(value: ColumnElement[Any]) -> Fragment:
    """Returns the SQL of a value as JSON text; its result is null if the value is null."""
    return sql("to_json(", value, ") :: text")


def _finite(shown: Fragment, column: ColumnElement[Any], first: str, last: str) -> Fragment:
    """Returns SQL that yields `shown`, the formatted text of the date or instant in `column`.

    PostgreSQL formats an infinite date as null. In this case the SQL yields `first` for minus infinity, and `last` for
    plus infinity. Infinite dates exist because the driver stores Python's `date.min` and `date.max` in this way.
    """
    middle, compared = "DATE '2000-01-01'", operand(column)
    below = sql("WHEN (", compared, f" < {middle}) THEN {quoted(first)}")
    above = sql("WHEN (", compared, f" > {middle}) THEN {quoted(last)}")
    return sql("coalesce(", shown, ", CASE ", below, " ", above, " END)")


def _pieces(member: FieldMember, column: ColumnElement[Any], style: Style) -> list[Piece]:
    type_ = member.value_type
    if issubclass(type_, StrEnum):
        return ['"', sql("upper(", column, ")") if style.upper else column, '"']
    if type_ is datetime:
        instant = sql("timezone('UTC', ", column, ")")
        shown = sql("to_char(", instant, f", '{INSTANT}')")
        return ['"', _finite(shown, instant, FIRST_INSTANT, LAST_INSTANT), 'Z"']
    if type_ is date:
        shown = sql("to_char(", column, ", 'YYYY-MM-DD')")
        return ['"', _finite(shown, column, FIRST_DATE, LAST_DATE), '"']
    if type_ in (int, float):
        return [column]
    return [as_json(column)]


def _glued(pieces: list[Piece]) -> Fragment:
    """Returns SQL that joins the pieces by `||`. Its result is null if any piece is null."""
    parts: list[str | ColumnElement[Any]] = []
    for piece in pieces:
        parts += [" || " if parts else "", quoted(piece) if isinstance(piece, str) else operand(piece)]
    return sql(*parts)


def _or_null(value: ColumnElement[Any]) -> Fragment:
    """Returns SQL that yields the JSON null for a null value."""
    return sql("coalesce(", operand(value), " :: text, 'null')")
