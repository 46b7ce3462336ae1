"""Validates scores and computes a baseline. Pure."""

from collections import defaultdict
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from math import isfinite
from statistics import median

from app.core.errors import Violation


class ScorePurpose(StrEnum):
    """The purpose of a score."""

    SCREENING = "screening"
    BASELINE = "baseline"
    PROGRESS = "progress"


PURPOSES = tuple(purpose.value for purpose in ScorePurpose)
BASELINE_SCORES = 3
MAX_BATCH = 500


@dataclass(frozen=True, slots=True)
class Range:
    """The lowest and the highest value that a measure can give."""

    lowest: float
    highest: float


def violations_of(
    value: float, taken_on: date, attempt: int, purpose: str, *, range_: Range, today: date, at: str
) -> list[Violation]:
    """Returns the violations in a score's date, attempt, purpose and value. `at` is the JSON Pointer of the score."""
    violations = []
    if not isfinite(value) or not range_.lowest <= value <= range_.highest:
        detail = f"This measure gives values from {range_.lowest:g} to {range_.highest:g}."
        violations.append(Violation(f"{at}/value", "score.out_of_range", detail))
    if taken_on > today:
        violations.append(Violation(f"{at}/taken_on", "score.in_the_future", "A score is taken today or before."))
    if attempt < 1:
        violations.append(Violation(f"{at}/attempt", "score.attempt", "Attempts count from 1."))
    if purpose not in PURPOSES:
        violations.append(Violation(f"{at}/purpose", "score.purpose", f"A purpose is one of {', '.join(PURPOSES)}."))
    return violations


def unknown_form(form: str | None, forms: Sequence[str] | None, at: str) -> list[Violation]:
    """Returns a violation if the measure has a list of forms without this form, otherwise an empty list."""
    if form is None or forms is None or form in forms:
        return []
    return [Violation(f"{at}/form", "score.unknown_form", "This measure has no such form.")]


def find_contradictions(sent: Sequence[tuple[Hashable, Hashable | None, Hashable] | None]) -> dict[int, int]:
    """Returns the positions of scores that contradict an earlier score of the same batch, each with the earlier
    position.

    Each item of `sent` describes one score: its key (student, measure, date, attempt), its external id and its content.
    An item is None if the input is not a valid score. Two items with the same content are one score that was sent
    twice, and not a contradiction.
    """
    by_identity: dict[tuple[str, Hashable], list[int]] = defaultdict(list)
    for position, score in enumerate(sent):
        if score is not None:
            by_identity["key", score[0]].append(position)
            if score[1] is not None:
                by_identity["name", score[1]].append(position)
    contents = {position: (score[0], score[2]) for position, score in enumerate(sent) if score is not None}
    contradictions: dict[int, int] = {}
    for positions in by_identity.values():
        for position in positions:
            other = next((other for other in positions if contents[other] != contents[position]), None)
            if other is not None:
                contradictions[position] = min(other, contradictions.get(position, other))
    return contradictions


def baseline_of(values: Sequence[float]) -> float | None:
    """Returns the median of the last three scores (see "baseline" in the glossary), or None if there are fewer."""
    return median(values[-BASELINE_SCORES:]) if len(values) >= BASELINE_SCORES else None
