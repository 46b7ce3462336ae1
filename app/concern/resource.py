"""Declares the public shape of concerns: the resource, its list and its commands."""

from datetime import date, datetime

from app.access.permission import Can
from app.concern import service
from app.concern.models import Concern
from app.concern.rules import ConcernState
from app.concern.unserved import count_unserved_days, unserved_days
from app.events.catalogue import CONCERN_ACCEPTED, CONCERN_DISMISSED, CONCERN_RAISED, CONCERN_RESOLVED
from app.playbook.filters import by_area
from app.playbook.resource import AreaResource
from app.resources.command import Body, Command
from app.resources.declare import Link, Resource
from app.resources.fields import choice, computed, field, one, reference
from app.resources.listing import Filter, Listing, Sort
from app.resources.members import Id, One
from app.resources.values import Value, item
from app.roster.filters import by_school, by_student
from app.roster.models import Person
from app.roster.resource import StaffResource, StudentResource
from app.team.filters import by_team


class UnservedValue(Value):
    """How long an accepted concern has been without an active support."""

    days: int = item("The days of instruction since then.", 12)


class ConcernResource(
    Resource[Concern],
    kind="concern",
    requires=Can.READ_CONCERNS,
    about=Concern.student_id,
    name="Concern",
    get="concern",
):
    """A concern about one student in one area."""

    student: One[StudentResource] = one(Concern.student_id, StudentResource, "The student that it is about.")
    area: One[AreaResource] = one(Concern.area_id, AreaResource, "The area of the concern.")
    state: ConcernState = choice(Concern.state, "The state of the concern.")
    description: str = field(
        Concern.description,
        "The observation that worries the person who raised the concern.",
        "Reads 40 words a minute, far below the class.",
    )
    raised_by: One[StaffResource] | None = one(
        Concern.raised_by, StaffResource, "The person who raised the concern, if a person did."
    )
    raised_on: date = field(Concern.raised_on, "The date on which it was raised.")
    settled_by: One[StaffResource] | None = one(
        Concern.settled_by,
        StaffResource,
        "The person who accepted, dismissed or resolved the concern, if a person did.",
    )
    settled_at: datetime | None = field(Concern.settled_at, "When it was accepted, dismissed or resolved.")
    settled_because: str | None = field(
        Concern.settled_because, "Why it was accepted, dismissed or resolved.", "Screening confirms it."
    )
    repeats_id: Id | None = reference(
        Concern.repeats_id,
        "concern",
        "The dismissed concern about the same student and area that it raises again.",
        rest="repeats",
    )
    unserved_since: date | None = field(
        Concern.unserved_since,
        "The day since which the accepted concern has had no active support; null for any other.",
    )
    unserved: UnservedValue | None = computed(
        count_unserved_days,
        (Concern.id, Concern.unserved_since),
        "How long it has had no active support; null for any other concern.",
        rest=None,
    )
    unserved_days: int | None = computed(
        unserved_days,
        (Concern.id, Concern.unserved_since),
        "The days of instruction since then; null for any other concern.",
        graphql=None,
    )
    version: int = field(Concern.version, "The number of changes; the ETag.", 1)


LINKS = (
    Link(
        StudentResource,
        "concerns",
        ConcernResource,
        Concern.student_id == Person.id,
        "Every concern about the student, oldest first.",
        order=(Concern.id,),
    ),
)

LISTINGS = (
    Listing(
        "concerns",
        ConcernResource,
        "Concerns in the order in which they were recorded.",
        filters=(
            by_student(Concern.student_id),
            by_school(Concern),
            by_team(Concern.student_id),
            by_area(Concern.area_id),
            Filter(
                "state",
                ConcernState,
                lambda state: Concern.state == state,
                "Only concerns in this state.",
                ConcernState.RAISED,
            ),
        ),
        sorts=(
            Sort(
                "unserved",
                (Concern.unserved_order, Concern.id),
                "By the day since which there is no active support, longest first; other concerns come last.",
            ),
        ),
        schools=Concern,
        changed_at=Concern.updated_at,
    ),
)

REASON = Body("ConcernReason", "The reason for a change of state.")

COMMANDS = (
    Command(
        "raise_concern",
        service.raise_concern,
        ConcernResource,
        "Raises a concern about one student in one area.",
        "POST /concerns",
        emits=(CONCERN_RAISED,),
        status=201,
        bulk=500,
        items="concerns",
    ),
    Command(
        "accept_concern",
        service.accept_concern,
        ConcernResource,
        "Accepts a concern: the team will act on it.",
        "POST /concerns/{concern}/accept",
        emits=(CONCERN_ACCEPTED,),
        body=REASON,
    ),
    Command(
        "dismiss_concern",
        service.dismiss_concern,
        ConcernResource,
        "Dismisses a concern: the team will not act on it.",
        "POST /concerns/{concern}/dismiss",
        emits=(CONCERN_DISMISSED,),
        body=REASON,
    ),
    Command(
        "resolve_concern",
        service.resolve_concern,
        ConcernResource,
        "Resolves an accepted concern.",
        "POST /concerns/{concern}/resolve",
        emits=(CONCERN_RESOLVED,),
        body=REASON,
    ),
)
