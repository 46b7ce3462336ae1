"""Explains reads instead of running them: the statement, its plan, the required permissions and the disclosed records.

Within an `explaining` block, `run.read` runs EXPLAIN in place of each statement and returns null as the response, so
that nothing is disclosed.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from app.access.permission import Can
from app.access.work import Work
from app.resources.catalog import Catalog
from app.resources.declare import declaration
from app.resources.members import ManyMember, OneMember
from app.resources.select import ListRoot, Pick, Picks, ResourceType, Root, parts_with_rows


@dataclass(frozen=True)
class Explanation:
    """The explanation of one statement.

    It has the SQL with the values of its parameters, the plan as text, the permissions that the read requires, and the
    kinds of records about students that it can show.
    """

    sql: str
    parameters: tuple[Any, ...]
    plan: str
    requires: tuple[Can, ...]
    discloses: tuple[str, ...]


_explanations: ContextVar[list[Explanation] | None] = ContextVar("_explanations", default=None)


@contextmanager
def explaining() -> Iterator[list[Explanation]]:
    """Makes `run.read` explain its statements instead of running them, until the block ends.

    Yields a list, to which `run.read` adds the explanations.
    """
    explanations: list[Explanation] = []
    token = _explanations.set(explanations)
    try:
        yield explanations
    finally:
        _explanations.reset(token)


def open_explanations() -> list[Explanation] | None:
    """Returns the list that collects the explanations, or None outside of an `explaining` block."""
    return _explanations.get()


async def plan_of(work: Work, sql: str, parameters: tuple[Any, ...]) -> str:
    """Returns PostgreSQL's plan of a statement as text, without executing the statement."""
    connection = await work.db.connection()
    rows = await connection.exec_driver_sql(f"EXPLAIN {sql}", parameters)
    return "\n".join(row[0] for row in rows)


def disclosed_kinds(catalog: Catalog, roots: Sequence[Root]) -> tuple[str, ...]:
    """Returns the kinds of records about students that these selected lists and rows can show, sorted."""
    kinds: set[str] = set()
    for root in roots:
        if not isinstance(root, ListRoot):
            kinds |= set(_kinds(catalog, root.resource, root.picks))
            continue
        resource = catalog.listings[root.listing].resource
        for picks in [root.picks] if root.page is None else [picks for _, picks in parts_with_rows(root.page)]:
            kinds |= set(_kinds(catalog, resource, picks))
    return tuple(sorted(kinds))


def _kinds(catalog: Catalog, resource: ResourceType, picks: Picks) -> Iterator[str]:
    if (kind := declaration(resource).discloses) is not None:
        yield kind
    for pick in picks:
        if not isinstance(pick, Pick):
            continue
        member = catalog.member(resource, pick.member)
        if isinstance(member, OneMember | ManyMember):
            if pick.picks:
                yield from _kinds(catalog, member.target, pick.picks)
            if pick.page is not None:
                for _, inner in parts_with_rows(pick.page):
                    yield from _kinds(catalog, member.target, inner)
