"""Proposes hypotheses about the cause of a concern, tests them with supports, and closes them with an outcome."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Final
from uuid import UUID

from app.access.permission import Can
from app.access.work import Work, needs
from app.concern.models import Concern
from app.concern.rules import ConcernState
from app.core import ids
from app.core.clock import now
from app.core.errors import Invalid, NotFound, Violation
from app.core.ids import new_id
from app.core.inputs import About, AtMost, Choices
from app.core.text import Text
from app.core.violations import Violations, input_violations
from app.events.catalogue import (
    HYPOTHESIS_CHANGED,
    HYPOTHESIS_CLOSED,
    HYPOTHESIS_PROPOSED,
    HYPOTHESIS_TESTED,
    EventType,
    NewEvent,
)
from app.events.outbox import record, student_event
from app.hypothesis.lookup import check_evidence, dosage_since, locate_support, verdict_now
from app.hypothesis.models import NOT_DUE, Hypothesis
from app.hypothesis.rules import (
    MAX_EVIDENCE,
    HypothesisConclusion,
    HypothesisState,
    check_open,
    violations_of_evidence,
)
from app.playbook.hypotheses.lookup import locate_kind
from app.roster.lookup import resolve_actor, today_of
from app.roster.student_lock import lock_student_of
from app.support.dosage import Dosage

MAX_AT_ONCE: Final = 100
BECAUSE = Text(min=1, max=4000)
FOR = About("The ids of records that speak for it: scores, results, verdicts, sessions, notes.", ())
AGAINST = About("The ids of records that speak against it.", ())


@dataclass(frozen=True, slots=True)
class NewHypothesis:
    """A hypothesis to be proposed about the cause of a concern."""

    concern: Annotated[
        str, About("The concern that it explains, raised or accepted.", "con_01jq4n6d9zf3vbs0x5k2m7e8te")
    ]
    kind: Annotated[str, Text(min=1, max=40), About("The kind of cause: a code of the playbook.", "skill")]
    statement: Annotated[
        str, Text(min=1, max=2000), About("The suspected cause.", "Decodes letter by letter; long words take her out.")
    ]
    refuted_if: Annotated[
        str,
        Text(min=1, max=2000),
        About("What would refute it.", "Words of two syllables are read as fast as short ones, and fluency stays low."),
    ]
    evidence_for: Annotated[tuple[str, ...], AtMost(MAX_EVIDENCE), FOR] = ()
    evidence_against: Annotated[tuple[str, ...], AtMost(MAX_EVIDENCE), AGAINST] = ()
    proposed_by: Annotated[
        str | None,
        About(
            "An id or an external id; by default, the person that the request acts for.",
            "per_01jq4n6d9zf3vbs0x5k2m7e8tb",
        ),
    ] = None


@needs(Can.WEIGH_HYPOTHESES)
async def propose_hypothesis(work: Work, new: NewHypothesis) -> Hypothesis:
    """Proposes a hypothesis about the cause of a concern that is raised or accepted."""
    violations = Violations(input_violations(new))
    with violations:
        concern = await _lock_concern(work, new.concern)
        for name in ("evidence_for", "evidence_against"):
            with violations:
                await check_evidence(work, concern, getattr(new, name), f"/{name}")
    with violations:
        violations.add(violations_of_evidence(new.evidence_for, new.evidence_against))
    with violations:
        kind = await locate_kind(work, new.kind, "/kind")
    with violations:
        proposed_by = await resolve_actor(work, new.proposed_by, "/proposed_by")
    violations.refuse()
    hypothesis = Hypothesis(
        district_id=work.district_id,
        id=new_id(),
        student_id=concern.student_id,
        school_ids=concern.school_ids,
        secured_area=concern.secured_area,
        concern_id=concern.id,
        kind_id=kind.id,
        statement=new.statement,
        refuted_if=new.refuted_if,
        evidence_for=list(dict.fromkeys(new.evidence_for)),
        evidence_against=list(dict.fromkeys(new.evidence_against)),
        state=HypothesisState.OPEN,
        proposed_by=proposed_by,
        proposed_by_client=work.principal.client_id,
        proposed_on=await today_of(work),
        created_at=now(),
        version=1,
    )
    work.db.add(hypothesis)
    await work.db.flush()
    _emit(work, HYPOTHESIS_PROPOSED, hypothesis)
    return hypothesis


@needs(Can.WEIGH_HYPOTHESES)
async def add_evidence(
    work: Work,
    hypothesis_id: UUID,
    evidence_for: Annotated[Sequence[str], AtMost(MAX_EVIDENCE), FOR] = (),
    evidence_against: Annotated[Sequence[str], AtMost(MAX_EVIDENCE), AGAINST] = (),
) -> Hypothesis:
    """Adds records to the evidence for or against a hypothesis that is not closed. Existing evidence stays."""
    hypothesis = await _lock(work, hypothesis_id)
    pro = list(dict.fromkeys([*hypothesis.evidence_for, *evidence_for]))
    contra = list(dict.fromkeys([*hypothesis.evidence_against, *evidence_against]))
    violations = Violations(violations_of_evidence(pro, evidence_against))
    violations.add(violations_of_evidence((), contra))
    for name, names in (("evidence_for", evidence_for), ("evidence_against", evidence_against)):
        with violations:
            await check_evidence(work, hypothesis, names, f"/{name}")
    violations.refuse()
    hypothesis.evidence_for, hypothesis.evidence_against = pro, contra
    return await _changed(work, hypothesis, HYPOTHESIS_CHANGED)


@needs(Can.WEIGH_HYPOTHESES)
async def test_with_support(
    work: Work,
    hypothesis_id: UUID,
    support: Annotated[str, About("The support that tests it.", "sup_01jq4n6d9zf3vbs0x5k2m7e8tf")],
) -> Hypothesis:
    """Starts to test a hypothesis with a support, or continues the test after a review.

    The hypothesis becomes due for review when the support ends or its verdict changes.
    """
    hypothesis = await _lock(work, hypothesis_id)
    row = await locate_support(work, support, hypothesis)
    verdict = await verdict_now(work, row.id)
    if hypothesis.support_id != row.id:
        hypothesis.testing_since = await today_of(work)
    hypothesis.state, hypothesis.support_id = HypothesisState.TESTING, row.id
    hypothesis.verdict_state = None if verdict is None else verdict.state
    hypothesis.due_since, hypothesis.due_because = NOT_DUE, None
    return await _changed(work, hypothesis, HYPOTHESIS_TESTED)


@needs(Can.WEIGH_HYPOTHESES)
async def close_hypothesis(
    work: Work,
    hypothesis_id: UUID,
    outcome: Annotated[
        HypothesisConclusion,
        Choices(HypothesisConclusion),
        About("What the team concludes.", HypothesisConclusion.SUPPORTED),
    ],
    because: Annotated[
        str, BECAUSE, About("Why the team concludes it.", "Reads long words now, and fluency has followed.")
    ],
) -> Hypothesis:
    """Closes a hypothesis with an outcome.

    If a support tests the hypothesis, also stores the support's current verdict, and its dosage since the test began.
    """
    BECAUSE.require(because, "/because")
    hypothesis = await _lock(work, hypothesis_id)
    if hypothesis.support_id is not None and hypothesis.testing_since is not None:
        verdict = await verdict_now(work, hypothesis.support_id)
        hypothesis.verdict_id = None if verdict is None else verdict.verdict_id
        dosage = await dosage_since(work, hypothesis.support_id, hypothesis.testing_since)
        hypothesis.dosage = None if dosage is None else _kept(dosage)
    hypothesis.state, hypothesis.closed_because = outcome, because
    hypothesis.closed_by, hypothesis.closed_on = work.principal.person_id, await today_of(work)
    hypothesis.due_since, hypothesis.due_because = NOT_DUE, None
    return await _changed(work, hypothesis, HYPOTHESIS_CLOSED)


async def _lock(work: Work, hypothesis_id: UUID) -> Hypothesis:
    """Locks the student of a hypothesis that is not closed, and returns the hypothesis."""
    hypothesis = await lock_student_of(work, Hypothesis, Hypothesis.id, hypothesis_id)
    if hypothesis is None:
        raise NotFound("hypothesis")
    work.disclose("hypothesis", [hypothesis.student_id])
    check_open(hypothesis.state)
    return hypothesis


async def _lock_concern(work: Work, name: str) -> Concern:
    concern = await lock_student_of(work, Concern, Concern.id, ids.parse_id("concern", name, "/concern"))
    if concern is None:
        detail = "There is no such concern within this caller's reach."
        raise Invalid([Violation("/concern", "concern.unknown", detail)])
    work.disclose("concern", [concern.student_id])
    if concern.state not in (ConcernState.RAISED, ConcernState.ACCEPTED):
        detail = f"This concern is {concern.state}: there is nothing to explain any more."
        raise Invalid([Violation("/concern", "concern.closed", detail)])
    return concern


def _kept(dosage: Dosage) -> dict[str, Any]:
    """Returns the figures of a dosage that are stored with a closed hypothesis."""
    return {
        "since": dosage.since.isoformat(),
        "until": dosage.until.isoformat(),
        "planned_sessions": dosage.planned_sessions,
        "delivered_sessions": dosage.delivered_sessions,
        "unknown_sessions": dosage.unknown_sessions,
        "share": dosage.share,
    }


async def _changed(work: Work, hypothesis: Hypothesis, type_: EventType) -> Hypothesis:
    hypothesis.version += 1
    await work.db.flush()
    _emit(work, type_, hypothesis)
    return hypothesis


def _emit(work: Work, type_: EventType, hypothesis: Hypothesis) -> None:
    record(work, hypothesis_event(type_, hypothesis))


def hypothesis_event(type_: EventType, hypothesis: Hypothesis) -> NewEvent:
    """Returns an event about a hypothesis, with the ids of the student and the concern."""
    return student_event(type_, hypothesis, {"concern": hypothesis.concern_id})
