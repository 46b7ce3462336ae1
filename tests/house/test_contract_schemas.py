"""Tests the schemas of the contract: their names, which code generators use, and what clients may send and receive."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
from fastapi import FastAPI

from app.rest.contract.names import name_schemas

PREFIX = "#/components/schemas/"


@pytest.fixture(scope="module")
def contract(app: FastAPI) -> dict[str, Any]:
    """The contract of the app."""
    return app.openapi()


def _nodes(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        yield value
    for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from _nodes(inner)


def _reachable(contract: dict[str, Any], start: Any) -> set[str]:
    """Returns the names of the schemas to which a part of the contract refers, directly or not."""
    names: set[str] = set()
    waiting = [start]
    while waiting:
        for node in _nodes(waiting.pop()):
            name = str(node.get("$ref", "")).removeprefix(PREFIX)
            if name in contract["components"]["schemas"] and name not in names:
                names.add(name)
                waiting.append(contract["components"]["schemas"][name])
    return names


def _bodies(contract: dict[str, Any], *methods: str) -> set[str]:
    return {
        name
        for path in contract["paths"].values()
        for method, operation in path.items()
        if method in methods
        for name in _reachable(contract, operation.get("requestBody"))
    }


def test_a_schema_has_a_plain_name(contract: dict[str, Any]) -> None:
    """Schema names have no module path, type parameters or suffix, because code generators use them as type names."""
    for name in contract["components"]["schemas"]:
        assert re.fullmatch(r"[A-Z][A-Za-z0-9]*", name), name
        assert not name.endswith("Shape"), name
    lowered = [name.lower() for name in contract["components"]["schemas"]]
    assert len(lowered) == len(set(lowered)), "Two schemas become the same file on some systems."


def test_no_property_is_called_like_its_schema(contract: dict[str, Any]) -> None:
    """No property has the name of its schema, because a generator uses both names for variables."""
    for name, schema in contract["components"]["schemas"].items():
        snake = re.sub(r"(?<=[a-z0-9])([A-Z])", r"_\1", name).lower()
        assert snake not in schema.get("properties", {}), name


def test_models_of_one_name_are_refused() -> None:
    """Two models with the same name are refused, because they would silently become one."""
    schemas = {"app__a__Thing": {"title": "Thing"}, "app__b__Thing": {"title": "Thing"}}
    with pytest.raises(ValueError, match="Thing"):
        name_schemas({"components": {"schemas": schemas}, "paths": {}})


def test_no_request_has_a_default(contract: dict[str, Any]) -> None:
    """No request in the contract has a default, because generated clients send defaults, which would overwrite
    values.
    """
    changes, requests = _bodies(contract, "patch"), _bodies(contract, "patch", "put", "post")
    assert {"SourceChanges", "EndpointChanges", "MeasureChanges"} <= changes
    for name in requests:
        schema = contract["components"]["schemas"][name]
        assert not [field for field, one in schema["properties"].items() if "default" in one], name
        whole = ("Rollover", "NewSemRange")  # replaced as a whole, or an item of a list that is
        assert name not in changes or name in whole or not schema.get("required"), name


def test_answers_are_open_and_requests_are_closed(contract: dict[str, Any]) -> None:
    """Responses may get additional members, and requests with unknown members are refused; the contract states both."""
    requests = _bodies(contract, "post", "put", "patch")
    answers = {
        name
        for path in contract["paths"].values()
        for operation in path.values()
        for name in _reachable(contract, operation["responses"])
    }
    for name in answers:
        assert contract["components"]["schemas"][name].get("additionalProperties") is not False, name
    for name in requests - answers:
        assert contract["components"]["schemas"][name].get("additionalProperties") is False, name
    assert not requests & answers, "One schema for both could be neither open nor closed."


def test_every_field_and_parameter_is_described(contract: dict[str, Any]) -> None:
    """Every field and parameter has a description."""
    fields = [
        (name, field)
        for name, schema in contract["components"]["schemas"].items()
        for field, one in schema.get("properties", {}).items()
        if not one.get("description", "").strip()
    ]
    parameters = [
        (operation["operationId"], parameter["name"])
        for path in contract["paths"].values()
        for operation in path.values()
        for parameter in operation.get("parameters", ())
        if not parameter.get("description", "").strip()
    ]
    assert (fields, parameters) == ([], [])


def test_the_choices_of_answers_are_open(contract: dict[str, Any]) -> None:
    """The contract says that responses may have values that are not listed, because a later version may add some."""
    choices = 0
    for path in contract["paths"].values():
        for operation in path.values():
            for name in _reachable(contract, operation["responses"]):
                for field, one in contract["components"]["schemas"][name].get("properties", {}).items():
                    if any("enum" in node for node in _nodes(one)):
                        assert "may add values" in one["description"], (name, field)
                        choices += 1
    assert choices > 10
