"""Checks that every statement of the product names the district for each tenant table that it reads or writes.

A table is bound if a condition that must be true (not one side of an OR) equates its `district_id` to a value, directly
or through other tables of the statement. sqlglot parses the statement. If it cannot, the statement is reported as
unreadable.
"""

from collections.abc import Collection, Iterable, Iterator
from functools import lru_cache

import sqlglot
from sqlglot import exp

DISTRICT = "district_id"
VALUE = "<value>"
STATEMENTS = (exp.Select, exp.Update, exp.Delete, exp.Insert, exp.Merge)
CONJUNCTION = (exp.And, exp.Paren, exp.Where, exp.Join)
"""The expressions between a condition and its statement for which the condition must hold for every row."""


class Districts:
    """Finds the tables of one statement that are not restricted to a district."""

    def __init__(self, tree: exp.Expr, tenants: Collection[str], column: str = DISTRICT) -> None:
        self._tree = tree
        self._column = column
        self._tenants = tenants
        self._nodes: dict[int, dict[str, str]] = {}
        self._tables: list[str] = []
        self._equal: dict[str, str] = {}

    def unbound(self) -> list[str]:
        """Returns the tenant tables that the statement does not restrict to a district, each as `table alias`."""
        tables, conditions, joins, inserts = self._parts()
        for table in tables:
            self._register(table)
        for condition in conditions:
            self._apply(condition)
        for join in joins:
            if any(column.name == self._column for column in join.args.get("using") or ()):
                self._apply_using(join)
        unbound = [node.split("#")[0] for node in self._tables if self._root(node) != VALUE]
        return [*self._inserts_without_district(inserts), *unbound]

    def _parts(self) -> tuple[list[exp.Table], list[exp.Expr], list[exp.Join], list[exp.Insert]]:
        """Returns the tables, the conditions about the district, the joins and the insertions of the statement.

        The tree is searched once for all four, because a search takes as long as parsing the statement.
        """
        tables, conditions, joins, inserts = list[exp.Table](), list[exp.Expr](), list[exp.Join](), list[exp.Insert]()
        for node in self._tree.walk():
            match node:
                case exp.Table():
                    tables.append(node)
                case exp.EQ() | exp.In():
                    conditions.append(node)
                case exp.Join():
                    joins.append(node)
                case exp.Insert():
                    inserts.append(node)
        return tables, conditions, joins, inserts

    def _register(self, table: exp.Table) -> None:
        statement = _statement_of(table)
        # What follows FOR UPDATE OF are aliases, and ANALYZE shows nobody a row.
        if statement is None or isinstance(table.this, exp.Func) or isinstance(table.parent, exp.Lock):
            return
        name = _name(table)
        node = VALUE
        is_target = isinstance(statement, exp.Insert) and table.find_ancestor(exp.Schema, exp.Insert) is not None
        if name in self._tenants and not is_target:
            node = f"{name} {table.alias_or_name}#{len(self._tables)}"
            self._tables.append(node)
        self._nodes.setdefault(id(statement), {})[table.alias_or_name] = node

    def _apply(self, condition: exp.Expr) -> None:
        if isinstance(condition, exp.In):
            sides = condition.this.expressions if isinstance(condition.this, exp.Tuple) else [condition.this]
        else:
            sides = [condition.this, condition.expression]
        nodes = [self._node_of(side) for side in sides]
        if all(node is None for node in nodes) or not _is_always_true(condition):
            return
        if isinstance(condition, exp.In):
            for node in nodes:
                self._join(node, VALUE)
        else:
            self._join(*(VALUE if node is None else node for node in nodes))

    def _apply_using(self, join: exp.Join) -> None:
        """Records that in JOIN … USING (district_id), the joined table has the district of the table before it."""
        holder = join.parent
        joins = holder.args["joins"] if holder is not None else []
        place = joins.index(join)
        first = holder if isinstance(holder, exp.Table) else holder.args["from_"].this if holder is not None else None
        before = joins[place - 1].this if place else first
        if before is not None:
            self._join(self._node_named(join, join.this.alias_or_name), self._node_named(join, before.alias_or_name))

    def _inserts_without_district(self, inserts: Iterable[exp.Insert]) -> Iterator[str]:
        for insert in inserts:
            schema = insert.this
            table = schema.this if isinstance(schema, exp.Schema) else schema
            columns = [column.name for column in schema.expressions] if isinstance(schema, exp.Schema) else []
            if _name(table) in self._tenants and self._column not in columns:
                yield f"{table.name} (inserted without its district)"

    def _node_of(self, side: exp.Expr) -> str | None:
        """Returns the table to which a `district_id` column belongs, or None for another column."""
        while isinstance(side, exp.Cast | exp.Paren):
            side = side.this
        if not isinstance(side, exp.Column) or side.name != self._column:
            return None
        return self._node_named(side, side.table)

    def _node_named(self, place: exp.Expr, alias: str) -> str:
        """Returns the table that an alias names in this statement or in an enclosing one. Returns VALUE for any other
        name.
        """
        statement = _statement_of(place)
        while statement is not None:
            nodes = self._nodes.get(id(statement), {})
            if alias in nodes:
                return nodes[alias]
            if not alias:
                tenants = [node for node in nodes.values() if node != VALUE]
                return tenants[0] if len(tenants) == 1 else f"<ambiguous {id(place)}>"
            statement = _statement_of(statement)
        return VALUE

    def _join(self, one: str | None, other: str | None) -> None:
        if one is None or other is None:
            return
        first, second = self._root(one), self._root(other)
        if first != second:
            self._equal.update({second: first} if first == VALUE else {first: second})

    def _root(self, node: str) -> str:
        while node in self._equal:
            node = self._equal[node]
        return node


def unbound(sql: str, tenants: Collection[str], column: str = DISTRICT) -> list[str]:
    """Returns the tables in a statement that are not restricted to one district.

    A table is restricted if its district is compared with a value, or joined to a restricted table. `column` names
    another column to check, such as the run of a staged row.
    """
    try:
        trees = _parse(sql)
    except sqlglot.errors.SqlglotError as error:
        return [f"(unreadable: {type(error).__name__})"] if any(name in sql for name in tenants) else []
    return [table for tree in trees if tree is not None for table in Districts(tree, tenants, column).unbound()]


@lru_cache(maxsize=4)  # the same statement is looked at for several columns in a row
def _parse(sql: str) -> list[exp.Expr | None]:
    return sqlglot.parse(sql, dialect="postgres", error_level=sqlglot.ErrorLevel.RAISE)


def _name(table: exp.Table) -> str:
    return table.name if table.db in ("", "public") else f"{table.db}.{table.name}"


def _statement_of(place: exp.Expr) -> exp.Expr | None:
    return place.find_ancestor(*STATEMENTS)


def _is_always_true(condition: exp.Expr) -> bool:
    """Returns whether a condition must be true for every row of its statement.

    It must be true if it is in WHERE or in a join, alone or as a part of an AND.
    """
    above = condition.parent
    while isinstance(above, CONJUNCTION):
        if isinstance(above, exp.Where | exp.Join):
            return True
        above = above.parent
    return False
