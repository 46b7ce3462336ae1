"""Moves the defaults of request fields in the contract into the fields' descriptions.

Client generators assume that a field with a `default` is always sent, and therefore make it required in their types.
"""

from typing import Any

import orjson

from app.rest.contract.names import nodes, references
from app.rest.contract.statuses import operations

PREFIX = "#/components/schemas/"


def state_defaults(document: dict[str, Any]) -> None:
    """Moves the default of every field of a request body into the field's description."""
    schemas = document["components"]["schemas"]
    for name in references(document, [operation.get("requestBody") for _, _, operation in operations(document)]):
        for field in schemas[name].get("properties", {}).values():
            if "default" in field:
                _state(field, field.pop("default"))


def _state(field: dict[str, Any], default: Any) -> None:
    description = field.get("description", "")
    if "default" not in description.lower():
        text = f"`{orjson.dumps(default).decode()}`" if default or default is False else "empty"
        field["description"] = f"{description} By default, {text}.".strip()
    for inner in nodes(field):
        inner.pop("default", None)
