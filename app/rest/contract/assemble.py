"""Completes the OpenAPI document in steps, which run in a fixed order. Each step needs nothing but the document."""

from typing import Any

from fastapi import FastAPI

from app.rest.contract.choices import open_choices
from app.rest.contract.defaults import state_defaults
from app.rest.contract.descriptions import describe_properties
from app.rest.contract.examples import give_examples
from app.rest.contract.headers import describe_headers
from app.rest.contract.names import name_schemas, remove_unused_schemas
from app.rest.contract.patterns import state_patterns
from app.rest.contract.sharing import share_responses
from app.rest.contract.statuses import describe_statuses

TAGS = {
    "me": "The caller: who it is, and what it can reach and do.",
    "roster": "Schools, staff, classes and students, as the district's SIS has them.",
    "grades": "Line items, results and assessment results, as the district's SIS has them.",
    "teams": "Who meets about which students, and therefore sees them.",
    "playbook": "How the district works: areas, levels of support, measures and the rules of judgement.",
    "screening": "The windows in which students are screened, and the reports about them.",
    "meetings": "The meetings of teams, and what is on their agendas.",
    "attendance": "Whether students were at school, and in their classes.",
    "incidents": "What happened at school in which students were involved.",
    "signals": "The findings of rules in students' data, suggested to a team.",
    "concerns": "Dated concerns about one student in one area.",
    "supports": "What is done for a student: plans, phases and goals.",
    "sessions": "The deliveries of a support, and its dosage.",
    "scores": "The scores that follow a student's response.",
    "verdicts": "Whether a student responds to a support, and the picture of it.",
    "decisions": "What a team decided, and a student's whole story.",
    "hypotheses": "The suspected causes of concerns, with their evidence and outcomes.",
    "notes": "What was noted about concerns, supports and agenda items, with earlier texts.",
    "events": "The change feed and its consumers.",
    "webhooks": "Endpoints that receive events, and the deliveries to them.",
    "sync": "The district's SIS sources and the sync runs.",
    "oauth": "Access tokens and the keys that verify them.",
    "health": "Whether the process is alive and can serve.",
}
CONTACT = {"name": "The operator of this installation"}
SERVERS = [{"url": "/", "description": "The server of this document."}]


def complete_contract(app: FastAPI) -> None:
    """Makes `app.openapi()` return the completed OpenAPI document. The document is built once."""
    derive = app.openapi

    def contract() -> dict[str, Any]:
        is_fresh = app.openapi_schema is None
        document = derive()
        if is_fresh:
            complete(document)
        return document

    app.openapi = contract  # type: ignore[method-assign]  # FastAPI's documented way to extend it


def complete(document: dict[str, Any]) -> None:
    """Completes, in place, a document that FastAPI generated."""
    document["info"]["contact"] = CONTACT
    document["servers"] = SERVERS
    document["tags"] = [{"name": name, "description": description} for name, description in TAGS.items()]
    name_schemas(document)
    describe_statuses(document)
    remove_unused_schemas(document)
    describe_properties(document)
    state_defaults(document)
    open_choices(document)
    describe_headers(document)
    state_patterns(document)
    share_responses(document)
    give_examples(document)
