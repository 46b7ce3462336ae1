"""Declares how both APIs show the delivery of a support: its sessions and its dosage.

The dosage compares the planned and the delivered sessions and minutes.
"""

from datetime import date, datetime

from app.access.permission import Can
from app.resources.declare import Link, Resource
from app.resources.fields import choice, field, one, reference, stored
from app.resources.listing import Filter
from app.resources.members import Id, One
from app.resources.values import JsonObject, Value, item
from app.roster.resource import StaffResource, StudentResource
from app.support.models import Session, SessionChange
from app.support.rules import LostBecause


class LostValue(Value):
    """The number of minutes that were lost for one reason."""

    because: LostBecause = item("The reason.")
    minutes: int = item("The minutes lost for it.", 40)


class DosageSums(Value):
    """The sums of sessions and minutes, planned and delivered."""

    planned_sessions: int = item("The sessions that were planned.", 15)
    delivered_sessions: int = item("The sessions that were given.", 12)
    unknown_sessions: int = item("The planned sessions without a record: unknown, not missed.", 1)
    planned_minutes: int = item("The minutes that were planned.", 450)
    known_minutes: int = item("The planned minutes of sessions that have a record.", 420)
    delivered_minutes: int = item("The minutes that were given.", 350)
    checked_sessions: int = item("The delivered sessions with marks on the checklist of the library's entry.", 6)


class DosageWeekValue(DosageSums):
    """The sessions and minutes of one week.

    `known_minutes` are the planned minutes of those sessions that have a record.
    """

    monday: date = item("The week's Monday.")


class DosageValue(DosageSums):
    """The planned and the delivered sessions and minutes of a period, which includes its first and last day.

    The shares are computed only from planned sessions that have a record. If fewer than half of the planned sessions
    have one, the dosage is unknown, and the shares are null.
    """

    since: date = item("The first day.")
    until: date = item("The last day, included.")
    share: float | None = item("The lesser of the two shares.", 0.83)
    session_share: float | None = item("Delivered sessions over planned sessions with a record.", 0.86)
    minute_share: float | None = item("Delivered minutes over planned minutes with a record.", 0.83)
    adherence: float | None = item(
        "The share of the checklist's parts that was done in the checked sessions; null if none was checked.", 0.85
    )
    lost: list[LostValue] = item(
        "The lost minutes, by reason.",
        rest=None,
        get=lambda dosage: [{"because": because, "minutes": minutes} for because, minutes in dosage.lost.items()],
    )
    lost_by_reason: JsonObject = item(
        "The lost minutes, by reason.", {"absent": 60}, rest="lost", graphql=None, get=lambda dosage: dict(dosage.lost)
    )
    weeks: list[DosageWeekValue] = item("The weeks, in order.")


SINCE: Filter[date] = Filter(
    "since", date, None, "The first day; by default, that of the last phase.", date(2026, 9, 14)
)
UNTIL: Filter[date] = Filter("until", date, None, "The last day, included; by default, today.", date(2026, 12, 18))


class SessionResource(
    Resource[Session],
    kind="session",
    requires=Can.READ_SUPPORTS,
    about=Session.student_id,
    visible=Session.removed_at.is_(None),
    name="Session",
    get="session",
):
    """One delivery of a support. A planned session without a record is unknown, not missed."""

    support_id: Id = reference(Session.support_id, "support", "The support.", rest="support")
    student: One[StudentResource] = one(Session.student_id, StudentResource, "The student that it was for.")
    held_on: date = field(Session.held_on, "The day on which the session took place, or should have taken place.")
    number: int = field(Session.number, "The session's number on its day.", 1)
    attended: bool = field(Session.attended, "Whether the student was present.")
    planned_minutes: int = field(Session.planned_minutes, "The planned minutes.", 30)
    delivered_minutes: int = field(Session.delivered_minutes, "The minutes that were given.", 30)
    lost_because: LostBecause | None = choice(Session.lost_because, "The reason for lost minutes.")
    done_parts: list[int] | None = field(
        Session.done_parts, "The numbers of the checklist's parts that were done; null if nobody checked.", [1, 2, 4]
    )
    checklist_size: int | None = field(
        Session.checklist_size, "The number of parts of the checklist; null if nobody checked.", 5
    )
    recorded_by: One[StaffResource] | None = one(
        Session.recorded_by, StaffResource, "The person who recorded it, if a person did."
    )
    external_id: str | None = field(Session.external_id, "The sender's own id.", "log-3391")
    recorded_at: datetime = field(Session.recorded_at, "When it was recorded.")
    version: int = field(Session.version, "The number of changes; the ETag.", 1)


class SessionChangeResource(
    Resource[SessionChange],
    requires=Can.READ_SUPPORTS,
    about=SessionChange.student_id,
    discloses="session",
    name="SessionChange",
):
    """The values that a session had before it was amended or removed, and the person who changed it."""

    version: int = field(SessionChange.version, "The session's version before the change.", 1)
    before: JsonObject = stored(
        SessionChange.before,
        "The values before the change. Once they are deleted, only the changed fields, each with null.",
    )
    changed_by: One[StaffResource] | None = one(
        SessionChange.changed_by, StaffResource, "The person who changed it, if a person did."
    )
    changed_at: datetime = field(SessionChange.changed_at, "When it was changed.")
    expired_at: datetime | None = field(
        SessionChange.expired_at, "When the values were deleted, usually after a year; null while they are kept."
    )


LINKS = (
    Link(
        SessionResource,
        "changes",
        SessionChangeResource,
        SessionChange.session_id == Session.id,
        "Its values before each change, oldest first.",
        order=(SessionChange.version,),
    ),
)
