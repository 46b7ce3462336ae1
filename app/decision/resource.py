"""Declares the public shape of decisions."""

from datetime import date
from uuid import UUID

from app.access.permission import Can
from app.access.work import Work
from app.core import ids
from app.core.errors import Invalid, NotFound
from app.decision import service
from app.decision.models import Decision
from app.decision.rules import DecisionKind
from app.events.catalogue import DECISION_MADE, SUPPORT_CHANGED, SUPPORT_ENDED
from app.resources.command import Body, Command
from app.resources.declare import Link, OneLink, Resource
from app.resources.fields import choice, field, one, reference
from app.resources.listing import Filter, Listing
from app.resources.members import Id, One
from app.roster.filters import by_student
from app.roster.models import Person
from app.roster.resource import StaffResource, StudentResource
from app.support.models import Phase, Support
from app.support.resource import PhaseResource, SupportResource


class DecisionResource(
    Resource[Decision],
    kind="decision",
    requires=Can.READ_DECISIONS,
    about=Decision.student_id,
    name="Decision",
    get="decision",
):
    """A team's decision, with the verdict that the team saw."""

    student: One[StudentResource] = one(Decision.student_id, StudentResource, "The student that it is about.")
    support: One[SupportResource] | None = one(
        Decision.support_id, SupportResource, "The support that it is about; a referral may have none."
    )
    kind: DecisionKind = choice(Decision.kind, "The kind of the decision.")
    verdict_id: Id | None = reference(Decision.verdict_id, "verdict", "The verdict that the team saw.", rest="verdict")
    phase_id: Id | None = reference(Decision.phase_id, "phase", "The phase that the decision began.", rest="phase")
    decided_by: One[StaffResource] | None = one(Decision.decided_by, StaffResource, "The person who decided, if known.")
    decided_on: date = field(Decision.decided_on, "The day of the decision.")
    note: str | None = field(Decision.note, "A note.", "Two weeks of absence; look again in May.")
    playbook_id: Id = reference(
        Decision.playbook_version_id, "playbook", "The version of the playbook in force.", rest="playbook"
    )


async def _support_id(work: Work, text: str, pointer: str | None) -> UUID:
    """Returns the UUID in a support's public id.

    For a malformed id, raises `Invalid` at `pointer`, or `NotFound` if there is no pointer.
    """
    if pointer is not None:
        return ids.parse_id("support", text, pointer)
    try:
        return ids.parse_id("support", text)
    except Invalid:
        raise NotFound("support") from None


LINKS = (
    OneLink(
        DecisionResource,
        "new_phase",
        PhaseResource,
        Phase.id == Decision.phase_id,
        "The phase that the decision began, with the required rate before and after; null if it began none.",
        inline=True,
    ),
    Link(
        StudentResource,
        "decisions",
        DecisionResource,
        Decision.student_id == Person.id,
        "Every decision about the student, oldest first.",
        order=(Decision.id,),
    ),
    Link(
        SupportResource,
        "decisions",
        DecisionResource,
        Decision.support_id == Support.id,
        "The team's decisions about it, oldest first.",
        order=(Decision.id,),
    ),
)

LISTINGS = (
    Listing(
        "decisions",
        DecisionResource,
        "Decisions in the order in which they were recorded.",
        filters=(
            by_student(Decision.student_id),
            Filter(
                "support",
                str,
                lambda support_id: Decision.support_id == support_id,
                "Only decisions about this support.",
                "sup_01jq4n6d9zf3vbs0x5k2m7e8tf",
                graphql="support_id",
                resolve=_support_id,
                bound=UUID,
                narrow=True,
            ),
        ),
        schools=Decision,
        changed_at=Decision.updated_at,
    ),
)

COMMANDS = (
    Command(
        "decide",
        service.decide,
        DecisionResource,
        "Records a team's decision and carries it out: a change begins a new phase, which needs `support:plan` and "
        "`score:read` too, and an exit ends the support, which needs `support:plan`.",
        "POST /decisions",
        sometimes=(Can.PLAN_SUPPORT, Can.READ_SCORES),
        emits=(DECISION_MADE, SUPPORT_CHANGED, SUPPORT_ENDED),
        status=201,
        body=Body(
            "NewDecision",
            "A team's decision to be recorded. A referral can be recorded at any time and requires nothing before it.",
        ),
    ),
)
