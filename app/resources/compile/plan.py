"""Builds plans. A plan is a selection's SQL statement, with its parameters and the work that remains for Python.

Plans are cached. Requests that differ only in their values, such as ids, share a plan, because the values are
parameters of the statement. Requests that set other filters, select other fields or have another value for a
true-or-false filter get other plans. Callers who have other scopes, or who may see other sets of students, also get
other plans. A full cache drops the plan that was used least recently.
"""

import asyncio
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any, cast

from sqlalchemy import select

from app.access.permission import Can
from app.access.principal import Principal
from app.resources.catalog import Catalog
from app.resources.compile.json_sql import DIALECT
from app.resources.compile.roots import permissions_of_root, root_of
from app.resources.compile.scope import CursorSlot, LinkSlot, Scope, ValueSlot
from app.resources.compile.structure import structure
from app.resources.declare import declaration
from app.resources.select import Path, Root, Style

MAX_PLANS = 512
MAX_BYTES = 10_000_000
"""The largest size in bytes of all texts that one statement returns, before their marks are replaced."""


@dataclass(frozen=True, slots=True)
class RootPlan:
    """The part of a plan for one list or row at the top of a selection (a root).

    `refused` lists the links that the caller may not read. `denied` is the permission that the caller lacks to read the
    list or row itself, or None.
    """

    binds: dict[Path, str]
    cursors: tuple[CursorSlot, ...]
    values: tuple[ValueSlot, ...]
    links: tuple[LinkSlot, ...]
    refused: tuple[tuple[Path, Can], ...]
    moved: tuple[Path, ...]
    denied: Can | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """A selection that has been compiled to one SQL statement.

    * `parameters` has the names of the statement's parameters, in order.
    * `constants` has the parameters whose values come from the resource declarations, not from the request.
    * `roots` has an entry for each list or row at the top of the selection.
    * `records` lists all kinds of records about students. The statement returns JSON text in which each record is
      marked with the index of its kind in this list. The kinds are written to the disclosure log.
    """

    sql: str
    parameters: tuple[str, ...]
    constants: dict[str, Any]
    records: tuple[str, ...]
    roots: tuple[RootPlan, ...]
    requires: tuple[Can, ...]


class Plans:
    """A cache of compiled plans (see `Plan`). A full cache drops the plan that was used least recently."""

    def __init__(self, most: int = MAX_PLANS) -> None:
        self._most = most
        self._kept: OrderedDict[Any, Plan] = OrderedDict()

    async def plan(self, catalog: Catalog, roots: tuple[Root, ...], principal: Principal, style: Style) -> Plan:
        """Returns the plan for these lists and rows (roots) and this caller, from the cache or newly compiled.

        A plan is compiled in a thread, because thirty lists in one request take over a tenth of a second.
        """
        caller = (principal.reach, principal.names_students, principal.scopes)
        key = (tuple(structure(root) for root in roots), caller, style, id(catalog))
        plan = self._kept.get(key)
        if plan is None:
            plan = await asyncio.to_thread(compile_plan, catalog, roots, principal, style)
            self._kept[key] = plan
            if len(self._kept) > self._most:
                self._kept.popitem(last=False)
        else:
            self._kept.move_to_end(key)
        return plan


def compile_plan(catalog: Catalog, roots: tuple[Root, ...], principal: Principal, style: Style) -> Plan:
    """Compiles lists and rows (roots) into one statement. It has one column for each root that the caller may read."""
    records = records_of(catalog)
    columns: list[Any] = []
    plans: list[RootPlan] = []
    required: list[Can] = []
    for place, root in enumerate(roots):
        scope = Scope(catalog, style, principal, records, prefix=f"r{place}_")
        permissions = permissions_of_root(scope, root)
        denied = scope.missing(permissions)
        if denied is None:
            required += permissions
            columns.append(root_of(scope, root).label(f"r{place}"))
        plans.append(
            RootPlan(
                {path: bind.key for path, bind in scope.binds.items()},
                tuple(scope.cursors),
                tuple(scope.values),
                tuple(scope.links),
                tuple(scope.refused),
                tuple(scope.moved),
                denied,
            )
        )
    if not columns:
        return Plan("", (), {}, records, tuple(plans), ())
    # Each value of a declared `IN` list gets its own parameter now, because the driver executes the statement directly.
    compiled = select(*columns).compile(dialect=DIALECT, compile_kwargs={"render_postcompile": True})
    parameters = tuple(cast("list[str]", compiled.positiontup))
    constants = {name: value for name, value in compiled.params.items() if value is not None}
    sql = _of_bounded_size(str(compiled), [column.name for column in columns])
    return Plan(sql, parameters, constants, records, tuple(plans), tuple(dict.fromkeys(required)))


def _of_bounded_size(sql: str, names: list[str]) -> str:
    """Returns the statement with the size of its texts in bytes as its first column. Too long texts are not sent.

    Rows have texts of up to 8,000 characters each, so that ten thousand rows could take the memory of the process. The
    texts are sent as bytes, because decoding them would take their memory once or several times more.
    """
    size = " + ".join(f"coalesce(octet_length(answer.{name}), 0)" for name in names)
    texts = ", ".join(
        f"CASE WHEN sized.size <= {MAX_BYTES} THEN convert_to(answer.{name}, 'UTF8') END AS {name}" for name in names
    )
    bounded = f"SELECT sized.size, {texts} FROM ({sql} OFFSET 0) AS answer"  # noqa: S608  # only our own names
    return f"{bounded} CROSS JOIN LATERAL (SELECT {size} AS size) AS sized"


def records_of(catalog: Catalog) -> tuple[str, ...]:
    """Returns all kinds of record that the disclosure log can name, in a fixed order."""
    kinds = {declaration(resource).discloses for resource in catalog.resources}
    return tuple(sorted(name for name in kinds if name is not None))
