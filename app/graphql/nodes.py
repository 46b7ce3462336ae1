"""Owns `node(id)`: which read stands behind each prefix. Holds no rule."""

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
from app.graphql.door import Info, OperationContext, asks
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


def _row(read: Callable[[Work, UUID], Awaitable[Any]], shape: Callable[[Any], Node]) -> Find:
    async def find(asked: OperationContext, row_id: UUID) -> Node | None:
        row = await asked.found(read, row_id)
        return None if row is None else shape(row)

    return find


FINDS: dict[str, Find] = {
    "student": student_of,
    "person": staff_of,
    "org": school_of,
    "class": class_of,
    "area": area_of,
    "level": level_of,
    "measure": measure_of,
    "concern": _row(concern, Concern.of),
    "support": _row(support, Support.of),
    "phase": _row(phase, Phase.of),
    "session": _row(session, Session.of),
    "score": _row(score, Score.of),
    "verdict": _row(verdict, Verdict.of),
    "decision": _row(decision, Decision.of),
}
"""The read behind each kind of id; an id of another kind is no node."""


@strawberry.type
class NodeQueries:
    """Relay's part of the query root."""

    @asks(
        "Whatever has this id; null for what is not there, or not this caller's to see. Of the permissions, "
        "it asks for the one that reading a thing of its kind asks for.",
        find_student,
        areas,
        *(concern, support, phase, session, score, verdict, decision),
    )
    async def node(self, info: Info, id: strawberry.ID) -> Node | None:
        try:
            kind, row_id = ids.parse(id)
        except Invalid:
            return None
        find = FINDS.get(kind)
        return None if find is None else await find(info.context, row_id)
