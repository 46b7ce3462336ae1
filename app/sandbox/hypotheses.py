"""Records three hypotheses about why supports in the playground do not work: one open, one under test, one refuted."""

from typing import Any

from app.sandbox.outsiders import Vendor
from app.sandbox.story_printer import StepFailed

HYPOTHESES: tuple[tuple[str, str, str], ...] = (
    (
        "skill",
        "Decodes letter by letter, so that long words take all the attention.",
        "Words of two syllables are read as fast as short ones, and fluency stays low.",
    ),
    (
        "attendance",
        "Misses the sessions on Mondays, when new words are introduced.",
        "Growth stays flat in the weeks without an absence.",
    ),
    (
        "motivation",
        "Avoids reading aloud in front of the group.",
        "Scores that are taken alone are as low as those taken in the group.",
    ),
)
"""The hypotheses, each as the code of its kind, the suspected cause, and what would refute it."""
FOLLOWED = 2
"""The number of supports for comprehension that get oral reading as an additional measure."""


def record_hypotheses(vendor: Vendor) -> str:
    """Proposes a hypothesis for each of three concerns and returns a sentence about the hypotheses.

    The second and the third are put under test; then the third is closed as refuted.
    """
    supports = _supports_to_explain(vendor)
    hypotheses = []
    for support, (kind, statement, refuted_if) in zip(supports, HYPOTHESES, strict=False):
        student = support["student"]
        concern = next(iter(vendor.get("/v1/concerns", student=student, state="accepted", limit=1)["items"]), None)
        if concern is None:
            raise StepFailed("a support has no accepted concern")
        scores = vendor.get("/v1/scores", student=student, limit=2)["items"]
        new = {"concern": concern["id"], "kind": kind, "statement": statement, "refuted_if": refuted_if}
        hypotheses.append(
            vendor.post("/v1/hypotheses", {**new, "evidence_for": [score["id"] for score in scores]})["id"]
        )
    for hypothesis, support in list(zip(hypotheses, supports, strict=False))[1:]:
        vendor.post(f"/v1/hypotheses/{hypothesis}/test", {"support": support["id"]})
    for hypothesis in hypotheses[2:]:
        closing = {"outcome": "refuted", "because": "Alone, the student reads no faster."}
        vendor.post(f"/v1/hypotheses/{hypothesis}/close", closing)
    return f"{len(hypotheses)} hypotheses about why students do not respond."


def follow_comprehension(vendor: Vendor) -> str:
    """Adds oral reading as a second measure to some supports for comprehension. Returns a sentence about it."""
    supports = vendor.get("/v1/supports", area="ela.comprehension", state="active", limit=FOLLOWED)["items"]
    for support in supports:
        measure = {"measure": "orf", "baseline": 60.0, "goal": 75.0, "confirm_rate": True}
        vendor.post(f"/v1/supports/{support['id']}/measures", measure)
    return f"{len(supports)} supports for comprehension are followed by oral reading too."


def _supports_to_explain(vendor: Vendor) -> list[dict[str, Any]]:
    """Returns active supports with the verdict `not_responding`, one for each student."""
    supports = vendor.get("/v1/supports", state="active", verdict="not_responding", limit=50)["items"]
    by_student: dict[str, dict[str, Any]] = {}
    for support in supports:
        by_student.setdefault(support["student"], support)
    return list(by_student.values())
