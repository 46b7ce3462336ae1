"""Compiles pages: the rows of one page in order, with cursors, page information and totals.

A page belongs either to a list at the top of a selection, or to a link of a row (a nested list). The query selects one
row more than the page shows, to find out whether more rows follow. It first selects and numbers the rows, and then
reads the linked rows of those that the page shows. So nothing is read for the extra row.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Select, case, func, literal_column, select, tuple_
from sqlalchemy.dialects.postgresql import aggregate_order_by

from app.resources.compile.json_sql import Piece, joined, position_pieces, text
from app.resources.compile.scope import CursorSlot, Level, Order, Scope, adapt, column_of, table_of
from app.resources.compile.sources import level_of, link_filters
from app.resources.compile.tokens import POSITION, POSITION_END
from app.resources.declare import CannotCompile
from app.resources.members import ManyMember
from app.resources.select import (
    Constant,
    Edges,
    Fact,
    Info,
    Next,
    Node,
    Page,
    PagePart,
    Path,
    Pick,
    Picks,
    Rows,
)

MAX_COUNTED = 25_000
ObjectOf = Callable[[Scope, Level, Picks, Path, Path, Level | None], ColumnElement[Any]]


@dataclass(frozen=True)
class Paged:
    """The values from which the SQL of one page is built.

    `number` is the SQL of a row's number; the first `limit` rows are shown.
    """

    scope: Scope
    page: Page
    level: Level
    number: ColumnElement[Any]
    limit: ColumnElement[Any]
    position: list[Piece]
    path: Path
    pattern: Path
    around: Level | None
    object_of: ObjectOf
    total: Callable[[], ColumnElement[Any]]


def linked_page(
    scope: Scope, level: Level, member: ManyMember, pick: Pick, path: Path, pattern: Path, object_of: ObjectOf
) -> ColumnElement[Any]:
    """Returns the SQL for one page of the rows to which a row links, such as the supports of a student.

    A cursor belongs to the row whose link was read: a cursor of one student's supports is refused for another student.
    """
    page = pick.page
    if page is None or not member.paged:
        raise CannotCompile(f"{member.name} has no pages.")
    child, conditions = level_of(scope, member.target, member.through)
    conditions.append(adapt(member.condition, child.linked, level))
    conditions += link_filters(scope, child, member, pick, path)
    order = Order(member.order or (child.facts.key,), member.descending)
    page_sql = page_of(scope, page, child, conditions, order, path, pattern, level, object_of, tuple(level.parts), None)
    if page.after is None:
        return page_sql
    # A cursor is valid only for the row whose link issued it. For any other row the link is null, with an error.
    scope.moved.append(pattern)
    parent = scope.bind((*path, "after", 0), table_of(level.facts.model).c[level.facts.key.key].type)
    return case((level.key == parent, page_sql), else_=text("null"))


def page_of(
    scope: Scope,
    page: Page,
    child: Level,
    conditions: Sequence[ColumnElement[bool]],
    order: Order,
    path: Path,
    pattern: Path,
    around: Level | None,
    object_of: ObjectOf,
    outer: tuple[Any, ...],
    restrict: Callable[[Select[Any], tuple[Any, ...], ColumnElement[Any]], Select[Any]] | None,
) -> ColumnElement[Any]:
    """Returns an SQL expression whose value is one page of rows, as JSON text.

    * `child` has the tables of the rows, `conditions` restrict the rows, and `order` is their order.
    * `path` is the page's place in the selection. `pattern` is its place in the response, with `*` for each array
      index.
    * `around` is the row that encloses the page in the response, or None if there is none. `outer` has the tables of
      that row.
    * `object_of` returns the SQL of one row.
    * `restrict`, if given, limits a query to the rows of some schools, in a form for which PostgreSQL can use the
      indexes by school.
    """
    descending = order.descending != page.backward
    shift = 0 if around is None else 1
    columns = [adapt(column, child) for column in order.columns]
    whole = list(conditions)
    if page.after is not None:
        values = [
            scope.bind((*path, "after", place + shift), column_of(column).type)
            for place, column in enumerate(order.columns)
        ]
        whole.append(tuple_(*columns) < tuple_(*values) if descending else tuple_(*columns) > tuple_(*values))
    ordered = tuple(column.desc() if descending else column.asc() for column in columns)
    labelled = [
        alias(column.name).label(f"{name}__{column.name}")
        for name, alias in child.tables.items()
        for column in _columns(scope, child, name, order)
    ]
    more = scope.bind((*path, "more"), literal_column("1").type)
    query = select(*labelled).select_from(child.source).where(*whole)
    if restrict is not None:
        query = restrict(query, tuple(columns), more)
    rows = query.order_by(*ordered).limit(more).correlate(*outer).subquery(_name(scope))
    tables = {name: _renamed(rows, name) for name in child.tables}
    inner = Level(child.resource, tables, rows, (rows,))
    inner_columns = [adapt(column, inner) for column in order.columns]
    directions = [column.desc() if descending else column.asc() for column in inner_columns]
    number = func.row_number().over(order_by=directions)
    count = func.count().over()
    numbered = select(rows, number.label("row_number"), count.label("row_count")).subquery(_name(scope))
    row_level = Level(child.resource, {name: _renamed(numbered, name) for name in child.tables}, numbered, (numbered,))
    places = [*([around.key] if around is not None else []), *(adapt(column, row_level) for column in order.columns)]
    position = position_pieces(places)

    def total() -> ColumnElement[Any]:
        counted: Select[Any] = select(literal_column("1")).select_from(child.source).where(*conditions)
        if restrict is not None:
            counted = restrict(counted, tuple(columns), literal_column(str(MAX_COUNTED + 1)))
        limited = counted.limit(literal_column(str(MAX_COUNTED + 1))).correlate(*outer).subquery(_name(scope))
        count = select(func.count()).select_from(limited).scalar_subquery()
        return case((count > literal_column(str(MAX_COUNTED)), text(scope.style.more)), else_=func.concat(count))

    limit = scope.bind((*path, "limit"), literal_column("1").type)
    paged = Paged(
        scope, page, row_level, numbered.c.row_number, limit, position, path, pattern, around, object_of, total
    )
    # With HAVING, the query returns one row even if the selected parts of the page contain no aggregate function.
    answer: Select[Any] = select(_shape(paged)).select_from(numbered).having(literal_column("true"))
    return answer.correlate(*outer).scalar_subquery()


def _shape(paged: Paged) -> ColumnElement[Any]:
    pieces: list[Piece] = ["{"]
    for place, part in enumerate(paged.page.parts):
        pieces += [("," if place else "") + f'"{part.key}":', *_part(paged, part)]
    return joined([*pieces, "}"])


def _part(paged: Paged, part: PagePart) -> list[Piece]:
    if isinstance(part, Constant):
        return [part.text]
    if isinstance(part, Rows):
        row = _row(paged, part.picks, (part.key,), (part.key, "*"))
        return ["[", _each(paged, row), "]"]
    if isinstance(part, Edges):
        return ["[", _each(paged, _edge(paged, part)), "]"]
    if isinstance(part, Info):
        pieces: list[Piece] = ["{"]
        for place, fact in enumerate(part.parts):
            pieces.append(("," if place else "") + f'"{fact.key}":')
            pieces.append(fact.text if isinstance(fact, Constant) else _fact(paged, fact))
        return [*pieces, "}"]
    if isinstance(part, Next):
        return [_next(paged)]
    return [paged.total()]


def _edge(paged: Paged, edges: Edges) -> ColumnElement[Any]:
    pieces: list[Piece] = ["{"]
    for place, part in enumerate(edges.parts):
        pieces.append(("," if place else "") + f'"{part.key}":')
        if isinstance(part, Node):
            pieces.append(_row(paged, part.picks, (edges.key, part.key), (edges.key, "*", part.key)))
        else:
            pieces.append(part.text if isinstance(part, Constant) else _cursor(paged))
    return joined([*pieces, "}"])


def _row(paged: Paged, picks: Picks, keys: Path, pattern: Path) -> ColumnElement[Any]:
    return paged.object_of(
        paged.scope, paged.level, picks, (*paged.path, *keys), (*paged.pattern, *pattern), paged.around
    )


def _each(paged: Paged, row: ColumnElement[Any]) -> ColumnElement[Any]:
    """Returns SQL that joins the JSON texts of a page's rows with commas.

    The query also selects one row more than the page shows, to find out whether there is a next page. A CASE skips this
    row, so that PostgreSQL does not read its linked rows.
    """
    order = paged.number.desc() if paged.page.backward else paged.number.asc()
    return func.string_agg(case((paged.number <= paged.limit, row)), aggregate_order_by(literal_column("','"), order))


def _fact(paged: Paged, fact: Fact) -> ColumnElement[Any]:
    backward, cursor = paged.page.backward, paged.page.after is not None
    if fact.name in ("has_next_page", "has_previous_page"):
        if (fact.name == "has_next_page") != backward:
            return case((_has_more(paged), text("true")), else_=text("false"))
        return text("true" if cursor else "false")
    if fact.name not in ("start_cursor", "end_cursor"):
        raise CannotCompile(f"A page does not tell {fact.name}.")
    first = (fact.name == "start_cursor") != backward
    return func.coalesce(_cursor_at(paged, first=first), text("null"))


def _next(paged: Paged) -> ColumnElement[Any]:
    return case((_has_more(paged), _cursor_at(paged, first=False, following=True)), else_=text("null"))


def _has_more(paged: Paged) -> ColumnElement[bool]:
    more: ColumnElement[bool] = func.count() > paged.limit
    return more


def _cursor_at(paged: Paged, *, first: bool, following: bool = False) -> ColumnElement[Any]:
    """Returns the SQL of the cursor of the page's first row if `first` is true, otherwise of its last row.

    `following` is true if the cursor is for the field `next` of a REST page.
    """
    place = literal_column("1") if first else func.least(paged.limit, paged.level.source.c.row_count)
    return func.max(case((paged.number == place, _cursor(paged, following=following))))


def _cursor(paged: Paged, *, following: bool = False) -> ColumnElement[Any]:
    slot = len(paged.scope.cursors)
    paged.scope.cursors.append(CursorSlot(paged.path, following and paged.around is None))
    return joined([f"{POSITION}{slot}:", *paged.position, POSITION_END])


def _columns(scope: Scope, level: Level, name: str, order: Order) -> Sequence[Any]:
    """Returns the columns that a page needs from one table of its resource. `name` is the name of that table.

    These are the columns from which the resource's fields, links and values are read, and those by which the page is
    ordered.
    """
    models = [level.facts.model, *(join.model for join in level.facts.joins)]
    model = next((candidate for candidate in models if table_of(candidate).name == name), None)
    if model is None:
        return ()
    column_names = scope.catalog.columns(level.resource) | {
        (table_of(column.class_).name, column.key) for column in order.columns
    }
    return [column for column in table_of(model).columns if (name, column.name) in column_names]


def _renamed(source: Any, name: str) -> Callable[[str], ColumnElement[Any]]:
    return lambda column: source.c[f"{name}__{column}"]


def _name(scope: Scope) -> str:
    scope.number += 1
    return f"{scope.prefix}t{scope.number}"
