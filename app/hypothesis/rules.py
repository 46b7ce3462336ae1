"""Defines the states of a hypothesis, the transitions between them, and what can be evidence.

Does not use the database.
"""

from collections.abc import Sequence
from enum import StrEnum

from app.core.errors import Conflict, Violation


class HypothesisState(StrEnum):
    """The state of a hypothesis: open, then testing, then one of three outcomes."""

    OPEN = "open"
    TESTING = "testing"
    SUPPORTED = "supported"
    REFUTED = "refuted"
    UNCLEAR = "unclear"


class HypothesisConclusion(StrEnum):
    """What the team concludes about a hypothesis."""

    SUPPORTED = "supported"
    REFUTED = "refuted"
    UNCLEAR = "unclear"


class DueBecause(StrEnum):
    """Why a hypothesis is due for review: the support that tests it has ended, or its verdict has changed."""

    SUPPORT_ENDED = "support_ended"
    VERDICT_TURNED = "verdict_turned"


NO_TURN = ("insufficient_data", "uncertain")
"""The states of a verdict that conclude nothing: a change to one of them makes no hypothesis due for review."""
EVIDENCE_KINDS = ("score", "verdict", "session", "decision", "concern", "support", "note", "result")
"""The kinds of records that can be evidence for or against a hypothesis."""
MAX_EVIDENCE = 50


def check_open(state: str) -> None:
    """Raises `Conflict` if a hypothesis has been closed."""
    if state not in (HypothesisState.OPEN, HypothesisState.TESTING):
        detail = f"This hypothesis is closed: {state}. Propose another one."
        raise Conflict(detail, code="hypothesis.closed")


def violations_of_evidence(evidence_for: Sequence[str], evidence_against: Sequence[str]) -> list[Violation]:
    """Returns the violations of the evidence: each record that is in both lists, and each list that is too long."""
    detail = "This record is evidence for the hypothesis already."
    doubled = [
        Violation(f"/evidence_against/{place}", "hypothesis.evidence_doubled", detail)
        for place, name in enumerate(evidence_against)
        if name in evidence_for
    ]
    too_many = [
        Violation(f"/{name}", "hypothesis.evidence_count", f"At most {MAX_EVIDENCE} records.")
        for name, names in (("evidence_for", evidence_for), ("evidence_against", evidence_against))
        if len(names) > MAX_EVIDENCE
    ]
    return [*doubled, *too_many]
