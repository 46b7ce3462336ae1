"""Says in the contract that the choices of a response's field are not final, because a later version may add values."""

from typing import Any

from app.rest.contract.names import nodes, references
from app.rest.contract.statuses import operations

OPEN = "A later version may add values."


def open_choices(document: dict[str, Any]) -> None:
    """Adds the sentence `OPEN` to the description of every field of a response that has a list of choices.

    The sentence says that a later version may add values. The choices of requests do not change.
    """
    schemas = document["components"]["schemas"]
    for name in references(document, [operation["responses"] for _, _, operation in operations(document)]):
        for field in schemas[name].get("properties", {}).values():
            if any("enum" in node for node in nodes(field)):
                field["description"] = f"{field.get('description', '')} {OPEN}".strip()
