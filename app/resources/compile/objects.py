"""Compiles a row into a JSON object, with its links as correlated subqueries.

PostgreSQL cannot turn such a subquery into a join. So it always reads the rows of a link by an index, even if its
statistics of the tables are wrong. Every subquery has a condition on the district.
"""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, Select, any_, func, literal_column, select
from sqlalchemy.dialects.postgresql import aggregate_order_by

from app.resources.catalog import permissions_of
from app.resources.compile.json_sql import (
    Piece,
    as_text,
    field_pieces,
    joined,
    operand,
    optional_id,
    quoted,
    reference_of_kind,
    reference_pieces,
    separated,
    sql,
)
from app.resources.compile.pages import linked_page
from app.resources.compile.scope import Level, LinkSlot, Scope, ValueSlot, adapt
from app.resources.compile.sources import level_of, link_filters
from app.resources.compile.tokens import ABOUT, END, ROW, SAME, TOO_MANY, VALUE, id_token, record_letter
from app.resources.declare import CannotCompile, declaration
from app.resources.members import FieldMember, ManyMember, OneMember, ReferenceMember, ValueMember
from app.resources.select import Constant, Path, Pick, Picks
from app.resources.values import Figures, is_json


def object_of(
    scope: Scope, level: Level, picks: Picks, path: Path, pattern: Path, around: Level | None
) -> ColumnElement[Any]:
    """Returns the SQL that renders one row as a JSON object.

    Before the object, the SQL writes a mark that says which student the row is about. Python later removes the marks,
    and logs the students in the disclosure log.

    * `picks` are the selected fields, links and values of the row.
    * `path` is the row's place in the selection. `pattern` is its place in the response, with `*` for each array index.
    * `around` is the row that encloses this row in the response, or None if there is none.
    """
    pieces: list[Piece] = [*_disclosure(scope, level, around), "{"]
    for place, pick in enumerate(picks):
        pieces += [("," if place else "") + f'"{pick.key}":']
        if isinstance(pick, Constant):
            pieces.append(pick.text)
        else:
            pieces += _member_pieces(scope, level, pick, (*path, pick.key), (*pattern, pick.key))
    return joined([*pieces, "}"])


def _disclosure(scope: Scope, level: Level, around: Level | None) -> list[Piece]:
    """Returns the SQL of the mark that says, before a row, which student the row is about. The disclosure log needs it.

    `around` is the row that encloses this row in the response, or None. If both rows are about the same student, the
    mark does not repeat the student's id.
    """
    student, record = level.student, level.facts.discloses
    if student is None or record is None:
        return [ROW]
    letter = record_letter(scope.records.index(record))
    outer = None if around is None else around.student
    token = sql("concat(", quoted(ABOUT + letter), ", ", student, ")")
    if level.may_have_no_student:
        return [sql("CASE WHEN (", operand(student), f" IS NULL) THEN {quoted(ROW)} ELSE ", token, " END")]
    if outer is None:
        return [ABOUT + letter, student]
    is_same = sql("(", operand(student), " = ", operand(outer), ")")
    return [sql("CASE WHEN ", is_same, f" THEN {quoted(SAME + letter)} ELSE ", token, " END")]


def _member_pieces(scope: Scope, level: Level, pick: Pick, path: Path, pattern: Path) -> list[Piece]:
    member = scope.catalog.member(level.resource, pick.member)
    if isinstance(member, FieldMember):
        return field_pieces(member, adapt(member.expression, level), scope.style)
    if isinstance(member, ReferenceMember):
        column = adapt(member.expression, level)
        if member.kinds:
            return [reference_of_kind(member, column, adapt(member.kind_expression, level))]
        return reference_pieces(member, column)
    if isinstance(member, OneMember) and not pick.picks and member.expression is not None:
        kind, column = declaration(member.target).kind, adapt(member.expression, level)
        if kind is None:
            raise CannotCompile(f"{member.name} names rows without ids.")
        return optional_id(kind, column) if member.nullable else [id_token(kind), column]
    if (refusal := scope.missing(permissions_of(member))) is not None:
        scope.refused.append((pattern, refusal))
        return ["null"]
    if isinstance(member, OneMember):
        return [_one(scope, level, member, pick, path, pattern)]
    if isinstance(member, ManyMember):
        if pick.page is not None:
            return [linked_page(scope, level, member, pick, path, pattern, object_of)]
        return [_many(scope, level, member, pick, path, (*pattern, "*"))]
    if isinstance(member, ValueMember):
        return _value_pieces(scope, level, member, pick, path, pattern)
    raise CannotCompile(f"{member.name} is no member that can be read.")


def _one(scope: Scope, level: Level, member: OneMember, pick: Pick, path: Path, pattern: Path) -> ColumnElement[Any]:
    child, conditions = level_of(scope, member.target, member.through)
    if member.condition is not None:
        conditions.append(adapt(member.condition, child.linked, level))
    else:
        conditions.append(child.key == adapt(member.expression, level))
    linked_object = object_of(scope, child, pick.picks, path, pattern, level)
    return sql("coalesce(", _correlated(select(linked_object), child, level, conditions), ", 'null')")


def _many(scope: Scope, level: Level, member: ManyMember, pick: Pick, path: Path, pattern: Path) -> ColumnElement[Any]:
    child, conditions = level_of(scope, member.target, member.through)
    order: Sequence[Any] = [adapt(column, child) for column in member.order]
    if member.array is not None:
        column = adapt(member.array, level)
        conditions.append(child.key == any_(column))
        order = [func.array_position(column, child.key)]
    else:
        conditions.append(adapt(member.condition, child.linked, level))
    conditions += link_filters(scope, child, member, pick, path)
    linked_object = object_of(scope, child, pick.picks, path, pattern, level)
    slot = len(scope.links)
    scope.links.append(LinkSlot(member.name, member.most))
    rows = func.string_agg(linked_object, aggregate_order_by(literal_column("','"), *(order or [child.key])))
    too_many = quoted(f"{TOO_MANY}{slot}:{END}")
    listed = sql(f"CASE WHEN (count(*) > {member.most}) THEN {too_many} ELSE concat('[', ", rows, ", ']') END")
    return _correlated(select(listed), child, level, conditions)


def _correlated(query: Select[Any], child: Level, level: Level, conditions: list[Any]) -> ColumnElement[Any]:
    return query.select_from(child.source).where(*conditions).correlate(*level.parts).scalar_subquery()


def _value_pieces(
    scope: Scope, level: Level, member: ValueMember, pick: Pick, path: Path, pattern: Path
) -> list[Piece]:
    if member.expression is not None:
        raw: Piece = sql("coalesce(", as_text(adapt(member.expression, level)), ", 'null')")
        if is_json(member.shape) or (member.shape is Figures and scope.style.face == "rest"):
            return [raw]
    else:
        keys = [adapt(key, level) for key in member.keys]
        raw = sql("json_build_array(", *separated(keys), ") :: text")
    slot = len(scope.values)
    scope.values.append(ValueSlot(member, pick.picks, path, pattern))
    return [f"{VALUE}{slot}:", raw, END]
