"""States in the contract that the lists of choices in responses are open, because a later version may add values."""

from typing import Any

from app.rest.contract.names import nodes, references
from app.rest.contract.statuses import operations

OPEN = "A later version may add values."


def open_choices(document: dict[str, Any]) -> None:
    """Adds to every field with choices in a response the sentence `OPEN`, which says that values may be added later.

    Choices in requests stay closed.
    """
    schemas = document["components"]["schemas"]
    for name in references(document, [operation["responses"] for _, _, operation in operations(document)]):
        for field in schemas[name].get("properties", {}).values():
            if any("enum" in node for node in nodes(field)):
                field["description"] = f"{field.get('description', '')} {OPEN}".strip()
