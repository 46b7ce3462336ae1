"""Adds descriptions to fields and parameters of the contract that have none.

They come from the resource that declares the field, or otherwise from `words`.
"""

from collections.abc import Mapping
from functools import cache
from typing import Any

from app.catalog import CATALOG
from app.rest.contract.statuses import operations
from app.rest.contract.words import DECLARED_AS, PARAMETERS, WORDS


def describe_properties(document: dict[str, Any]) -> None:
    """Adds a description to every property and parameter that has none of its own."""
    for name, schema in document["components"]["schemas"].items():
        for field, one in schema.get("properties", {}).items():
            _describe(one, _declared().get((DECLARED_AS.get(name, name), field)) or WORDS.get(field))
    for _, _, operation in operations(document):
        for parameter in operation.get("parameters", ()):
            _describe(parameter, PARAMETERS.get(parameter["name"]) or WORDS.get(parameter["name"]))


def _describe(one: dict[str, Any], description: str | None) -> None:
    if "description" not in one and description is not None:
        one["description"] = description


@cache
def _declared() -> Mapping[tuple[str, str], str]:
    """Returns the descriptions that the resources declare, keyed by schema and field."""
    return {
        (resource.__name__.removesuffix("Resource"), shown): member.description
        for resource in CATALOG.resources
        for member in CATALOG.members(resource).values()
        if (shown := member.shown_as("rest")) is not None
    }
