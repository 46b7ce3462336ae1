"""Defines every event type: its name, version, meaning, and the ids in its payload.

A payload has ids, a type, a time and a link, and for a sync also counts. It never has a name or a value, so that no
student data leaves by a webhook. A changed payload gets a new version; earlier versions are kept in `former` for
readers that were built for them.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from uuid import UUID


@dataclass(frozen=True, slots=True)
class EventType:
    """A type of event: its name in the past tense, its newest payload version, and its meaning.

    * `subject` is the kind of record that the event is about.
    * `ids` are the names of the ids in the payload, such as `student`.
    * `counts` is true for a type about syncs. Its payload has the numbers of changed rows, by kind of row.
    * `former` has the earlier payload versions, oldest first.
    """

    name: str
    version: int
    meaning: str
    subject: str
    ids: tuple[str, ...]
    counts: bool = False
    former: tuple["EventType", ...] = ()

    @property
    def versions(self) -> tuple["EventType", ...]:
        """Returns every version of this type that can still be rendered, oldest first."""
        return (*self.former, self)

    @property
    def required_ids(self) -> frozenset[str]:
        """Returns the names of the ids that every event of this type must have, whatever the version of its payload."""
        return frozenset(name for version in self.versions for name in version.ids)

    def at(self, version: int) -> "EventType":
        """Returns this event type with the payload version `version`.

        If that version does not exist, returns the newest one before it, or else the oldest.
        """
        if version >= self.version:
            return self
        return next(
            (candidate for candidate in reversed(self.versions) if candidate.version <= version), self.versions[0]
        )


@dataclass(frozen=True, slots=True)
class NewEvent:
    """An event to be written to the outbox.

    `ids` are the ids of the records that it mentions, such as the student. `counts`, for a sync, has the numbers of
    rows, keyed by kind of row and then by what happened to them.
    """

    type: EventType
    subject_id: UUID
    subject_version: int
    ids: dict[str, UUID]
    student_id: UUID | None = None
    school_ids: tuple[UUID, ...] = ()
    secured_area: str | None = None
    counts: Mapping[str, Mapping[str, int]] = field(default_factory=dict)


KIND_OF = {"school": "org", "alert": "verdict"}
"""The kinds of rows that ids in payloads identify, keyed by the name of the id.

A name that is not listed is itself the kind of the row.
"""


def _type(name: str, subject: str, meaning: str, *ids: str, counts: bool = False) -> EventType:
    return EventType(name=name, version=1, meaning=meaning, subject=subject, ids=(subject, *ids), counts=counts)


def _of_alert(name: str, meaning: str, former: tuple[str, ...] | None = None) -> EventType:
    """Returns a type of event about an alert. The payload's `alert` is the id of the verdict that opened the alert.

    For a type whose version 1 has no `alert` in its payload, `former` lists the ids in that payload.
    """
    ids = ("support", "student", "verdict", "alert")
    if former is None:
        return EventType(name=name, version=1, meaning=meaning, subject="support", ids=ids)
    first = EventType(name=name, version=1, meaning=meaning, subject="support", ids=former)
    return EventType(name=name, version=2, meaning=meaning, subject="support", ids=ids, former=(first,))


def _of_measure(name: str, meaning: str, *ids: str) -> EventType:
    """Returns a type of event about one measure of a support.

    It has two versions; version 1 has no id of the measure.
    """
    first = _type(name, "support", meaning, *ids)
    return EventType(
        name=name, version=2, meaning=meaning, subject="support", ids=(*first.ids, "measure"), former=(first,)
    )


WITHOUT_ALERT = ("support", "student", "verdict")
GROUP_FORMED = _type("group.formed", "group", "A group was formed.", "school")
GROUP_CHANGED = _type(
    "group.changed", "group", "A student joined or left a group, or its lead or provider changed.", "school"
)
GROUP_ENDED = _type("group.ended", "group", "A group ended.", "school")
CONCERN_RAISED = _type("concern.raised", "concern", "A concern about a student was raised.", "student")
CONCERN_ACCEPTED = _type("concern.accepted", "concern", "A team accepted a concern.", "student")
CONCERN_DISMISSED = _type("concern.dismissed", "concern", "A team dismissed a concern.", "student")
CONCERN_RESOLVED = _type("concern.resolved", "concern", "A concern was resolved.", "student")
CONCERN_UNANSWERED = _type("concern.unanswered", "concern", "Nobody has answered a concern for days.", "student")
CONCERN_UNSERVED = _type(
    "concern.unserved", "concern", "An accepted concern has had no active support for days.", "student"
)
SUPPORT_PLANNED = _type("support.planned", "support", "A support was planned.", "student")
SUPPORT_STARTED = _type("support.started", "support", "A support began.", "student")
SUPPORT_CHANGED = _type("support.changed", "support", "A support was changed: a phase line.", "student", "phase")
SUPPORT_ENDED = _type("support.ended", "support", "A support ended.", "student")
SUPPORT_MEASURE_ADDED = _type(
    "support.measure_added", "support", "A support is followed by an additional measure.", "student", "measure"
)
SUPPORT_MEASURE_STOPPED = _type(
    "support.measure_stopped", "support", "A measure of a support is no longer followed.", "student", "measure"
)
SUPPORT_HANDED_OVER = _type("support.handed_over", "support", "Somebody else leads or provides a support.", "student")
SUPPORT_SUSPENDED = _type("support.suspended", "support", "A support was suspended: its student has left.", "student")
SUPPORT_RESUMED = _type(
    "support.resumed", "support", "A suspended support was resumed: its student has returned.", "student"
)
SUPPORT_MOVED = _type("support.moved", "support", "A student came to another school with a support.", "student")
SUPPORT_UNLED = _type("support.unled", "support", "The person who led a support has left the school.", "student")
SUPPORT_REVIEW_DUE = _type("support.review_due", "support", "A support without a measure is due for review.", "student")
SUPPORT_NOT_STARTED = _type("support.not_started", "support", "A planned support should have begun.", "student")
SCORE_OVERDUE = _of_measure(
    "score.overdue", "One of the measures of an active support has had no score for weeks.", "student"
)
GOAL_DUE = _of_measure(
    "goal.due", "A goal's date is at most two weeks away: the team decides what to do next.", "student", "phase"
)
GOAL_PASSED = _of_measure(
    "goal.passed",
    "A goal's date has come: later scores are kept, and judged once there is a new goal.",
    "student",
    "phase",
)
RESPONSE_OFF_TRACK = _of_alert(
    "response.off_track", "An alert was opened: at the present rate the goal will be missed."
)
RESPONSE_STOPPED = _of_alert(
    "response.stopped",
    "The open alert was classified: the student responded, and has stopped responding.",
    WITHOUT_ALERT,
)
RESPONSE_NEVER = _of_alert(
    "response.never", "The open alert was classified: the student has not responded so far.", WITHOUT_ALERT
)
RESPONSE_RECOVERED = _of_alert(
    "response.recovered", "An alert was closed: the verdicts of several weeks raised no alarm.", WITHOUT_ALERT
)
RESPONSE_RETRACTED = _of_alert(
    "response.retracted", "An alert was closed: changed or added scores no longer justify it.", WITHOUT_ALERT
)
RESPONSE_SUPERSEDED = _of_alert("response.superseded", "An alert was closed: the support changed, a phase line.")
RESPONSE_ENDED = _of_alert("response.ended", "An alert was closed: the support ended.")
RESPONSE_EXPIRED = _of_alert("response.expired", "An alert was closed: the goal's date passed.")
RESPONSE_UNDER_DELIVERED = _type(
    "response.under_delivered",
    "support",
    "Too few sessions were delivered for a judgement by the scores.",
    "student",
    "verdict",
)
PROBE_REQUESTED = _type(
    "probe.requested", "support", "More scores are needed for a clear verdict.", "student", "verdict"
)
DECISION_MADE = _type("decision.made", "decision", "A team decided on a support.", "student", "support")
DECISION_OVERDUE = _type(
    "decision.overdue",
    "support",
    "A student does not respond, and no team has made a decision for days.",
    "student",
    "verdict",
)
PLAYBOOK_PUBLISHED = _type(
    "playbook.published", "playbook", "A version of the playbook was published: read areas, levels and rules again."
)
INTERVENTION_PUBLISHED = _type(
    "intervention.published", "intervention", "A version of an entry of the intervention library was published."
)
INTERVENTION_RETIRED = _type(
    "intervention.retired", "intervention", "A version of an entry of the intervention library was retired."
)
MEETING_SCHEDULED = _type("meeting.scheduled", "meeting", "A meeting of a team was scheduled.", "team")
MEETING_CANCELLED = _type("meeting.cancelled", "meeting", "A meeting of a team was cancelled.", "team")
MEETING_OPENED = _type("meeting.opened", "meeting", "A meeting was opened, with its agenda.", "team")
MEETING_CLOSED = _type("meeting.closed", "meeting", "A meeting was closed; every item is settled.", "team")
CALENDAR_LINK_CREATED = _type(
    "calendar_link.created", "calendar_link", "A link was created by which a calendar program reads meetings."
)
CALENDAR_LINK_REVOKED = _type(
    "calendar_link.revoked", "calendar_link", "A calendar link was revoked, by somebody or because its person left."
)
AGENDA_ITEM_ADDED = _type("agenda_item.added", "agenda_item", "A member added an item to an agenda.", "team")
AGENDA_ITEM_SETTLED = _type(
    "agenda_item.settled", "agenda_item", "An item was discussed, carried to the next meeting or dropped.", "team"
)
HYPOTHESIS_PROPOSED = _type(
    "hypothesis.proposed", "hypothesis", "A hypothesis about the cause of a concern was proposed.", "student", "concern"
)
HYPOTHESIS_CHANGED = _type(
    "hypothesis.changed", "hypothesis", "Evidence for or against a hypothesis was added.", "student", "concern"
)
HYPOTHESIS_TESTED = _type(
    "hypothesis.tested", "hypothesis", "The test of a hypothesis by a support began.", "student", "concern"
)
HYPOTHESIS_DUE = _type(
    "hypothesis.due",
    "hypothesis",
    "The support that tests a hypothesis has ended, or its verdict has changed: the team decides what to do next.",
    "student",
    "concern",
)
HYPOTHESIS_CLOSED = _type(
    "hypothesis.closed", "hypothesis", "A hypothesis was closed with an outcome.", "student", "concern"
)
NOTE_WRITTEN = _type("note.written", "note", "Somebody wrote a note about a record of a student.", "student")
NOTE_AMENDED = _type("note.amended", "note", "The author of a note has amended it.", "student")
AGENDA_NOTE_WRITTEN = _type("agenda_note.written", "note", "Somebody wrote a note about an item of an agenda.", "team")
AGENDA_NOTE_AMENDED = _type(
    "agenda_note.amended", "note", "The author of a note about an item of an agenda has amended it.", "team"
)
STUDENT_ENTERED = _type("student.entered", "student", "A student entered a school.", "school")
STUDENT_LEFT = _type("student.left", "student", "A student left a school.", "school")
STUDENT_RETURNED = _type("student.returned", "student", "A student came back to a school.", "school")
TEAM_FORMED = _type("team.formed", "team", "A team was formed.")
TEAM_ARCHIVED = _type("team.archived", "team", "A team was archived: it serves nobody any more.")
TEAM_MEMBERS_CHANGED = _type(
    "team.members_changed", "team", "A person joined or left a team, or has another role in it."
)
TEAM_STUDENTS_CHANGED = _type(
    "team.students_changed", "team", "A team serves other students, by a command or because the roster changed."
)
ACTION_ITEM_AGREED = _type("action_item.agreed", "action_item", "A team agreed what a member does by a day.", "team")
ACTION_ITEM_REASSIGNED = _type(
    "action_item.reassigned", "action_item", "An action item has another owner or another day.", "team"
)
ACTION_ITEM_CLOSED = _type("action_item.closed", "action_item", "An action item is done, not done, or dropped.", "team")
SCREENING_SCHEDULED = _type("screening.scheduled", "screening_window", "A screening window was scheduled.")
SCREENING_MOVED = _type("screening.moved", "screening_window", "A screening window was moved to other days.")
SCREENING_OPENED = _type("screening.opened", "screening_window", "The first day of a screening window has come.")
SCREENING_CLOSED = _type("screening.closed", "screening_window", "A screening window closed: its results are kept.")
SCREENING_CANCELLED = _type("screening.cancelled", "screening_window", "A screening window was cancelled.")
SIGNAL_SUGGESTED = _type("signal.suggested", "signal", "A rule suggested a signal about a student.", "student")
SIGNAL_ACCEPTED = _type("signal.accepted", "signal", "A team accepted a signal.", "student")
SIGNAL_DISMISSED = _type("signal.dismissed", "signal", "A team dismissed a signal.", "student")
SIGNAL_MERGED = _type("signal.merged", "signal", "A team merged a signal into another one.", "student")
CORE_STALL_SUGGESTED = _type(
    "core_stall.suggested", "core_stall", "A rule suggested that the core of a grade has stalled.", "screening_window"
)
CORE_STALL_ACCEPTED = _type("core_stall.accepted", "core_stall", "A core stall was accepted.", "screening_window")
CORE_STALL_DISMISSED = _type("core_stall.dismissed", "core_stall", "A core stall was dismissed.", "screening_window")
SYNC_APPLIED = _type("sync.applied", "run", "A sync changed the roster.", counts=True)
SYNC_HELD = _type("sync.held", "run", "A sync was held for a person to approve. Nothing was changed.", counts=True)
SYNC_FAILED = _type("sync.failed", "run", "A sync failed. Nothing was changed.", counts=True)
SYNC_FAILED_TO_APPLY = _type(
    "sync.failed_to_apply", "run", "An approved sync could not be applied. Nothing was changed."
)
SYNC_OVERDUE = _type("sync.overdue", "source", "No sync of a source has arrived for 26 hours.")
ENDPOINT_DISABLED = _type(
    "endpoint.disabled", "endpoint", "An endpoint was disabled: all deliveries failed, or its address is gone."
)
ENDPOINT_TESTED = _type("endpoint.tested", "endpoint", "A test of one endpoint, sent to that endpoint alone.")

CATALOGUE: dict[str, EventType] = {
    kind.name: kind
    for kind in (
        CONCERN_RAISED,
        CONCERN_ACCEPTED,
        CONCERN_DISMISSED,
        CONCERN_RESOLVED,
        CONCERN_UNANSWERED,
        CONCERN_UNSERVED,
        GROUP_FORMED,
        GROUP_CHANGED,
        GROUP_ENDED,
        SUPPORT_PLANNED,
        SUPPORT_STARTED,
        SUPPORT_CHANGED,
        SUPPORT_ENDED,
        SUPPORT_MEASURE_ADDED,
        SUPPORT_MEASURE_STOPPED,
        SUPPORT_HANDED_OVER,
        SUPPORT_SUSPENDED,
        SUPPORT_RESUMED,
        SUPPORT_MOVED,
        SUPPORT_UNLED,
        SUPPORT_REVIEW_DUE,
        SUPPORT_NOT_STARTED,
        SCORE_OVERDUE,
        GOAL_DUE,
        GOAL_PASSED,
        RESPONSE_OFF_TRACK,
        RESPONSE_STOPPED,
        RESPONSE_NEVER,
        RESPONSE_RECOVERED,
        RESPONSE_RETRACTED,
        RESPONSE_SUPERSEDED,
        RESPONSE_ENDED,
        RESPONSE_EXPIRED,
        RESPONSE_UNDER_DELIVERED,
        PROBE_REQUESTED,
        DECISION_MADE,
        DECISION_OVERDUE,
        PLAYBOOK_PUBLISHED,
        INTERVENTION_PUBLISHED,
        INTERVENTION_RETIRED,
        MEETING_SCHEDULED,
        MEETING_CANCELLED,
        MEETING_OPENED,
        MEETING_CLOSED,
        CALENDAR_LINK_CREATED,
        CALENDAR_LINK_REVOKED,
        AGENDA_ITEM_ADDED,
        AGENDA_ITEM_SETTLED,
        HYPOTHESIS_PROPOSED,
        HYPOTHESIS_CHANGED,
        HYPOTHESIS_TESTED,
        HYPOTHESIS_DUE,
        HYPOTHESIS_CLOSED,
        NOTE_WRITTEN,
        NOTE_AMENDED,
        AGENDA_NOTE_WRITTEN,
        AGENDA_NOTE_AMENDED,
        STUDENT_ENTERED,
        STUDENT_LEFT,
        STUDENT_RETURNED,
        TEAM_FORMED,
        TEAM_ARCHIVED,
        TEAM_MEMBERS_CHANGED,
        TEAM_STUDENTS_CHANGED,
        ACTION_ITEM_AGREED,
        ACTION_ITEM_REASSIGNED,
        ACTION_ITEM_CLOSED,
        SCREENING_SCHEDULED,
        SCREENING_MOVED,
        SCREENING_OPENED,
        SCREENING_CLOSED,
        SCREENING_CANCELLED,
        SIGNAL_SUGGESTED,
        SIGNAL_ACCEPTED,
        SIGNAL_DISMISSED,
        SIGNAL_MERGED,
        CORE_STALL_SUGGESTED,
        CORE_STALL_ACCEPTED,
        CORE_STALL_DISMISSED,
        SYNC_APPLIED,
        SYNC_HELD,
        SYNC_FAILED,
        SYNC_FAILED_TO_APPLY,
        SYNC_OVERDUE,
        ENDPOINT_DISABLED,
        ENDPOINT_TESTED,
    )
}


def expand(names: Iterable[str]) -> list[str]:
    """Returns the event types for these names, in the order of the names.

    A name such as `response.*` stands for all types that begin with `response.`.
    """
    return [name for named in names for name in _TYPES_BY_NAME.get(named, ())]


def _types_by_name() -> dict[str, list[str]]:
    types = {name: [name] for name in CATALOGUE}
    for name in CATALOGUE:
        types.setdefault(f"{name.partition('.')[0]}.*", []).append(name)
    return types


_TYPES_BY_NAME = _types_by_name()
"""Event types by name: the name of a type stands for that type, and `<kind>.*` stands for all types of the kind."""


def newest(names: Iterable[str], requested: Mapping[str, int] | None = None) -> dict[str, int]:
    """Returns, for each of these event types, the payload version to render: the requested or else the newest one."""
    return {name: (requested or {}).get(name, CATALOGUE[name].version) for name in sorted(set(names))}


def is_version(name: str, version: int) -> bool:
    """Returns whether the event type with this name has this payload version."""
    return name in CATALOGUE and any(candidate.version == version for candidate in CATALOGUE[name].versions)
