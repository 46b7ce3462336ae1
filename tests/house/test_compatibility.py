"""Tests the comparison of contracts: a change that breaks a released contract is found, and additions are allowed."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from app.cli.breaking import breaking_in_events, breaking_in_graphql, breaking_in_rest
from app.cli.contracts import FOLDER, breaking_changes

Document = dict[str, Any]


def _rest() -> Document:
    document: Document = json.loads((FOLDER / "rest.json").read_text())
    return document


def _concern(document: Document) -> Document:
    schema: Document = document["components"]["schemas"]["Concern"]
    return schema


def _new_concern(document: Document) -> Document:
    schema: Document = document["components"]["schemas"]["NewConcern"]
    return schema


def _listing(document: Document) -> Document:
    operation: Document = document["paths"]["/v1/concerns"]["get"]
    return operation


BREAKING: dict[str, Callable[[Document], Any]] = {
    "operation removed": lambda one: one["paths"]["/v1/concerns"].pop("get"),
    "operation renamed": lambda one: _listing(one).update(operationId="concerns"),
    "scope added": lambda one: _listing(one)["security"][0]["oauth2"].append("score:read"),
    "parameter removed": lambda one: _listing(one)["parameters"].pop(0),
    "parameter required": lambda one: _listing(one)["parameters"][0].update(required=True),
    "success removed": lambda one: _listing(one)["responses"].pop("200"),
    "header removed": lambda one: _listing(one)["responses"]["200"]["headers"].pop("Link"),
    "answer of another type": lambda one: _concern(one)["properties"]["version"].update(type="string"),
    "answer can be null": lambda one: _concern(one)["properties"].update(
        state={"anyOf": [_concern(one)["properties"]["state"], {"type": "null"}]}
    ),
    "member removed": lambda one: _concern(one)["properties"].pop("description"),
    "member can be absent": lambda one: _concern(one)["required"].remove("state"),
    "request member removed": lambda one: _new_concern(one)["properties"].pop("raised_on"),
    "request member required": lambda one: _new_concern(one)["required"].append("raised_on"),
    "request bound narrowed": lambda one: _new_concern(one)["properties"]["description"].update(maxLength=10),
    "request choice removed": lambda one: one["components"]["schemas"]["NewScore"]["properties"]["purpose"][
        "enum"
    ].pop(),
    "request no longer null": lambda one: _new_concern(one)["properties"].update(raised_on={"type": "string"}),
    "body of another type": lambda one: one["paths"]["/v1/concerns"]["post"]["requestBody"]["content"].pop(
        "application/json"
    ),
}
HARMLESS: dict[str, Callable[[Document], Any]] = {
    "operation added": lambda one: one["paths"].update({"/v1/more": {"get": _listing(one)}}),
    "parameter added": lambda one: _listing(one)["parameters"].append(
        {"name": "q", "in": "query", "required": False, "schema": {"type": "string"}}
    ),
    "member added": lambda one: _concern(one)["properties"].update(more={"type": "string"}),
    "choice added to an answer": lambda one: _concern(one)["properties"]["state"]["enum"].append("other"),
    "request member added": lambda one: _new_concern(one)["properties"].update(more={"type": "string"}),
    "request bound widened": lambda one: _new_concern(one)["properties"]["description"].update(maxLength=90_000),
    "words": lambda one: _concern(one).update(description="Other words."),
}


def test_the_contracts_keep_what_was_released() -> None:
    """The contracts contain everything that was released."""
    assert breaking_changes(FOLDER) == []


def test_a_contract_does_not_break_itself() -> None:
    """A contract compared with itself shows no breaking change, although the comparison follows every reference."""
    assert breaking_in_rest(_rest(), _rest()) == []


@pytest.mark.parametrize("name", BREAKING)
def test_a_breaking_change_is_found(name: str) -> None:
    """The comparison finds each breaking change of a contract."""
    changed = _rest()
    BREAKING[name](changed)
    assert breaking_in_rest(_rest(), changed), name


@pytest.mark.parametrize("name", HARMLESS)
def test_an_addition_breaks_nobody(name: str) -> None:
    """An addition to a contract is no breaking change."""
    changed = _rest()
    HARMLESS[name](changed)
    assert breaking_in_rest(_rest(), changed) == [], name


def test_breaking_changes_of_the_other_contracts_are_found() -> None:
    """The comparison finds a removed GraphQL field, a removed event, and a removed member of an event."""
    graph = "type Query { a: Int b: Int }"
    assert breaking_in_graphql(graph, "type Query { a: Int c: Int }")
    assert not breaking_in_graphql(graph, "type Query { a: Int b: Int c: Int }")
    events: Document = json.loads((FOLDER / "events.json").read_text())
    assert breaking_in_events(events, {**events, "$defs": dict(list(events["$defs"].items())[1:])})
    changed: Document = json.loads(json.dumps(events))
    changed["$defs"]["concern.raised"]["properties"]["data"]["properties"].pop("student")
    assert breaking_in_events(events, changed)
