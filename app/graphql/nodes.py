"""Implements `node(id)`, with the read for each prefix of an id. It contains no rules."""

from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID

import strawberry

from app.access.work import Work
from app.concern.queries import concern
from app.core import ids
from app.core.errors import Invalid
from app.decision.queries import decision
from app.evidence.queries import score
from app.graphql.concern import Concern
from app.graphql.decision import Decision
from app.graphql.door import Info, OperationContext, guarded_field
from app.graphql.evidence import Score
from app.graphql.node import Node
from app.graphql.playbook import area_of, level_of, measure_of
from app.graphql.response import Verdict
from app.graphql.roster import student_of
from app.graphql.school import class_of, school_of, staff_of
from app.graphql.session import Session
from app.graphql.support import Phase, Support
from app.playbook.queries import areas
from app.response.queries import verdict
from app.roster.queries import find_student
from app.support.queries import phase, session, support

Find = Callable[[OperationContext, UUID], Awaitable[Node | None]]


def _node_reader(read: Callable[[Work, UUID], Awaitable[Any]], shape: Callable[[Any], Node]) -> Find:
    async def find(context: OperationContext, row_id: UUID) -> Node | None:
        row = await context.read_or_none(read, row_id)
        return None if row is None else shape(row)

    return find


FINDERS: dict[str, Find] = {
    "student": student_of,
    "person": staff_of,
    "org": school_of,
    "class": class_of,
    "area": area_of,
    "level": level_of,
    "measure": measure_of,
    "concern": _node_reader(concern, Concern.of),
    "support": _node_reader(support, Support.of),
    "phase": _node_reader(phase, Phase.of),
    "session": _node_reader(session, Session.of),
    "score": _node_reader(score, Score.of),
    "verdict": _node_reader(verdict, Verdict.of),
    "decision": _node_reader(decision, Decision.of),
}
"""The read function for each kind of id; ids of other kinds are ids of no node."""


@strawberry.type
class NodeQueries:
    """The query of Relay's Node."""

    @guarded_field(
        "The object with this id; null if it does not exist or the caller may not see it. Of the listed "
        "permissions, it needs only the one for reading objects of its type.",
        find_student,
        areas,
        *(concern, support, phase, session, score, verdict, decision),
    )
    async def node(self, info: Info, id: strawberry.ID) -> Node | None:
        try:
            kind, row_id = ids.parse_any_id(id)
        except Invalid:
            return None
        find = FINDERS.get(kind)
        return None if find is None else await find(info.context, row_id)
