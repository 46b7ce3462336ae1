"""Owns how the contract states that the choices of answers are open: a later version may add values."""

from typing import Any

from app.rest.contract.names import nodes, references
from app.rest.contract.statuses import operations

OPEN = "A later version may add values."


def open_choices(document: dict[str, Any]) -> None:
    """Adds to every choice of an answer that it is open. The choices of requests are closed."""
    schemas = document["components"]["schemas"]
    for name in references(document, [operation["responses"] for _, _, operation in operations(document)]):
        for field in schemas[name].get("properties", {}).values():
            if any("enum" in one for one in nodes(field)):
                field["description"] = f"{field.get('description', '')} {OPEN}".strip()
