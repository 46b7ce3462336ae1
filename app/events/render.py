"""Owns the body of an event as its readers see it; the feed and the webhooks share it. Never holds a value."""

from typing import Any
from uuid import UUID

from app.core import ids
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
