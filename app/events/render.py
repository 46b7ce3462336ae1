"""Renders the payload of an event for the feed and the webhooks, and the JSON Schema of the payload."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from app.core import ids
from app.events.catalogue import CATALOGUE, KIND_OF, EventType
from app.events.models import Event

OLDEST = 1
"""The payload version for readers that request no version. It never changes, so the payloads of /v1 stay the same."""
_PATHS = {
    "student": "students",
    "team": "teams",
    "meeting": "meetings",
    "calendar_link": "calendar-links",
    "agenda_item": "agenda-items",
    "concern": "concerns",
    "support": "supports",
    "decision": "decisions",
    "intervention": "interventions",
    "hypothesis": "hypotheses",
    "note": "notes",
    "action_item": "action-items",
    "run": "sync-runs",
    "source": "sis-sources",
    "endpoint": "webhook-endpoints",
    "group": "groups",
    "screening_window": "screening-windows",
    "signal": "signals",
    "core_stall": "core-stalls",
    "playbook": "playbook-versions",
}


def body(event: Event, base_url: str, versions: Mapping[str, int] | None = None) -> dict[str, Any]:
    """Returns the payload of an event: its type, time, ids and a link to its subject.

    `versions` has the payload versions that the reader requests, keyed by type of event. A type that is not in it gets
    the version `OLDEST`. An event is never rendered in a newer version than the one in which it was recorded. If
    `versions` is None, the recorded version is used.
    """
    version = event.version if versions is None else min(event.version, versions.get(event.type, OLDEST))
    type_ = CATALOGUE[event.type].at(version)
    shown_ids = {name: ids.format_id(_kind(name), UUID(event.ids[name])) for name in type_.ids}
    subject = ids.format_id(event.subject_kind, event.subject_id)
    return {
        "type": event.type,
        "timestamp": event.at.isoformat(timespec="microseconds").replace("+00:00", "Z"),
        "data": {
            "id": ids.format_id("event", event.id),
            "version": type_.version,
            "district": ids.format_id("district", event.district_id),
            "subject": subject,
            "subject_version": event.subject_version,
            **shown_ids,
            **({"counts": event.counts or {}} if type_.counts else {}),
            "link": f"{base_url}/v1/{_PATHS[event.subject_kind]}/{subject}",
        },
    }


def schema(type_: EventType) -> dict[str, Any]:
    """Returns the JSON Schema (2020-12) of this event type's payload. The schema forbids unknown properties."""
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
    "description": "How many rows of each kind, by what was done with them. Empty if a sync was interrupted.",
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
