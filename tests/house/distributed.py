"""Finds the parts of a statement that Citus does not accept, in the query tree that PostgreSQL makes of it.

In a statement that writes:

* RETURNING, ON CONFLICT, CASE and COALESCE may contain no STABLE or VOLATILE function.
* No STABLE or VOLATILE function may be applied to a column.
* Conditions and WITH queries may contain no VOLATILE function.

In any statement, a query may contain no correlated subquery if it reads a reference table (a table of which every node
has a copy).
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import asyncpg

from tests.house.catalogue import ON_EVERY_NODE
from tests.house.query_tree import Node, analysed

WRITES = {"2": "UPDATE", "3": "INSERT", "4": "DELETE", "5": "MERGE"}
OPERATORS = {"OPEXPR", "DISTINCTEXPR", "NULLIFEXPR", "SCALARARRAYOPEXPR"}
TYPE_FIELDS = ("vartype", "paramtype", "consttype", "funcresulttype", "opresulttype", "coalescetype", "resulttype")
IMMUTABLE = "i"
VOLATILE = "v"


@dataclass
class Catalogue:
    """The properties of functions, operators, types and tables, keyed by the object ids in PostgreSQL's query trees."""

    volatility: Mapping[str, str]
    names: Mapping[str, str]
    operators: Mapping[str, str]
    type_io: Mapping[str, tuple[str, str]]
    relations: Mapping[str, str]

    def mutable(self, node: Node) -> Iterator[tuple[str, str]]:
        """Yields the name and the volatility of each function of a node, except for functions that are IMMUTABLE."""
        for function in self._functions(node):
            volatility = self.volatility.get(function, VOLATILE)
            if volatility != IMMUTABLE:
                yield f"{self.names.get(function, function)}()", volatility
        if node.kind == "SQLVALUEFUNCTION":
            yield "CURRENT_TIMESTAMP or its like", "s"
        elif node.kind == "NEXTVALUEEXPR":
            yield "nextval()", VOLATILE

    def _functions(self, node: Node) -> Iterator[str]:
        if node.kind == "FUNCEXPR":
            yield node.text("funcid")
        elif node.kind in OPERATORS:
            yield self.operators[node.text("opno")]
        elif node.kind == "COERCEVIAIO":
            yield self.type_io[node.text("resulttype")][0]
            for argument in node.children("arg"):
                types = [argument.text(name) for name in TYPE_FIELDS if argument.text(name)]
                yield from (self.type_io[one][1] for one in types[:1] if one in self.type_io)


async def read_catalogue(db: asyncpg.Connection) -> Catalogue:
    """Reads the description of the tables from the database once, so that many statements can be checked with it."""
    functions = await db.fetch("SELECT oid::text AS id, provolatile::text AS v, proname::text AS name FROM pg_proc")
    operators = await db.fetch("SELECT oid::text AS id, oprcode::oid::text AS function FROM pg_operator")
    types = await db.fetch("SELECT oid::text AS id, typinput::oid::text AS i, typoutput::oid::text AS o FROM pg_type")
    relations = await db.fetch(
        "SELECT oid::text AS id, relname::text AS name FROM pg_class WHERE relnamespace = 'public'::regnamespace"
    )
    return Catalogue(
        {row["id"]: row["v"] for row in functions},
        {row["id"]: row["name"] for row in functions},
        {row["id"]: row["function"] for row in operators},
        {row["id"]: (row["i"], row["o"]) for row in types},
        {row["id"]: row["name"] for row in relations},
    )


async def find_unsuitable(db: asyncpg.Connection, catalogue: Catalogue, sql: str) -> list[str]:
    """Returns the parts of a statement that Citus would refuse."""
    trees = await analysed(db, sql)
    return [finding for tree in trees for finding in _unsuitable_parts(tree, catalogue)]


def _unsuitable_parts(query: Node, catalogue: Catalogue) -> list[str]:
    """Returns the parts of an analysed query, and of the queries within it, that Citus would refuse."""
    findings = [*_correlated(query, catalogue)]
    if query.text("commandType") in WRITES:
        findings += _in_write(query, catalogue)
    for inner in _queries(query):
        findings += _unsuitable_parts(inner, catalogue)
    return findings


def _in_write(query: Node, catalogue: Catalogue) -> Iterator[str]:
    for node in query.within("returningList"):
        yield from (f"{name} in RETURNING" for name, _ in catalogue.mutable(node))
    for conflict in query.children("onConflict"):
        for node in conflict.within("onConflictSet", "onConflictWhere"):
            yield from (f"{name} in ON CONFLICT" for name, _ in catalogue.mutable(node))
    for node in query.within("targetList", "jointree"):
        for name, volatility in catalogue.mutable(node):
            if volatility == VOLATILE and query.text("commandType") != "3":
                yield f"{name} is VOLATILE"
            if any(one.kind == "VAR" for one in node.within()):
                yield f"{name} is applied to a column"
        if node.kind in ("CASEEXPR", "COALESCEEXPR"):
            where = node.kind.removesuffix("EXPR")
            yield from (f"{name} in {where}" for one in node.within() for name, _ in catalogue.mutable(one))
    for cte in query.children("cteList"):
        for inner in cte.children("ctequery"):
            for node in inner.within("targetList", "jointree"):
                names = [name for name, volatility in catalogue.mutable(node) if volatility == VOLATILE]
                yield from (f"{name} is VOLATILE in WITH" for name in names)


def _correlated(query: Node, catalogue: Catalogue) -> Iterator[str]:
    tables = {catalogue.relations.get(entry.text("relid"), "") for entry in query.children("rtable")}
    shared = sorted(tables & set(ON_EVERY_NODE))
    if not shared:
        return
    for node in query.within("targetList", "jointree", "havingQual", "returningList"):
        if node.kind == "SUBLINK" and any(_reaches_out(inner, 1) for inner in node.children("subselect")):
            yield f"a correlated subquery next to {', '.join(shared)}"


def _reaches_out(query: Node, depth: int) -> bool:
    """Returns whether a query uses a column of the query that is `depth` levels above it."""
    own = [node for node in query.within(*query.fields) if node.kind == "VAR"]
    if any(int(node.text("varlevelsup") or 0) == depth for node in own):
        return True
    return any(_reaches_out(inner, depth + 1) for inner in _queries(query))


def _queries(node: Node) -> Iterator[Node]:
    """Yields the queries directly within a query: those in its WITH clause, its FROM clause and its expressions."""
    for child in node.children():
        if child.kind == "QUERY":
            yield child
        else:
            yield from _queries(child)
