"""Owns the body of an event as its readers see it, and its JSON Schema; the feed and the webhooks share both.

Never holds a value.
"""

from typing import Any
from uuid import UUID

from app.core import ids
from app.events.catalogue import EventType
from app.events.models import Event

_PATHS = {
    "concern": "concerns",
    "support": "supports",
    "decision": "decisions",
    "run": "sync-runs",
    "endpoint": "webhook-endpoints",
}


def body(event: Event, base_url: str) -> dict[str, Any]:
    """The thin payload: type, time, ids, a link to the subject."""
    shown = {kind: ids.show(kind, UUID(value)) for kind, value in event.ids.items()}
    subject = ids.show(event.subject_kind, event.subject_id)
    return {
        "type": event.type,
        "timestamp": event.at.isoformat(timespec="microseconds").replace("+00:00", "Z"),
        "data": {
            "id": ids.show("event", event.id),
            "version": event.version,
            "district": ids.show("district", event.district_id),
            "subject": subject,
            "subject_version": event.subject_version,
            **shown,
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
        **{kind: _shown(kind) for kind in type_.ids},
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


def _shown(kind: str) -> dict[str, Any]:
    return {"type": "string", "pattern": f"^{ids.PREFIXES[kind]}_[0-7][{ids.ALPHABET}]{{25}}$"}
