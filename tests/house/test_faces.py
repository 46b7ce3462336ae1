"""Checks that each operation of REST has a field in GraphQL, or a listed reason for having none.

The field of a read or a command is found by its name. A field with another name must be listed here.
"""

import json
import re
from typing import Any

from fastapi.routing import APIRoute
from graphql import GraphQLObjectType

from app.cli.contracts import FOLDER
from app.core.text import camel
from app.graphql.schema import schema
from app.main import V1
from app.rest import calendar, health, oauth, resources
from tests.processes import REPOSITORY

READS = {
    "list_group_sessions": "Group.sessions",
    "get_staff": "Query.person",
    "get_source": "Query.sisSource",
    "get_endpoint": "Query.webhookEndpoint",
    "list_sources": "Query.sisSources",
    "list_endpoints": "Query.webhookEndpoints",
    "list_deliveries": "WebhookEndpoint.deliveries",
    "list_quarantine": "SyncRun.quarantine",
    "list_sync_changes": "SyncRun.changes",
    "list_planned_changes": "SyncRun.plannedChanges",
    "list_students_of_team": "Team.students",
    "list_line_items": "Class.lineItems",
    "list_results_of_student": "Student.results",
    "list_assessment_results_of_student": "Student.assessmentResults",
    "get_demographics": "Student.demographics",
    "list_score_changes": "Score.changes",
    "list_sessions": "Support.sessions",
    "list_verdicts": "Support.verdicts",
    "list_consumers": "Query.eventConsumers",
    "get_consumer": "Query.eventConsumer",
    "list_consumer_events": "EventConsumer.events",
    "get_sync_history": "Student.syncHistory",
    "get_staff_sync_history": "Staff.syncHistory",
    "get_story": "Query.student",  # with the links that REST's story shows
    "get_verdict_now": "Support.verdict",
    "get_dosage": "Support.dosage",
}
"""The fields of reads that have another name in GraphQL than in REST. Every other read has the same name in both."""
ONLY_REST = {
    **dict.fromkeys(("authorization_server", "jwks", "token"), "OAuth is a protocol of its own."),
    **dict.fromkeys(("live", "ready"), "Health is asked by machines without a token."),
    **dict.fromkeys(
        ("get_chart_svg", "get_group_chart_svg", "get_quarantine_csv", "get_planned_changes_csv", "get_sync_report"),
        "It is a picture or a file.",
    ),
    **dict.fromkeys(("get_agenda_page", "get_recap_page"), "It is a page to print."),
    **dict.fromkeys(("get_chart", "get_group_chart"), "It is the data of the picture."),
    "stream_events": "It is a stream; GraphQL's is a subscription.",
    "get_calendar": "It is a file, for calendar programs.",
    "send_roster": "It uploads a file.",
    "send_scores": "It uploads a file.",
    "record_score": "One score is an item of `recordScores`.",
}
"""Operations that GraphQL will not have, with the reason."""


def operations() -> dict[str, str]:
    """Returns every REST operation with its method."""
    document: dict[str, Any] = json.loads((FOLDER / "rest.json").read_text())
    return {
        one["operationId"]: method
        for path in document["paths"].values()
        for method, one in path.items()
        if isinstance(one, dict) and "operationId" in one
    }


def exists(place: str) -> bool:
    """Returns whether the GraphQL schema has the field that is written as `Type.field`."""
    name, field = place.split(".")
    type_ = schema._schema.type_map.get(name)  # the library gives its own schema by no other name
    return isinstance(type_, GraphQLObjectType) and field in type_.fields


def test_each_operation_has_its_field() -> None:
    """Every REST operation has a field in GraphQL, unless it is listed as an exception with a reason."""
    missing = []
    for name in operations():
        verb, _, noun = name.partition("_")
        place = READS.get(name) or (f"Query.{camel(noun)}" if verb in ("get", "list") else f"Mutation.{camel(name)}")
        if name not in ONLY_REST and not exists(place):
            missing.append((name, place))
    assert missing == []


def test_no_exception_is_out_of_date() -> None:
    """Each listed exception is still an operation without a field in GraphQL."""
    named = operations()
    assert (ONLY_REST.keys() | READS.keys()) - named.keys() == set()
    assert [name for name in ONLY_REST if exists(f"Mutation.{camel(name)}")] == []


def written_by_hand() -> set[str]:
    """Returns every REST operation that is not derived from a declaration."""
    routers = [face.router for face in V1 if face is not resources]
    routers += [health.router, oauth.router, calendar.router]
    routes = [route for router in routers for route in router.routes if isinstance(route, APIRoute)]
    return {str(route.operation_id) for route in routes if route.include_in_schema}


def listed_by_hand() -> set[str]:
    """Returns the operations that `docs/decisions.md` lists as written by hand, each with a reason."""
    text = (REPOSITORY / "docs" / "decisions.md").read_text()
    _, _, listed = text.partition("**What is written by hand, and why.**")
    section, _, _ = listed.partition("\n## ")
    items = re.findall(r"^\* ((?:`\w+`,?\s+)*`\w+`): \S", section, re.MULTILINE)
    return {name for item in items for name in re.findall(r"`(\w+)`", item)}


def test_what_is_written_by_hand_is_listed_with_its_reason() -> None:
    """Each route that is written by hand, and not derived from a declaration, is an exception that is listed with a
    reason.
    """
    assert written_by_hand() == listed_by_hand()
