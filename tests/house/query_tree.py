"""Parses PostgreSQL's own analysed tree of a statement, as `debug_print_rewritten` prints it."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

import asyncpg

TOKENS = re.compile(r"[{}()]|(?:\\.|[^\s{}()\\])+")
Value = "Node | list[Value] | str"


@dataclass
class Node:
    """A node of a query tree as PostgreSQL prints it: its kind, and the values of each field in order."""

    kind: str
    fields: dict[str, list[object]] = field(default_factory=dict)

    def text(self, name: str) -> str:
        """Returns the printed value of a field, or an empty text if there is no such field."""
        values = self.fields.get(name, [])
        return str(values[0]) if values and values[0] != "<>" else ""

    def children(self, *names: str) -> Iterator["Node"]:
        """Yields the child nodes in the fields `names` of this node, or in all of its fields if no name is given."""
        for name in names or tuple(self.fields):
            yield from _nodes(self.fields.get(name, []))

    def within(self, *names: str) -> Iterator["Node"]:
        """Yields this node and the nodes below it, without the nodes of inner queries.

        If names are given, yields only the nodes below the fields with these names.
        """
        if not names:
            yield self
        for child in self.children(*names):
            if child.kind != "QUERY":
                yield from child.within()


def _nodes(values: list[object]) -> Iterator[Node]:
    for value in values:
        if isinstance(value, Node):
            yield value
        elif isinstance(value, list):
            yield from _nodes(value)


def parse(printed: str) -> Node:
    """Returns the root node of a query tree from PostgreSQL's printed form."""
    tokens = iter(TOKENS.findall(printed))
    (query,) = _nodes(_list(tokens))
    return query


def _list(tokens: Iterator[str]) -> list[object]:
    values: list[object] = []
    for token in tokens:
        if token in ")}":
            return values
        values.append(_node(tokens) if token == "{" else _list(tokens) if token == "(" else token)
    return values


def _node(tokens: Iterator[str]) -> Node:
    kind, *rest = _list(tokens)
    node = Node(str(kind))
    values: list[object] = []
    for value in rest:
        if isinstance(value, str) and value.startswith(":"):
            values = node.fields.setdefault(value[1:], [])
        else:
            values.append(value)
    return node


async def analysed(db: asyncpg.Connection, sql: str) -> list[Node]:
    """Returns the tree of each query that PostgreSQL analyses when it prepares a statement. The statement is not
    executed.
    """
    printed: list[str] = []

    def keep(_connection: object, message: asyncpg.PostgresLogMessage) -> None:
        if str(message.message).startswith("rewritten parse tree"):
            printed.append(str(message.detail))

    db.add_log_listener(keep)
    try:
        await db.execute("SET debug_pretty_print = off; SET debug_print_rewritten = on; SET client_min_messages = log")
        printed.clear()
        await db.execute(f"PREPARE looked_at AS {sql}")
    finally:
        db.remove_log_listener(keep)
        await db.execute("RESET client_min_messages; RESET debug_print_rewritten; RESET debug_pretty_print")
    await db.execute("DEALLOCATE looked_at")
    trees = [parse(text) for text in printed]
    return [tree for tree in trees if not any(node.kind == "PREPARESTMT" for node in tree.within())]
