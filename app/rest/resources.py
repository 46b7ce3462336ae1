"""Lists the reads that REST derives from the declared resources, with the path, operation and tag of each."""

from fastapi import APIRouter

from app.catalog import CATALOG
from app.concern.resource import ConcernResource
from app.decision.resource import DecisionResource
from app.evidence.resource import ScoreChangeResource, ScoreResource
from app.gradebook.resource import AssessmentResultResource, LineItemResource, ResultResource
from app.playbook.resource import AreaResource, LevelResource, MeasureResource
from app.resources.select import ResourceType
from app.response.resource import CalibrationResource, VerdictResource
from app.rest.derived.answer import Reader
from app.rest.derived.routes import add_link, add_list, add_row
from app.rest.derived.shapes import Shapes
from app.rest.route import Route
from app.roster.resource import DemographicsResource, EnrollmentResource, StaffResource, StudentResource
from app.roster.schools import BreakResource, ClassResource, ExternalIdResource, SchoolResource
from app.sis.runs.plans.resource import PlannedChangeResource
from app.sis.runs.resource import RunResource
from app.support.delivery import SessionChangeResource, SessionResource
from app.support.resource import PhaseResource, SupportResource

SERVED: tuple[ResourceType, ...] = (
    ExternalIdResource,
    SchoolResource,
    ClassResource,
    BreakResource,
    StudentResource,
    StaffResource,
    EnrollmentResource,
    DemographicsResource,
    ResultResource,
    AssessmentResultResource,
    LineItemResource,
    AreaResource,
    LevelResource,
    MeasureResource,
    ConcernResource,
    SupportResource,
    PhaseResource,
    SessionResource,
    SessionChangeResource,
    ScoreResource,
    ScoreChangeResource,
    VerdictResource,
    CalibrationResource,
    DecisionResource,
    PlannedChangeResource,
)
"""The resources that REST shows; a link to any other resource is left out."""

LISTS = (
    ("students", "list_students", "roster"),
    ("staff", "list_staff", "roster"),
    ("schools", "list_schools", "roster"),
    ("classes", "list_classes", "roster"),
    ("breaks", "list_breaks", "roster"),
    ("areas", "list_areas", "playbook"),
    ("levels", "list_levels", "playbook"),
    ("measures", "list_measures", "playbook"),
    ("concerns", "list_concerns", "concerns"),
    ("supports", "list_supports", "supports"),
    ("scores", "list_scores", "scores"),
    ("calibrations", "list_calibrations", "verdicts"),
    ("decisions", "list_decisions", "decisions"),
)
"""The lists, each with its name (which is its path), operation and tag."""

ROWS: tuple[tuple[ResourceType, str, str, str], ...] = (
    (StudentResource, "students/{student}", "get_student", "roster"),
    (StaffResource, "staff/{person}", "get_staff", "roster"),
    (SchoolResource, "schools/{school}", "get_school", "roster"),
    (ClassResource, "classes/{class_}", "get_class", "roster"),
    (ConcernResource, "concerns/{concern}", "get_concern", "concerns"),
    (SupportResource, "supports/{support}", "get_support", "supports"),
    (ScoreResource, "scores/{score}", "get_score", "scores"),
    (VerdictResource, "verdicts/{verdict}", "get_verdict", "verdicts"),
    (DecisionResource, "decisions/{decision}", "get_decision", "decisions"),
)
"""The reads of one row, each with its resource, path, operation and tag."""

LINKS: tuple[tuple[ResourceType, str, str, str, str], ...] = (
    (StudentResource, "demographics", "students/{student}/demographics", "get_demographics", "roster"),
    (StudentResource, "results", "students/{student}/results", "list_results_of_student", "grades"),
    (
        StudentResource,
        "assessment_results",
        "students/{student}/assessment-results",
        "list_assessment_results_of_student",
        "grades",
    ),
    (ClassResource, "line_items", "classes/{class_}/line-items", "list_line_items", "grades"),
    (SupportResource, "sessions", "supports/{support}/sessions", "list_sessions", "sessions"),
    (SupportResource, "verdict", "supports/{support}/verdict", "get_verdict_now", "verdicts"),
    (SupportResource, "verdicts", "supports/{support}/verdicts", "list_verdicts", "verdicts"),
    (RunResource, "planned_changes", "sync-runs/{run}/planned-changes", "list_planned_changes", "sync"),
)
"""The reads of the rows that a link leads to, each with its resource, link, path, operation and tag."""

SHAPES = Shapes(CATALOG, SERVED)
READER = Reader(SHAPES)
router = APIRouter(prefix="/v1", route_class=Route)
for _listing, _operation, _tag in LISTS:
    _path = f"/{_listing.replace('_', '-')}"
    add_list(router, READER, CATALOG.listings[_listing], path=_path, operation=_operation, tag=_tag)
for _resource, _path, _operation, _tag in ROWS:
    add_row(router, READER, _resource, path=f"/{_path}", operation=_operation, tag=_tag)
add_row(
    router,
    READER,
    SessionResource,
    path="/sessions/{session}",
    operation="get_session",
    tag="sessions",
    always=("changes",),
)
for _resource, _link, _path, _operation, _tag in LINKS:
    add_link(router, READER, _resource, _link, path=f"/{_path}", operation=_operation, tag=_tag)
