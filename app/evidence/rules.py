"""Validates scores and computes a baseline. Pure."""

from collections import defaultdict
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from math import isfinite
from statistics import median
from typing import Any

from app.core.errors import Violation
from app.core.violations import Violations, broken_rules, partial_input


class ScorePurpose(StrEnum):
    """The purpose of a score."""

    SCREENING = "screening"
    BASELINE = "baseline"
    PROGRESS = "progress"


PURPOSES = tuple(purpose.value for purpose in ScorePurpose)
BASELINE_SCORES = 3
MAX_BATCH = 500


@dataclass(frozen=True, slots=True)
class ScoreInput:
    """A score to validate.

    `lowest`, `highest` and `forms` are the smallest value, the largest value and the forms of its measure.
    """

    value: float
    taken_on: date
    attempt: int
    purpose: str
    form: str | None
    lowest: float
    highest: float
    forms: Sequence[str] | None
    today: date


def violations_of(values: Mapping[str, Any], at: str) -> Violations:
    """Returns the violations of a score. `at` is the JSON Pointer of the score.

    `values` has the fields of `ScoreInput`. Rules about a missing field are skipped.
    """
    return broken_rules(_RULES, partial_input(ScoreInput, values), at)


def _value_in_range(score: ScoreInput, at: str) -> list[Violation]:
    if isfinite(score.value) and score.lowest <= score.value <= score.highest:
        return []
    detail = f"This measure gives values from {score.lowest:g} to {score.highest:g}."
    return [Violation(f"{at}/value", "score.out_of_range", detail)]


def _taken_already(score: ScoreInput, at: str) -> list[Violation]:
    if score.taken_on <= score.today:
        return []
    return [Violation(f"{at}/taken_on", "score.in_the_future", "A score is taken today or before.")]


def _attempt(score: ScoreInput, at: str) -> list[Violation]:
    if score.attempt >= 1:
        return []
    return [Violation(f"{at}/attempt", "score.attempt", "Attempts count from 1.")]


def _purpose(score: ScoreInput, at: str) -> list[Violation]:
    if score.purpose in PURPOSES:
        return []
    return [Violation(f"{at}/purpose", "score.purpose", f"A purpose is one of {', '.join(PURPOSES)}.")]


def is_unknown_form(form: str | None, forms: Sequence[str] | None) -> bool:
    """Returns whether a measure has a list of forms that does not contain this form."""
    return form is not None and forms is not None and form not in forms


def _known_form(score: ScoreInput, at: str) -> list[Violation]:
    if not is_unknown_form(score.form, score.forms):
        return []
    return [Violation(f"{at}/form", "score.unknown_form", "This measure has no such form.")]


_RULES = (_value_in_range, _taken_already, _attempt, _purpose, _known_form)


def find_contradictions(sent: Sequence[tuple[Hashable, Hashable | None, Hashable] | None]) -> dict[int, int]:
    """Finds the scores that contradict another score of the same batch.

    The result maps the position of each such score to the position of the first score that it contradicts.

    Two scores contradict each other if they have the same key or the same external id, but differ in key or content.
    Two scores with the same key and the same content are one score that was sent twice, and not a contradiction.

    Each item of `sent` describes one score: its key (student, measure, date, attempt), its external id and its content.
    An item is None if the input is not a valid score.
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
