"""Owns what every statement of the product must show: the district, on each tenant table that it reads or writes.

A small reader of SQL, not a parser: it finds the tables of FROM, JOIN, UPDATE, USING and INTO, the scopes that
parentheses and set operations make, and the equalities on `district_id`; a table is bound when such an equality
leads, directly or over other tables of the statement, to a value.
"""

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field

TOKEN = re.compile(r"'(?:[^']|'')*'|\"[^\"]+\"|[A-Za-z_][\w$]*|\$\d+|::|[^\s]")
COMMENT = re.compile(r"--[^\n]*|/\*.*?\*/", re.DOTALL)
OPENS = {"select", "with", "insert", "update", "delete", "merge", "values"}
NO_ALIAS = {
    *("on", "using", "where", "set", "join", "inner", "left", "right", "full", "cross", "natural", "lateral"),
    *("group", "order", "having", "limit", "offset", "for", "union", "except", "intersect", "returning", "values"),
    *("select", "window", "tablesample", "default", "overriding", "when", "with", "fetch", "as", "materialized"),
}
CLAUSES = {"select", "from", "where", "set", "group", "order", "returning", "values", "by", "limit", "with", "having"}
DISTRICT = "district_id"
VALUE = "<value>"


@dataclass
class Scope:
    """A SELECT, UPDATE, INSERT, DELETE, or one side of a set operation; tables by alias."""

    above: "Scope | None"
    tables: dict[str, str] = field(default_factory=dict)
    nodes: dict[str, str] = field(default_factory=dict)

    def find(self, alias: str) -> str:
        """The node of an alias here or above; what is no tenant table counts as a value."""
        if alias in self.nodes:
            return self.nodes[alias]
        return self.above.find(alias) if self.above else VALUE


class Reader:
    """Reads one statement."""

    def __init__(self, sql: str, tenants: Collection[str]) -> None:
        self.tokens = [_plain(token) for token in TOKEN.findall(COMMENT.sub(" ", sql))]
        self.tenants = tenants
        self.nodes: list[str] = []
        self.unlisted: list[str] = []
        self.equal: dict[str, str] = {}

    def unbound(self) -> list[str]:
        """The tenant tables whose district is not bound, each as `table alias`."""
        scopes = self._scopes()
        last: list[str] = []
        for place, scope in enumerate(scopes):
            last = self._read_table(place, scope, last)
        for place, scope in enumerate(scopes):
            self._read_equality(place, scope)
        return self.unlisted + [node.split("#")[0] for node in self.nodes if self._root(node) != VALUE]

    def _scopes(self) -> list[Scope]:
        """The scope of each token."""
        scope, stack, found = Scope(None), [], []
        for place, token in enumerate(self.tokens):
            if token == "(":
                stack.append(scope)
                if self._at(place + 1).lower() in OPENS:
                    scope = Scope(scope)
            elif token == ")" and stack:
                scope = stack.pop()
            elif token.lower() in ("union", "except", "intersect"):
                scope = Scope(scope.above)
            found.append(scope)
        return found

    def _read_table(self, place: int, scope: Scope, last: list[str]) -> list[str]:
        """Notes the table that a keyword or a comma of a FROM list introduces; gives the tables of this list."""
        word, before = self._at(place).lower(), self._at(place - 1).lower()
        if word == "from" and before == "distinct":
            return last
        if word in ("from", "join", "update", "into") or (word == "using" and self._at(place + 1) != "("):
            if word == "update" and before in ("for", "key", "do"):
                return last
            if word == "into" and before == "insert":
                self._read_target(place + 1)
                return []
            return [*(last if word in ("join", "using") else []), *self._note(place + 1, scope)]
        if word == "," and self._clause(place) == "from":
            return [*last, *self._note(place + 1, scope)]
        if word == "using" and len(last) > 1 and DISTRICT in self._group(place + 1):
            self._join(last[-1], last[-2])
        return last

    def _read_target(self, place: int) -> None:
        table, place = self._name(place)
        if table in self.tenants:
            while self._at(place) not in ("(", "") and self._at(place).lower() not in ("select", "values"):
                place += 1
            if DISTRICT not in self._group(place):
                self.unlisted.append(f"{table} (inserted without its district)")

    def _note(self, place: int, scope: Scope) -> list[str]:
        while self._at(place).lower() in ("only", "lateral"):
            place += 1
        table, place = self._name(place)
        if self._at(place) in (".", "("):
            return []
        if self._at(place).lower() == "as":
            place += 1
        following = self._at(place)
        alias = following if re.match(r"[A-Za-z_]", following) and following.lower() not in NO_ALIAS else table
        scope.tables[alias] = table
        if table not in self.tenants:
            scope.nodes[alias] = VALUE
            return []
        node = f"{table} {alias}#{len(self.nodes)}"
        scope.nodes[alias] = node
        self.nodes.append(node)
        return [node]

    def _read_equality(self, place: int, scope: Scope) -> None:
        if self._at(place) != DISTRICT or self._clause(place) == "set":
            return
        mine = self._node_at(place, scope)
        if mine is None:
            return
        left = place - 2 if self._at(place - 1) == "." else place
        if self._at(place + 1) == "=":
            self._join(mine, self._side(place + 2, scope))
            return
        listed = self._at(place + 1).lower() == "in" and self._at(place + 2) == "("
        reversed_ = self._at(left - 1) == "=" and self._at(left - 2) != DISTRICT
        if listed or reversed_:
            self._join(mine, VALUE)

    def _side(self, place: int, scope: Scope) -> str:
        """What stands on the right of an equality: another table's district, or a value."""
        for at in (place, place + 2):
            if self._at(at) == DISTRICT:
                return self._node_at(at, scope) or VALUE
        return VALUE

    def _node_at(self, place: int, scope: Scope) -> str | None:
        if self._at(place - 1) == ".":
            return scope.find(self._at(place - 2))
        here = [node for node in scope.nodes.values() if node != VALUE]
        return here[0] if len(here) == 1 else None

    def _clause(self, place: int) -> str:
        """The keyword of the clause in which a token stands: back to it at the same depth."""
        depth = 0
        for at in range(place - 1, -1, -1):
            token = self._at(at).lower()
            depth += token == ")"
            depth -= token == "("
            if depth < 0:
                return ""
            if depth == 0 and token in CLAUSES and not (token == "from" and self._at(at - 1).lower() == "distinct"):
                return token
        return ""

    def _group(self, place: int) -> Iterator[str]:
        """The tokens of the parenthesis that opens here."""
        if self._at(place) != "(":
            return
        depth = 0
        for at in range(place, len(self.tokens)):
            depth += self._at(at) == "("
            depth -= self._at(at) == ")"
            yield self._at(at)
            if depth == 0:
                return

    def _name(self, place: int) -> tuple[str, int]:
        """A table's name and the place after it; another schema's table has its schema before it."""
        if self._at(place + 1) == ".":
            schema = self._at(place)
            name = self._at(place + 2)
            return (name if schema == "public" else f"{schema}.{name}"), place + 3
        return self._at(place), place + 1

    def _join(self, one: str, other: str) -> None:
        a, b = self._root(one), self._root(other)
        if a != b:
            first, second = (a, b) if b == VALUE else (b, a)
            self.equal[first] = second

    def _root(self, node: str) -> str:
        while node in self.equal:
            node = self.equal[node]
        return node

    def _at(self, place: int) -> str:
        return self.tokens[place] if 0 <= place < len(self.tokens) else ""


def unbound(sql: str, tenants: Collection[str]) -> list[str]:
    """The tenant tables of a statement whose district is neither bound nor joined to one that is."""
    return Reader(sql, tenants).unbound()


def _plain(token: str) -> str:
    if token.startswith('"'):
        return token[1:-1]
    return token
