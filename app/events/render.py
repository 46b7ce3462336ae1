"""Owns the body of an event as its readers see it, and its JSON Schema; the feed and the webhooks share both.

Never holds a value.
"""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from app.core import ids
from app.events.catalogue import CATALOGUE, KIND_OF, EventType
from app.events.models import Event

OLDEST = 1
"""The version of who names none: what /v1 says does not change under its readers."""
_PATHS = {
    "student": "students",
    "concern": "concerns",
    "support": "supports",
    "decision": "decisions",
    "run": "sync-runs",
    "source": "sis-sources",
    "endpoint": "webhook-endpoints",
}


def body(event: Event, base_url: str, versions: Mapping[str, int] | None = None) -> dict[str, Any]:
    """The thin payload: type, time, ids, a link to the subject.

    `versions` are the reader's, by type; without them it is told as it happened. An event of before a version is told
    in the one that it happened in.
    """
    asked = event.version if versions is None else min(event.version, versions.get(event.type, OLDEST))
    type_ = CATALOGUE[event.type].at(asked)
    shown = {name: ids.show(_kind(name), UUID(event.ids[name])) for name in type_.ids}
    subject = ids.show(event.subject_kind, event.subject_id)
    return {
        "type": event.type,
        "timestamp": event.at.isoformat(timespec="microseconds").replace("+00:00", "Z"),
        "data": {
            "id": ids.show("event", event.id),
            "version": type_.version,
            "district": ids.show("district", event.district_id),
            "subject": subject,
            "subject_version": event.subject_version,
            **shown,
            **({"counts": event.counts or {}} if type_.counts else {}),
            "link": f"{base_url}/v1/{_PATHS[event.subject_kind]}/{subject}",
        },
    }


def schema(type_: EventType) -> dict[str, Any]:
    """The JSON Schema (2020-12) of a body of this type and version: nothing else is ever in one."""
    data = {
        "id": _shown("event"),
        "version": {"const": type_.version},
        "district": _shown("district"),
        "subject": _shown(type_.subject),
        "subject_version": {"type": "integer", "minimum": 1},
        **{name: _shown(_kind(name)) for name in type_.ids},
        **({"counts": _COUNTS} if type_.counts else {}),
        "link": {"type": "string", "format": "uri"},
    }
    return {
        "description": type_.meaning,
        "type": "object",
        "properties": {
            "type": {"const": type_.name},
            "timestamp": {"type": "string", "format": "date-time"},
            "data": {
                "type": "object",
                "properties": data,
                "required": sorted(data),
                "additionalProperties": False,
            },
        },
        "required": ["type", "timestamp", "data"],
        "additionalProperties": False,
    }


_NUMBER = {"type": "integer", "minimum": 0}
_COUNTS = {
    "description": "How many rows of each kind, by what was done with them. None where a sync broke off.",
    "type": "object",
    "propertyNames": {"pattern": "^[A-Za-z_]+$"},
    "additionalProperties": {
        "type": "object",
        "propertyNames": {"pattern": "^[A-Za-z_]+$"},
        "additionalProperties": _NUMBER,
    },
}


def _kind(name: str) -> str:
    return KIND_OF.get(name, name)


def _shown(kind: str) -> dict[str, Any]:
    return {"type": "string", "pattern": f"^{ids.PREFIXES[kind]}_[0-7][{ids.ALPHABET}]{{25}}$"}
