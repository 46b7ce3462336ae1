"""Adds descriptions to fields and parameters of the contract that have none.

A description comes from the resource that declares the field, or otherwise from `words`.
"""

from collections.abc import Mapping
from functools import cache
from typing import Any

from app.catalog import CATALOG
from app.rest.contract.statuses import operations
from app.rest.contract.words import DECLARED_AS, PARAMETERS, WORDS


def describe_properties(document: dict[str, Any]) -> None:
    """Adds a description to every property and parameter of the contract that has none."""
    for name, schema in document["components"]["schemas"].items():
        for field, property_ in schema.get("properties", {}).items():
            _describe(property_, _declared().get((DECLARED_AS.get(name, name), field)) or WORDS.get(field))
    for _, _, operation in operations(document):
        for parameter in operation.get("parameters", ()):
            _describe(parameter, PARAMETERS.get(parameter["name"]) or WORDS.get(parameter["name"]))


def _describe(schema: dict[str, Any], description: str | None) -> None:
    if "description" not in schema and description is not None:
        schema["description"] = description


@cache
def _declared() -> Mapping[tuple[str, str], str]:
    """Returns the descriptions that the resources declare, keyed by schema and field."""
    return {
        (resource.__name__.removesuffix("Resource"), rest_name): member.description
        for resource in CATALOG.resources
        for member in CATALOG.members(resource).values()
        if (rest_name := member.shown_as("rest")) is not None
    }
