"""Serves a student's story in REST: the student with all enrollments, concerns, supports, scores and decisions.

The route is written by hand, because the response shows the student's links next to the student object, not inside it.
"""

from fastapi import APIRouter, Response
from pydantic import Field

from app.catalog import CATALOG
from app.core.errors import NotFound
from app.resources.members import ManyMember
from app.resources.select import Pick, RowRoot
from app.rest.derived.selection import Tree, picks_of
from app.rest.derived.shapes import make_model
from app.rest.door import OpenWork, StudentPath, requires
from app.rest.resources import READER, SHAPES
from app.rest.route import Route
from app.roster.resource import StudentResource

LINKS: dict[str, ManyMember] = {
    name: link
    for name in ("enrollments", "concerns", "supports", "scores", "decisions")
    if isinstance(link := CATALOG.member(StudentResource, name), ManyMember)
}
"""The links of a student that the story shows, by name."""
FIELDS = {name: (list[SHAPES.of(link.target)], Field(description=link.description)) for name, link in LINKS.items()}  # type: ignore[misc]  # made at run time
STUDENT_FIELD = (SHAPES.of(StudentResource), Field(description="The student."))
STORY = make_model("Story", "Everything that the service has about one student.", {"student": STUDENT_FIELD, **FIELDS})
STUDENT = picks_of(SHAPES, StudentResource, {})
EXPANDED: dict[str, Tree] = {"supports": {"measure_verdicts": {}}}
"""The links that the story expands within its rows: for each support, the verdicts on its measures."""
PICKS = tuple(Pick(name, name, picks_of(SHAPES, link.target, EXPANDED.get(name, {}))) for name, link in LINKS.items())
SCOPES = {
    can for part in (StudentResource, *(link.target for link in LINKS.values())) for can in READER.permissions(part)
}
router = APIRouter(prefix="/v1", tags=["decisions"], route_class=Route)


@router.get(
    "/students/{student}/story",
    operation_id="get_story",
    tags=["roster"],
    response_model=STORY,
    **requires(scopes=SCOPES),
)
async def get_story(work: OpenWork, student: StudentPath) -> Response:
    """Returns a student with all enrollments, concerns, supports, scores and decisions, read in one statement.

    Each support has the verdict in force on each of its measures (`measure_verdicts`).
    """
    row_id = await READER.find(work, StudentResource, student)
    row, links = await READER.read(work, *(RowRoot("", StudentResource, row_id, picks) for picks in (STUDENT, PICKS)))
    if row.text == b"null":
        raise NotFound("student")
    return Response(b'{"student":%b,%b' % (row.text, links.text[1:]), media_type="application/json")
