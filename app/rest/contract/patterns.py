"""States in the contract which values are acceptable: patterns of ids and headers, bounds, no null in parameters."""

import re
from collections.abc import Mapping
from typing import Any

from app.core.ids import ALPHABET
from app.core.page import MAX_LIMIT
from app.events import consumers
from app.incident import rules as incident
from app.intervention import rules as intervention
from app.playbook.measures import instrument
from app.rest.contract.statuses import operations
from app.sis.sources import settings

BODY = f"[{ALPHABET}]{{26}}"
ID = re.compile(rf"([a-z]{{3}})_{BODY}")
EXTERNAL = "sis:[^:]+:.+"
TAG = '(W/)?"[!#-~]*"'
TAGS = rf"^(\*|{TAG}(, *{TAG}){{0,99}})$"
HEADERS = {
    "Aimline-Act-For": rf"^(per_{BODY}|{EXTERNAL})$",
    "Idempotency-Key": '^"?[!#-~]([ !#-~]*[!#-~])?"?$',
    "If-Match": TAGS,
    "If-None-Match": TAGS,
}
"""The pattern of each header whose value has a fixed format."""
BOUNDS: Mapping[tuple[str, str], Mapping[str, Any]] = {
    ("NewMeasure", "code"): {"pattern": f"^{instrument.CODE.pattern}$"},
    ("NewIntervention", "code"): {"pattern": f"^{intervention.CODE.pattern}$"},
    ("NewHypothesisKind", "code"): {"pattern": "^[a-z0-9_-]*[a-z][a-z0-9_-]*$"},
    ("NewIncidentKind", "code"): {"pattern": "^[a-z0-9_-]*[a-z][a-z0-9_-]*$"},
    ("NewIncident", "shared_reference"): {"pattern": f"^{incident.REFERENCE.pattern}$"},
    ("NewSource", "name"): {"pattern": f"^{settings.NAME.pattern}$"},
    **{
        (name, field): {"minimum": least, "maximum": most}
        for name in ("NewSource", "SourceChanges")
        for field, (least, most) in settings.RANGES.items()
    },
    **{(name, "event_types"): {"minItems": 1} for name in ("NewEndpoint", "EndpointChanges")},
}
"""The bounds and patterns that only the service checks, keyed by the names of the schema and the field."""
NAMES = {"keep_consumer": consumers.NAME.pattern}
"""The patterns of names that the client chooses itself and sends in the path, keyed by operation."""


def state_patterns(document: dict[str, Any]) -> None:
    """Adds patterns and bounds to ids, headers and other values, and removes null from the types of parameters.

    A client that sends no value leaves the parameter out. If null were allowed, generated clients would send the text
    `null`.
    """
    for name, schema in document["components"]["schemas"].items():
        for field, property_ in schema.get("properties", {}).items():
            _state_id(property_)
            for kind in property_.get("anyOf", [property_]):
                kind.update(BOUNDS.get((name, field), {}) if kind.get("type") != "null" else {})
    for _, _, operation in operations(document):
        for parameter in operation.get("parameters", ()):
            parameter["schema"] = schema = _without_null(parameter["schema"])
            if parameter["in"] == "header" and parameter["name"] in HEADERS:
                schema["pattern"] = HEADERS[parameter["name"]]
            elif parameter["name"] == "limit":
                schema |= {"minimum": 1, "maximum": MAX_LIMIT}
            elif parameter["in"] == "path" and operation["operationId"] in NAMES:
                schema["pattern"] = f"^{NAMES[operation['operationId']]}$"
            elif "an id, or an external id" in parameter.get("description", ""):
                schema["pattern"] = f"^([a-z]{{3}}_{BODY}|{EXTERNAL})$"


def _state_id(property_: dict[str, Any]) -> None:
    examples = property_.get("examples", [None])
    match = ID.fullmatch(examples[0]) if isinstance(examples[0], str) else None
    if match is None:
        return
    words = property_.get("description", "")
    is_external = "external id" in words or "`sis:" in words
    own = f"{'[a-z]{3}' if ' or of ' in words else match[1]}_{BODY}"  # if it can be of several kinds, any id matches
    for kind in property_.get("anyOf", [property_]):
        if kind.get("type") == "string":
            kind["pattern"] = f"^({own}|{EXTERNAL})$" if is_external else f"^{own}$"


def _without_null(schema: dict[str, Any]) -> dict[str, Any]:
    kinds = [kind for kind in schema.get("anyOf", ()) if kind.get("type") != "null"]
    if len(kinds) != 1:
        return schema
    rest = {name: value for name, value in schema.items() if name not in ("anyOf", "default")}
    kind: dict[str, Any] = kinds[0]
    return kind | rest
