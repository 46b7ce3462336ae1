"""Compiles single values of a row (fields, ids and positions) into JSON text."""

from datetime import date, datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import ColumnElement, case, func, literal_column

from app.resources.compile.scope import Piece, text
from app.resources.compile.tokens import id_token
from app.resources.members import FieldMember, ReferenceMember
from app.resources.select import Style

NULL = text("null")
INSTANT = 'YYYY-MM-DD"T"HH24:MI:SS.US'
FIRST_DATE, LAST_DATE = "0001-01-01", "9999-12-31"
FIRST_INSTANT, LAST_INSTANT = "0001-01-01T00:00:00.000000", "9999-12-31T23:59:59.999999"


def field_pieces(member: FieldMember, column: ColumnElement[Any], style: Style) -> list[Piece]:
    """Returns constant texts and SQL expressions that, joined in this order, give the JSON of a field."""
    if member.many:
        return [_or_null(_as_text(func.to_json(column)), nullable=member.nullable)]
    if member.value_type is bool:
        if member.nullable:
            return [case((column.is_(None), NULL), (column, text("true")), else_=text("false"))]
        return [case((column, text("true")), else_=text("false"))]
    pieces = _pieces(member, column, style)
    if not member.nullable:
        return pieces
    return [_or_null(_glued(pieces), nullable=True)]


def reference_pieces(member: ReferenceMember, column: ColumnElement[Any]) -> list[Piece]:
    """Returns constant texts and SQL expressions that, joined in this order, give a public id or a list of them."""
    token = id_token(member.kind)
    if not member.many:
        return optional_id(member.kind, column) if member.nullable else [token, column]
    # A null array (nothing was aggregated) and an empty array both give the empty list.
    listed = func.array_to_string(column, text("," + token))
    return [
        case((func.cardinality(column) > literal_column("0"), _glued(["[" + token, listed, "]"])), else_=text("[]"))
    ]


def optional_id(kind: str, column: ColumnElement[Any]) -> list[Piece]:
    """Returns SQL expressions that, joined in this order, give a public id, or null if the column is null."""
    return [_or_null(_glued([id_token(kind), _as_text(column)]), nullable=True)]


def reference_of_kind(member: ReferenceMember, column: ColumnElement[Any], kind: ColumnElement[Any]) -> Piece:
    """Returns the SQL of a public id whose kind is in the column `kind`.

    If the kind is not one of those that `member` declares, the SQL yields null.
    """
    choices = [(kind == text(choice), func.concat(text(id_token(choice)), column)) for choice in member.kinds]
    return case(*choices, else_=NULL)


def position_pieces(columns: list[ColumnElement[Any]]) -> list[Piece]:
    """Returns constant texts and SQL expressions that, joined in this order, give a row's position in a list.

    A position is a JSON array with the values of the columns by which the list is ordered.
    """
    pieces: list[Piece] = ["["]
    for place, column in enumerate(columns):
        pieces += ["," if place else "", _as_text(func.to_json(column))]
    return [*pieces, "]"]


def _finite(shown: ColumnElement[Any], column: ColumnElement[Any], first: str, last: str) -> ColumnElement[Any]:
    """Returns SQL that yields `shown`, the formatted text of the date or instant in `column`.

    PostgreSQL formats an infinite date as null. In this case the SQL yields `first` for minus infinity, and `last` for
    plus infinity. Infinite dates exist because the driver stores Python's `date.min` and `date.max` in this way.
    """
    middle: ColumnElement[Any] = literal_column("DATE '2000-01-01'")
    return func.coalesce(shown, case((column < middle, text(first)), (column > middle, text(last))))


def _pieces(member: FieldMember, column: ColumnElement[Any], style: Style) -> list[Piece]:
    type_ = member.value_type
    if issubclass(type_, StrEnum):
        return ['"', func.upper(column) if style.upper else column, '"']
    if type_ is datetime:
        instant = func.timezone(literal_column("'UTC'"), column)
        instant_text = func.to_char(instant, literal_column(f"'{INSTANT}'"))
        return ['"', _finite(instant_text, instant, FIRST_INSTANT, LAST_INSTANT), 'Z"']
    if type_ is date:
        instant_text = func.to_char(column, literal_column("'YYYY-MM-DD'"))
        return ['"', _finite(instant_text, column, FIRST_DATE, LAST_DATE), '"']
    if type_ in (int, float):
        return [column]
    return [_as_text(func.to_json(column))]


def _glued(pieces: list[Piece]) -> ColumnElement[Any]:
    """Returns SQL that joins the pieces by `||`. Its result is null if any piece is null."""
    glued: ColumnElement[Any] | None = None
    for piece in pieces:
        part = text(piece) if isinstance(piece, str) else piece
        glued = part if glued is None else glued.op("||")(part)
    if glued is None:
        return text("")
    return glued


def _or_null(value: ColumnElement[Any], *, nullable: bool) -> ColumnElement[Any]:
    return func.coalesce(value.op("::")(literal_column("text")), NULL) if nullable else value


def _as_text(value: ColumnElement[Any]) -> ColumnElement[Any]:
    return value.op("::")(literal_column("text"))
