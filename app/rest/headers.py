"""Describes in the contract the headers that follow from a route's declaration.

These are the headers for idempotency keys, row versions and ETags.
"""

from typing import Any, Protocol

from app.rest.problem import MEDIA_TYPE
from app.rest.repetition import PARAMETER, REPLAYED
from app.rest.versions import READS, writes

ETAG = {
    "ETag": {
        "description": "The version of the row, and a digest of the answer. For If-Match and If-None-Match.",
        "schema": {"type": "string"},
    }
}
REPLAY = {
    REPLAYED: {
        "description": "`true` where the request was carried out before under its idempotency key.",
        "schema": {"type": "string", "enum": ["true"]},
    }
}
CONFLICT = "The present state does not allow the operation, or the first request with this key has not ended yet."

NOT_KEPT = "The request with this idempotency key was carried out before, and its response can no longer be shown."


class Declared(Protocol):
    """The properties of a route that determine its headers."""

    status_code: int | None
    responses: dict[int | str, dict[str, Any]]
    body_field: Any

    @property
    def takes_key(self) -> bool:
        """Returns whether a client may send an idempotency key, with which a repeated request is executed only once."""

    @property
    def requires_version(self) -> bool:
        """Returns whether a client must send the version of the row that it changes."""

    @property
    def takes_version(self) -> bool:
        """Returns whether a client may send the version of the row, as `If-Match`."""

    @property
    def shows_version(self) -> bool:
        """Returns whether the response is one row with a version."""


def describe(route: Declared, extra: dict[str, Any]) -> dict[str, Any]:
    """Returns the additions to a route's entry in the contract: its headers, and the statuses that they cause."""
    parameters = [dict(parameter) for parameter in extra.get("parameters", ())]
    responses: dict[str, Any] = {status: dict(answer) for status, answer in extra.get("responses", {}).items()}
    headers: dict[str, Any] = {}
    reads_version = route.shows_version and not route.takes_version and not route.takes_key
    if route.takes_key:
        parameters.append(PARAMETER)
        headers |= REPLAY
        responses["409"] = {"description": CONFLICT}
        if route.body_field is None:
            responses["422"] = _problem("The idempotency key was used for another request.")
        former = route.responses.get(410, {}).get("description", "")
        responses["410"] = _problem(f"{former} {NOT_KEPT}".strip())
    if route.shows_version:
        headers |= ETAG
    if route.shows_version and route.takes_version:
        parameters.append(writes(is_required=route.requires_version))
    if reads_version:
        parameters.append(READS)
        responses["304"] = {"description": "Nothing has changed: If-None-Match has the present ETag."}
    if any(parameter["name"] == "If-Match" for parameter in parameters):
        responses["412"] = _problem("The row has changed since the version in If-Match. Nothing was changed.")
    if route.requires_version:
        responses["428"] = _problem("If-Match is missing.")
    if headers:
        success = responses.setdefault(str(route.status_code or 200), {})
        success["headers"] = headers | success.get("headers", {})
    unique_parameters = list({parameter["name"]: parameter for parameter in parameters}.values())
    return {
        **extra,
        **({"parameters": unique_parameters} if unique_parameters else {}),
        **({"responses": responses} if responses else {}),
    }


def _problem(description: str) -> dict[str, Any]:
    content = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    return {"description": description, "content": content}
