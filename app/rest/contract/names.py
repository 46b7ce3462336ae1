"""Names the schemas in the contract by the title of each model, without module paths and type parameters."""

import re
from collections.abc import Iterator
from typing import Any

NAME = re.compile(r"[A-Z][A-Za-z0-9]*")
PREFIX = "#/components/schemas/"
RENAMED = {"Body_token": "TokenRequest"}
"""New names for models that FastAPI creates itself, keyed by FastAPI's name."""


def name_schemas(document: dict[str, Any]) -> None:
    """Gives every schema the title of its model as its name.

    The titles of properties and parameters are removed, because they only repeat the names, and client generators turn
    them into clashing type names.
    """
    schemas: dict[str, Any] = document["components"]["schemas"]
    names = {name: _name(name, schema) for name, schema in schemas.items()}
    if clashes := {name for name in names.values() if list(names.values()).count(name) > 1}:
        raise ValueError(f"Several models are called {', '.join(sorted(clashes))}: rename all but one.")
    for node in nodes(document):
        reference = node.get("$ref")
        if isinstance(reference, str) and reference.startswith(PREFIX):
            node["$ref"] = PREFIX + names.get(target := reference.removeprefix(PREFIX), target)
    for schema in schemas.values():
        for inner in nodes(schema):
            if isinstance(inner.get("title"), str):
                del inner["title"]
    for schema in _parameter_schemas(document):
        schema.pop("title", None)
    document["components"]["schemas"] = {names[name]: schema for name, schema in sorted(schemas.items())}


def remove_unused_schemas(document: dict[str, Any]) -> None:
    """Removes the schemas that nothing refers to, such as FastAPI's own errors."""
    schemas = document["components"]["schemas"]
    while unused := schemas.keys() - {
        str(node["$ref"]).removeprefix(PREFIX) for node in nodes(document) if "$ref" in node
    }:
        for name in unused:
            del schemas[name]


def references(document: dict[str, Any], part: Any) -> set[str]:
    """Returns the names of the schemas that a part of the document refers to, directly or through other schemas."""
    names: set[str] = set()
    waiting = [part]
    while waiting:
        for node in nodes(waiting.pop()):
            name = str(node.get("$ref", "")).removeprefix(PREFIX)
            if name in document["components"]["schemas"] and name not in names:
                names.add(name)
                waiting.append(document["components"]["schemas"][name])
    return names


def _name(name: str, schema: dict[str, Any]) -> str:
    title = schema.get("title", name).removesuffix("Shape")
    return title if NAME.fullmatch(title) else name


def nodes(value: Any) -> Iterator[dict[str, Any]]:
    """Yields every JSON object in a value, at any depth, and the value itself if it is an object."""
    if isinstance(value, dict):
        yield value
    for inner in list(value.values()) if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from nodes(inner)


def _parameter_schemas(document: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for methods in document["paths"].values():
        for operation in methods.values():
            yield from (parameter["schema"] for parameter in operation.get("parameters", ()))
            for answer in operation.get("responses", {}).values():
                yield from (content["schema"] for content in answer.get("content", {}).values() if "schema" in content)
