"""Defines the state that the functions of the compiler share while they turn one selection into SQL.

A selection is the tree of fields and links that a request reads. The state has the parameters of the statement, the
table aliases, and the places in the response that Python completes after the query.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, cast

from sqlalchemy import BindParameter, Column, ColumnElement, FromClause, Table, bindparam, column
from sqlalchemy.orm import InstrumentedAttribute
from sqlalchemy.sql import visitors
from sqlalchemy.sql.selectable import NamedFromClause
from sqlalchemy.util import immutabledict

from app.access.permission import Can
from app.access.principal import Principal, Reach
from app.resources.catalog import Catalog, plain
from app.resources.declare import Declaration, declaration
from app.resources.members import ValueMember
from app.resources.select import Path, Picks, ResourceType, Style

NOT_MAPPED: Any = immutabledict()


@dataclass(frozen=True, slots=True)
class CursorSlot:
    """A page whose rows get cursors.

    The SQL statement returns the sort values of a row; Python encrypts them into a cursor.

    `path` is the page's place in the selection. `following` is true if REST shows the cursor as `next`.
    """

    path: Path
    following: bool = False


@dataclass(frozen=True, slots=True)
class ValueSlot:
    """An object or a list in the response that Python fills in after the SQL statement has run.

    `member` declares the value, and `picks` are the parts of the value that the request selects. `path` is its place in
    the selection. `pattern` is its place in the response, with `*` for each array index.
    """

    member: ValueMember
    picks: Picks
    path: Path
    pattern: Path


@dataclass(frozen=True, slots=True)
class LinkSlot:
    """A list or a link whose rows are all returned at once.

    If there are more than `most` rows, an error is returned instead.
    """

    name: str
    most: int


@dataclass(frozen=True)
class Order:
    """The order of a list, as columns that are never null; the last column is unique."""

    columns: tuple[Any, ...]
    descending: bool = False


@dataclass(frozen=True)
class Level:
    """The tables from which the query reads the rows of one resource, at one place in the nested selection.

    In a selection of students with their supports, for example, the students are one level and the supports another.

    * `tables` has the aliases of the tables that contain the resource's columns, keyed by table name.
    * `source` is the FROM clause of the level, and `parts` are the tables in that clause.
    * `through` is the intermediate table, if the rows are reached by a link that joins one.
    """

    resource: ResourceType
    tables: Mapping[str, Callable[[str], ColumnElement[Any]]]
    source: FromClause
    parts: tuple[FromClause, ...]
    through: Mapping[str, Callable[[str], ColumnElement[Any]]] = field(default_factory=dict)

    @property
    def linked(self) -> "Level":
        """Returns a copy of this level in which `tables` also has the intermediate table `through`, if there is one.

        The condition of a link can then use this table.
        """
        return replace(self, tables={**self.tables, **self.through})

    @property
    def facts(self) -> Declaration:
        """Returns the declaration of the resource whose rows are read at this level."""
        return declaration(self.resource)

    @property
    def key(self) -> ColumnElement[Any]:
        """Returns the SQL column with the id of the row."""
        return adapt(self.facts.key, self)

    @property
    def student(self) -> ColumnElement[Any] | None:
        """Returns the column of the student that a row is about, or None for a resource that is not about students."""
        return None if self.facts.about is None else adapt(self.facts.about, self)

    @property
    def may_have_no_student(self) -> bool:
        """Returns whether a resource about students can have rows that are about no student."""
        about = self.facts.about
        if about is None:
            return False
        return not isinstance(about, InstrumentedAttribute) or bool(column_of(about).nullable)


@dataclass
class Scope:
    """The state of one compilation of a selection into SQL, which all functions of the compiler share."""

    catalog: Catalog
    style: Style
    principal: Principal
    records: tuple[str, ...]
    prefix: str = ""
    binds: dict[Path, BindParameter[Any]] = field(default_factory=dict)
    cursors: list[CursorSlot] = field(default_factory=list)
    values: list[ValueSlot] = field(default_factory=list)
    links: list[LinkSlot] = field(default_factory=list)
    refused: list[tuple[Path, Can]] = field(default_factory=list)
    moved: list[Path] = field(default_factory=list)
    number: int = 0

    @property
    def reach(self) -> Reach:
        """Returns which students the caller may see: all, those of some schools, or a caseload."""
        return self.principal.reach

    def bind(self, path: Path, type_: Any) -> BindParameter[Any]:
        """Returns the SQL parameter for the value at this path of the selection. Each path has one parameter."""
        if path not in self.binds:
            self.binds[path] = bindparam(f"{self.prefix}p{len(self.binds)}", type_=type_, required=False)
        return self.binds[path]

    def alias(self, table: Table) -> NamedFromClause:
        """Returns an alias of a table with a unique name."""
        self.number += 1
        return table.alias(f"{self.prefix}t{self.number}")

    def missing(self, permissions: Sequence[Can]) -> Can | None:
        """Returns the first permission that the caller lacks, or None."""
        return next((can for can in permissions if not self.principal.may(can)), None)


def table_of(model: Any) -> Table:
    """Returns the table of a model."""
    table: Table = model.__table__
    return table


def column_of(column: Any) -> Column[Any]:
    """Returns the table column that a mapped attribute, such as `Concern.state`, stands for."""
    table_column: Column[Any] = table_of(column.class_).c[column.key]
    return table_column


def columns_of(source: NamedFromClause) -> Callable[[str], ColumnElement[Any]]:
    """Returns a function that looks up a column of the alias `source` by its name.

    Only the columns that are looked up are created. `source.c` would create all columns of the table.
    """
    columns: dict[str, ColumnElement[Any]] = {}
    table: Any = source.element  # type: ignore[attr-defined]  # of an alias

    def look_up(name: str) -> ColumnElement[Any]:
        if name not in columns:
            made = column(name, table.c[name].type)
            made.table = source
            columns[name] = made
        return columns[name]

    return look_up


def adapt(expression: Any, *levels: Level) -> ColumnElement[Any]:
    """Returns an expression of a resource's declaration, in which each table is replaced by its alias in the query.

    The aliases are those of `levels`. If several levels have the same table, the alias of the first level is used.
    """

    def substitute(element: Any) -> Any:
        if not isinstance(element, Column):
            return None
        name = str(getattr(element.table, "name", ""))
        for level in levels:
            if name in level.tables:
                return level.tables[name](element.key)
        return None

    element = plain(expression)
    if (column := substitute(element)) is not None:
        return cast("ColumnElement[Any]", column)
    traverse: Any = visitors.replacement_traverse  # its type annotations are too narrow
    adapted: ColumnElement[Any] = traverse(element, {}, substitute)
    # No mapped class is left. With this mark, SQLAlchemy would still compile the statement as its object mapper does.
    adapted._propagate_attrs = NOT_MAPPED
    return adapted
