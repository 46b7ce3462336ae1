"""Declares the public shape of hypotheses: the resource, its list, its links and its commands."""

from datetime import date
from typing import Any
from uuid import UUID

from app.access.permission import Can
from app.access.work import Work
from app.concern.models import Concern
from app.concern.resource import ConcernResource
from app.core import ids
from app.core.errors import Invalid, NotFound
from app.events.catalogue import HYPOTHESIS_CHANGED, HYPOTHESIS_CLOSED, HYPOTHESIS_PROPOSED, HYPOTHESIS_TESTED
from app.hypothesis import service
from app.hypothesis.models import Hypothesis
from app.hypothesis.rules import DueBecause, HypothesisState
from app.playbook.hypotheses.resource import HypothesisKindResource
from app.resources.command import Body, Command
from app.resources.declare import Link, Resource
from app.resources.fields import choice, field, one, stored
from app.resources.listing import Filter, Flag, Listing, Resolver, Sort
from app.resources.members import One
from app.resources.values import Value, item
from app.response.resource import VerdictResource
from app.roster.filters import by_school, by_student
from app.roster.models import Person
from app.roster.resource import StaffResource, StudentResource
from app.support.models import Support
from app.support.resource import SupportResource
from app.team.filters import by_team

EXAMPLES = {"concern": "con_01jq4n6d9zf3vbs0x5k2m7e8te", "support": "sup_01jq4n6d9zf3vbs0x5k2m7e8tf"}


class ClosingDosageValue(Value):
    """How much of the support was delivered while it tested the hypothesis, until the hypothesis was closed."""

    since: str = item("The first day of the test.", "2026-10-05")
    until: str = item("The day of the closing.", "2026-12-18")
    planned_sessions: int = item("The sessions that were planned.", 30)
    delivered_sessions: int = item("The sessions that were given.", 27)
    unknown_sessions: int = item("The planned sessions without a record.", 1)
    share: float | None = item(
        "The lesser of the shares of sessions and minutes that were delivered; null while it is unknown.", 0.93
    )


class HypothesisResource(
    Resource[Hypothesis],
    kind="hypothesis",
    requires=Can.READ_HYPOTHESES,
    about=Hypothesis.student_id,
    name="Hypothesis",
    get="hypothesis",
):
    """A suspected cause of a concern, with the evidence, what would refute it, and the support that tests it."""

    student: One[StudentResource] = one(Hypothesis.student_id, StudentResource, "The student that it is about.")
    concern: One[ConcernResource] = one(Hypothesis.concern_id, ConcernResource, "The concern that it explains.")
    kind: One[HypothesisKindResource] = one(Hypothesis.kind_id, HypothesisKindResource, "The kind of cause.")
    state: HypothesisState = choice(Hypothesis.state, "The state of the hypothesis; the last three are outcomes.")
    statement: str = field(Hypothesis.statement, "The suspected cause.", "Decodes letter by letter.")
    refuted_if: str = field(Hypothesis.refuted_if, "What would refute it.", "Long words are read as fast.")
    evidence_for: list[str] = field(
        Hypothesis.evidence_for, "The ids of the records that speak for it.", ["sco_01jq4n6d9zf3vbs0x5k2m7e8tj"]
    )
    evidence_against: list[str] = field(
        Hypothesis.evidence_against, "The ids of the records that speak against it.", []
    )
    support: One[SupportResource] | None = one(Hypothesis.support_id, SupportResource, "The support that tests it.")
    testing_since: date | None = field(Hypothesis.testing_since, "The day since which this support has tested it.")
    due_because: DueBecause | None = choice(
        Hypothesis.due_because, "Why it is due for review: the support ended, or its verdict changed."
    )
    proposed_by: One[StaffResource] | None = one(
        Hypothesis.proposed_by, StaffResource, "The person who proposed it, if a person did."
    )
    proposed_on: date = field(Hypothesis.proposed_on, "The day on which it was proposed.")
    closed_by: One[StaffResource] | None = one(
        Hypothesis.closed_by, StaffResource, "The person who closed it, if a person did."
    )
    closed_on: date | None = field(Hypothesis.closed_on, "The day on which it was closed.")
    closed_because: str | None = field(
        Hypothesis.closed_because, "Why the team concluded this.", "Reads long words now, and fluency has followed."
    )
    verdict: One[VerdictResource] | None = one(
        Hypothesis.verdict_id, VerdictResource, "The verdict of the support on the day on which it was closed."
    )
    dosage: ClosingDosageValue | None = stored(
        Hypothesis.dosage, "The dosage of the support on the day on which it was closed."
    )
    version: int = field(Hypothesis.version, "The number of changes; the ETag.", 1)


def _id_of(kind: str) -> Resolver:
    """Returns a function that converts a public id of this kind into the row's id."""

    async def resolve(work: Work, text: str, pointer: str | None) -> UUID:
        try:
            return ids.parse_id(kind, text, pointer or "")
        except Invalid:
            if pointer is None:
                raise NotFound(kind) from None
            raise

    return resolve


def _by_row(kind: str, column: Any, words: str) -> Filter[UUID]:
    return Filter(
        kind,
        str,
        lambda row_id: column == row_id,
        words,
        EXAMPLES[kind],
        graphql=f"{kind}_id",
        resolve=_id_of(kind),
        bound=UUID,
        narrow=True,
    )


LINKS = (
    Link(
        ConcernResource,
        "hypotheses",
        HypothesisResource,
        Hypothesis.concern_id == Concern.id,
        "The hypotheses about its cause, oldest first.",
        order=(Hypothesis.id,),
    ),
    Link(
        SupportResource,
        "hypotheses",
        HypothesisResource,
        Hypothesis.support_id == Support.id,
        "The hypotheses that it tests or has tested, oldest first.",
        order=(Hypothesis.id,),
    ),
    Link(
        StudentResource,
        "hypotheses",
        HypothesisResource,
        Hypothesis.student_id == Person.id,
        "Every hypothesis about the student, oldest first.",
        order=(Hypothesis.id,),
    ),
)

LISTINGS = (
    Listing(
        "hypotheses",
        HypothesisResource,
        "Hypotheses in the order in which they were proposed.",
        filters=(
            by_student(Hypothesis.student_id),
            by_school(Hypothesis),
            by_team(Hypothesis.student_id),
            _by_row("concern", Hypothesis.concern_id, "Only those that explain this concern."),
            _by_row("support", Hypothesis.support_id, "Only those that this support tests."),
            Filter(
                "state",
                HypothesisState,
                lambda state: Hypothesis.state == state,
                "Only hypotheses in this state.",
                HypothesisState.OPEN,
            ),
        ),
        flags=(
            Flag(
                "due",
                "Only those that are due for review, because the support has ended or its verdict has changed.",
                on=Hypothesis.due_because.is_not(None),
            ),
        ),
        sorts=(
            Sort(
                "due",
                (Hypothesis.due_since, Hypothesis.id),
                "By the day since which it has been due for review, longest first; others come last.",
            ),
        ),
        schools=Hypothesis,
        changed_at=Hypothesis.updated_at,
    ),
)

COMMANDS = (
    Command(
        "propose_hypothesis",
        service.propose_hypothesis,
        HypothesisResource,
        "Proposes a hypothesis about the cause of a concern that is raised or accepted.",
        "POST /hypotheses",
        emits=(HYPOTHESIS_PROPOSED,),
        status=201,
        bulk=service.MAX_AT_ONCE,
        items="hypotheses",
    ),
    Command(
        "add_evidence",
        service.add_evidence,
        HypothesisResource,
        "Adds records to the evidence for or against a hypothesis that is not closed.",
        "POST /hypotheses/{hypothesis}/evidence",
        emits=(HYPOTHESIS_CHANGED,),
        body=Body("NewEvidence", "Records that speak for or against a hypothesis."),
    ),
    Command(
        "test_with_support",
        service.test_with_support,
        HypothesisResource,
        "Starts the test of a hypothesis by a support, or continues it after a review. It is due for review "
        "when the support ends or its verdict changes.",
        "POST /hypotheses/{hypothesis}/test",
        emits=(HYPOTHESIS_TESTED,),
        body=Body("HypothesisTest", "The support that tests a hypothesis."),
    ),
    Command(
        "close_hypothesis",
        service.close_hypothesis,
        HypothesisResource,
        "Closes a hypothesis with an outcome, and keeps the verdict and the dosage of its support of this day.",
        "POST /hypotheses/{hypothesis}/close",
        emits=(HYPOTHESIS_CLOSED,),
        body=Body("HypothesisClosing", "The outcome of a hypothesis, with the reason."),
    ),
)
