"""Owns every event type there is: name, version, meaning, the ids that it carries. Never a value or a name.

A payload is thin (ids, type, time, link): no student data leaves by push.
"""

from dataclasses import dataclass
from uuid import UUID


@dataclass(frozen=True, slots=True)
class EventType:
    """A type of event: past tense, a version of its payload, a sentence for the contract, ids by kind."""

    name: str
    version: int
    meaning: str
    subject: str
    ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Happened:
    """One event on its way to the outbox. `ids` are row ids by kind."""

    type: EventType
    subject_id: UUID
    subject_version: int
    ids: dict[str, UUID]
    student_id: UUID | None = None
    school_ids: tuple[UUID, ...] = ()
    secured_area: str | None = None


def _type(name: str, subject: str, meaning: str, *ids: str) -> EventType:
    return EventType(name=name, version=1, meaning=meaning, subject=subject, ids=(subject, *ids))


CONCERN_RAISED = _type("concern.raised", "concern", "A concern about a student was raised.", "student")
CONCERN_ACCEPTED = _type("concern.accepted", "concern", "A team accepted a concern.", "student")
CONCERN_DISMISSED = _type("concern.dismissed", "concern", "A team dismissed a concern.", "student")
CONCERN_RESOLVED = _type("concern.resolved", "concern", "A concern was resolved.", "student")
SUPPORT_PLANNED = _type("support.planned", "support", "A support was planned.", "student")
SUPPORT_STARTED = _type("support.started", "support", "A support began.", "student")
SUPPORT_CHANGED = _type("support.changed", "support", "A support was changed: a phase line.", "student", "phase")
SUPPORT_ENDED = _type("support.ended", "support", "A support ended.", "student")
RESPONSE_STOPPED = _type(
    "response.stopped", "support", "A student who responded has stopped responding.", "student", "verdict"
)
RESPONSE_NEVER = _type("response.never", "support", "A student has not responded so far.", "student", "verdict")
RESPONSE_RECOVERED = _type("response.recovered", "support", "A student responds again.", "student", "verdict")
DECISION_MADE = _type("decision.made", "decision", "A team decided on a support.", "student", "support")
SYNC_APPLIED = _type("sync.applied", "run", "A sync changed the roster.")
SYNC_HELD = _type("sync.held", "run", "A sync was held: everything is as it was.")
SYNC_FAILED = _type("sync.failed", "run", "A sync failed: everything is as it was.")
ENDPOINT_DISABLED = _type("endpoint.disabled", "endpoint", "An endpoint gets nothing more: it only failed, or is gone.")
ENDPOINT_TESTED = _type("endpoint.tested", "endpoint", "A test of one endpoint, sent to that endpoint alone.")

CATALOGUE: dict[str, EventType] = {
    kind.name: kind
    for kind in (
        CONCERN_RAISED,
        CONCERN_ACCEPTED,
        CONCERN_DISMISSED,
        CONCERN_RESOLVED,
        SUPPORT_PLANNED,
        SUPPORT_STARTED,
        SUPPORT_CHANGED,
        SUPPORT_ENDED,
        RESPONSE_STOPPED,
        RESPONSE_NEVER,
        RESPONSE_RECOVERED,
        DECISION_MADE,
        SYNC_APPLIED,
        SYNC_HELD,
        SYNC_FAILED,
        ENDPOINT_DISABLED,
        ENDPOINT_TESTED,
    )
}
