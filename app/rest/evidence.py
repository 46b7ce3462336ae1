"""Serves the changes of a score in REST."""

from typing import Literal

from fastapi import APIRouter
from pydantic import Field

from app.evidence import queries
from app.evidence.resource import ScoreChangeResource, ScoreResource
from app.rest.door import OpenWork, requires, row_id
from app.rest.pages import Shape
from app.rest.resources import SHAPES
from app.rest.route import Route

router = APIRouter(prefix="/v1", tags=["scores"], route_class=Route)
SCORE, CHANGE = SHAPES.of(ScoreResource), SHAPES.of(ScoreChangeResource)
Outcome = Literal["recorded", "amended", "unchanged", "refused"]


class ScoreChanges(Shape):
    """All changes of a score."""

    items: list[CHANGE] = Field(description="The changes, oldest first.")  # type: ignore[valid-type]  # made at run time


@router.get("/scores/{score}/changes", operation_id="list_score_changes", **requires(queries.changes_of))
async def list_score_changes(work: OpenWork, score: str) -> ScoreChanges:
    """Lists the changes of a score, oldest first, with the author, the reason and the values before each change.

    The changes of a removed score are listed too.
    """
    rows = await queries.changes_of(work, row_id("score", score))
    return ScoreChanges(items=[SHAPES.render(ScoreChangeResource, row) for row in rows])
