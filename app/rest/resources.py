"""Lists the read routes that are generated from declared resources, and adds the routes of declared commands."""

from fastapi import APIRouter

from app.action.resource import ActionItemResource
from app.agenda.resource import AgendaItemResource
from app.calendar.resource import CalendarLinkResource
from app.catalog import CATALOG
from app.concern.resource import ConcernResource
from app.decision.resource import DecisionResource
from app.evidence.attendance.resource import AttendanceRecordResource
from app.evidence.resource import ScoreChangeResource, ScoreResource
from app.evidence.screening.resource import ScreeningExpectationResource, ScreeningWindowResource
from app.gradebook.resource import AssessmentResultResource, LineItemResource, ResultResource
from app.group.resource import GroupMemberResource, GroupResource, GroupSessionResource
from app.hypothesis.resource import HypothesisResource
from app.incident.resource import IncidentKindResource, IncidentResource
from app.intervention.resource import InterventionResource
from app.meeting.resource import MeetingResource, MeetingSeriesResource, ProtocolResource
from app.note.resource import NoteChangeResource, NoteResource
from app.playbook.hypotheses.resource import HypothesisKindResource
from app.playbook.resource import AreaResource, BenchmarkResource, LevelResource, MeasureResource
from app.playbook.structure.resource import PlaybookVersionResource
from app.resources.select import ResourceType
from app.response.resource import CalibrationResource, VerdictResource
from app.rest.derived.answer import Reader
from app.rest.derived.commands import Commands
from app.rest.derived.routes import add_link, add_list, add_row
from app.rest.derived.shapes import Shapes
from app.rest.route import Route
from app.roster.resource import DemographicsResource, EnrollmentResource, StaffResource, StudentResource
from app.roster.schools import BreakResource, ClassResource, ExternalIdResource, SchoolResource, TermResource
from app.signal.core_stalls import CoreStallResource
from app.signal.resource import SignalResource
from app.signal.rule_resource import SignalRuleResource
from app.sis.runs.plans.resource import PlannedChangeResource
from app.sis.runs.resource import QuarantinedResource, RunResource, SourceResource, SyncChangeResource
from app.support.delivery import SessionChangeResource, SessionResource
from app.support.resource import (
    HandoverResource,
    PhaseGoalResource,
    PhaseResource,
    SupportMeasureResource,
    SupportResource,
)
from app.team.resource import TeamMemberResource, TeamResource, TeamScopeResource, TeamStudentResource
from app.webhooks.resource import AttemptResource, DeliveryResource, EndpointResource

SERVED: tuple[ResourceType, ...] = (
    ExternalIdResource,
    SchoolResource,
    ClassResource,
    TermResource,
    BreakResource,
    StudentResource,
    StaffResource,
    EnrollmentResource,
    DemographicsResource,
    TeamResource,
    TeamMemberResource,
    TeamScopeResource,
    TeamStudentResource,
    ProtocolResource,
    MeetingSeriesResource,
    MeetingResource,
    CalendarLinkResource,
    AgendaItemResource,
    ActionItemResource,
    ResultResource,
    AssessmentResultResource,
    LineItemResource,
    AreaResource,
    LevelResource,
    MeasureResource,
    BenchmarkResource,
    ScreeningWindowResource,
    ScreeningExpectationResource,
    SignalRuleResource,
    SignalResource,
    CoreStallResource,
    PlaybookVersionResource,
    ConcernResource,
    SupportResource,
    PhaseResource,
    SupportMeasureResource,
    PhaseGoalResource,
    SessionResource,
    SessionChangeResource,
    HandoverResource,
    GroupResource,
    GroupMemberResource,
    GroupSessionResource,
    ScoreResource,
    AttendanceRecordResource,
    IncidentResource,
    ScoreChangeResource,
    VerdictResource,
    CalibrationResource,
    DecisionResource,
    InterventionResource,
    HypothesisKindResource,
    IncidentKindResource,
    HypothesisResource,
    NoteResource,
    NoteChangeResource,
    PlannedChangeResource,
    EndpointResource,
    AttemptResource,
    DeliveryResource,
    SourceResource,
    RunResource,
    QuarantinedResource,
    SyncChangeResource,
)
"""The resources that REST shows; a link to any other resource is left out."""

LISTS = (
    ("students", "list_students", "roster"),
    ("staff", "list_staff", "roster"),
    ("schools", "list_schools", "roster"),
    ("classes", "list_classes", "roster"),
    ("terms", "list_terms", "roster"),
    ("breaks", "list_breaks", "roster"),
    ("teams", "list_teams", "teams"),
    ("action_items", "list_action_items", "teams"),
    ("areas", "list_areas", "playbook"),
    ("levels", "list_levels", "playbook"),
    ("measures", "list_measures", "playbook"),
    ("benchmarks", "list_benchmarks", "playbook"),
    ("screening_windows", "list_screening_windows", "screening"),
    ("protocols", "list_protocols", "playbook"),
    ("meeting_series", "list_meeting_series", "meetings"),
    ("meetings", "list_meetings", "meetings"),
    ("calendar_links", "list_calendar_links", "meetings"),
    ("agenda_items", "list_agenda_items", "meetings"),
    ("signal_rules", "list_signal_rules", "signals"),
    ("signals", "list_signals", "signals"),
    ("core_stalls", "list_core_stalls", "signals"),
    ("playbook_versions", "list_playbook_versions", "playbook"),
    ("concerns", "list_concerns", "concerns"),
    ("supports", "list_supports", "supports"),
    ("groups", "list_groups", "supports"),
    ("scores", "list_scores", "scores"),
    ("attendance_records", "list_attendance_records", "attendance"),
    ("incidents", "list_incidents", "incidents"),
    ("calibrations", "list_calibrations", "verdicts"),
    ("decisions", "list_decisions", "decisions"),
    ("interventions", "list_interventions", "playbook"),
    ("hypothesis_kinds", "list_hypothesis_kinds", "playbook"),
    ("incident_kinds", "list_incident_kinds", "playbook"),
    ("hypotheses", "list_hypotheses", "hypotheses"),
    ("notes", "list_notes", "notes"),
    ("webhook_endpoints", "list_endpoints", "webhooks"),
    ("sis_sources", "list_sources", "sync"),
    ("sync_runs", "list_sync_runs", "sync"),
)
"""The lists, each with its name (which is its path), operation and tag."""

ROWS: tuple[tuple[ResourceType, str, str, str], ...] = (
    (StudentResource, "students/{student}", "get_student", "roster"),
    (StaffResource, "staff/{person}", "get_staff", "roster"),
    (SchoolResource, "schools/{school}", "get_school", "roster"),
    (ClassResource, "classes/{class_}", "get_class", "roster"),
    (AreaResource, "areas/{area}", "get_area", "playbook"),
    (LevelResource, "levels/{level}", "get_level", "playbook"),
    (PlaybookVersionResource, "playbook-versions/{playbook}", "get_playbook_version", "playbook"),
    (BenchmarkResource, "benchmarks/{benchmark}", "get_benchmark", "playbook"),
    (TeamResource, "teams/{team}", "get_team", "teams"),
    (ActionItemResource, "action-items/{action_item}", "get_action_item", "teams"),
    (
        ScreeningWindowResource,
        "screening-windows/{screening_window}",
        "get_screening_window",
        "screening",
    ),
    (ProtocolResource, "protocols/{protocol}", "get_protocol", "playbook"),
    (AgendaItemResource, "agenda-items/{agenda_item}", "get_agenda_item", "meetings"),
    (MeetingResource, "meetings/{meeting}", "get_meeting", "meetings"),
    (CalendarLinkResource, "calendar-links/{calendar_link}", "get_calendar_link", "meetings"),
    (SignalRuleResource, "signal-rules/{signal_rule}", "get_signal_rule", "signals"),
    (SignalResource, "signals/{signal}", "get_signal", "signals"),
    (CoreStallResource, "core-stalls/{core_stall}", "get_core_stall", "signals"),
    (ConcernResource, "concerns/{concern}", "get_concern", "concerns"),
    (SupportResource, "supports/{support}", "get_support", "supports"),
    (GroupResource, "groups/{group}", "get_group", "supports"),
    (ScoreResource, "scores/{score}", "get_score", "scores"),
    (
        AttendanceRecordResource,
        "attendance-records/{attendance_record}",
        "get_attendance_record",
        "attendance",
    ),
    (IncidentResource, "incidents/{incident}", "get_incident", "incidents"),
    (VerdictResource, "verdicts/{verdict}", "get_verdict", "verdicts"),
    (DecisionResource, "decisions/{decision}", "get_decision", "decisions"),
    (InterventionResource, "interventions/{intervention}", "get_intervention", "playbook"),
    (HypothesisResource, "hypotheses/{hypothesis}", "get_hypothesis", "hypotheses"),
    (NoteResource, "notes/{note}", "get_note", "notes"),
    (EndpointResource, "webhook-endpoints/{endpoint}", "get_endpoint", "webhooks"),
    (SourceResource, "sis-sources/{source}", "get_source", "sync"),
    (RunResource, "sync-runs/{run}", "get_sync_run", "sync"),
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
    (TeamResource, "students", "teams/{team}/students", "list_students_of_team", "teams"),
    (ClassResource, "line_items", "classes/{class_}/line-items", "list_line_items", "grades"),
    (GroupResource, "sessions", "groups/{group}/sessions", "list_group_sessions", "sessions"),
    (SupportResource, "sessions", "supports/{support}/sessions", "list_sessions", "sessions"),
    (SupportResource, "verdict", "supports/{support}/verdict", "get_verdict_now", "verdicts"),
    (SupportResource, "verdicts", "supports/{support}/verdicts", "list_verdicts", "verdicts"),
    (RunResource, "planned_changes", "sync-runs/{run}/planned-changes", "list_planned_changes", "sync"),
    (EndpointResource, "deliveries", "webhook-endpoints/{endpoint}/deliveries", "list_deliveries", "webhooks"),
    (RunResource, "quarantine", "sync-runs/{run}/quarantine", "list_quarantine", "sync"),
    (RunResource, "changes", "sync-runs/{run}/changes", "list_sync_changes", "sync"),
)
"""The read routes of linked rows: the resource that has the link, the link's name, the path, the operation, the tag."""

TAGS = {
    "areas": "playbook",
    "attendance-records": "attendance",
    "benchmarks": "playbook",
    "breaks": "roster",
    "concerns": "concerns",
    "decisions": "decisions",
    "groups": "supports",
    "levels": "playbook",
    "measures": "playbook",
    "incident-kinds": "playbook",
    "incidents": "incidents",
    "interventions": "playbook",
    "hypotheses": "hypotheses",
    "hypothesis-kinds": "playbook",
    "notes": "notes",
    "scores": "scores",
    "screening-windows": "screening",
    "sessions": "sessions",
    "protocols": "playbook",
    "meeting-series": "meetings",
    "meetings": "meetings",
    "calendar-links": "meetings",
    "agenda-items": "meetings",
    "agenda-order": "playbook",
    "signal-rules": "signals",
    "signals": "signals",
    "core-stalls": "signals",
    "sis-sources": "sync",
    "supports": "supports",
    "action-items": "teams",
    "team-members": "teams",
    "team-scopes": "teams",
    "teams": "teams",
    "sync-runs": "sync",
    "test-clock": "me",
    "webhook-endpoints": "webhooks",
}
"""The tag for a part of a path. A command gets the tag of the last part of its path that is listed here."""
WRITTEN = frozenset({"rekey_sync_run"})
"""Declared commands whose routes are written by hand."""

NAMES: dict[ResourceType, str] = {
    EndpointResource: "Endpoint",
    DeliveryResource: "Delivery",
    AttemptResource: "Attempt",
}
"""The resources whose name in REST's contract differs from the name in GraphQL, with the name in REST's contract."""

SHAPES = Shapes(CATALOG, SERVED, NAMES)
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
_commands = Commands(READER, {resource: path for resource, path, _, _ in ROWS})
for _command in CATALOG.commands.values():
    if _command.name not in WRITTEN:
        _commands.add(router, _command, tag=[TAGS[part] for part in _command.rest.split("/") if part in TAGS][-1])
