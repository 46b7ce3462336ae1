"""Moves the parts that many operations have in common to one place of the contract, to which the operations refer."""

from collections import Counter
from typing import Any

import orjson

from app.rest.contract.statuses import operations

NAMES = {
    "400": "BadRequest",
    "401": "Unauthenticated",
    "403": "Forbidden",
    "404": "NotFound",
    "409": "Conflict",
    "410": "Gone",
    "412": "PreconditionFailed",
    "413": "TooLarge",
    "422": "Unacceptable",
    "428": "PreconditionRequired",
    "429": "TooManyRequests",
    "500": "Fault",
    "503": "Unavailable",
}


def share_responses(document: dict[str, Any]) -> None:
    """Moves the most frequent response of each error status to the section `components`.

    The operations that have this response then refer to it.
    """
    every = [
        (status, orjson.dumps(answer, option=orjson.OPT_SORT_KEYS), operation["responses"])
        for _, _, operation in operations(document)
        for status, answer in operation["responses"].items()
        if status in NAMES
    ]
    shared = document["components"].setdefault("responses", {})
    for status, name in NAMES.items():
        counts = Counter(text for answered, text, _ in every if answered == status)
        if not counts:
            continue
        (most, _), *_ = counts.most_common(1)
        shared[name] = orjson.loads(most)
        for answered, text, answers in every:
            if answered == status and text == most:
                answers[status] = {"$ref": f"#/components/responses/{name}"}


def resolved(document: dict[str, Any], answer: dict[str, Any]) -> dict[str, Any]:
    """Returns a response of an operation. If it is a reference, returns the response to which the reference leads."""
    name = answer.get("$ref", "").rpartition("/")[2]
    response: dict[str, Any] = document["components"]["responses"][name] if name else answer
    return response
