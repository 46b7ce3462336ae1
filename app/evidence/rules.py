"""Owns what makes a score fit to be taken. Pure."""

from collections import defaultdict
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from datetime import date
from math import isfinite
from statistics import median

from app.core.errors import Violation

PURPOSES = ("screening", "baseline", "progress")
BASELINE_SCORES = 3
MOST_AT_ONCE = 500


@dataclass(frozen=True, slots=True)
class Range:
    """What a measure can give."""

    lowest: float
    highest: float


def violations_of(
    value: float, taken_on: date, attempt: int, purpose: str, *, range_: Range, today: date, at: str
) -> list[Violation]:
    """Everything wrong with a score by itself; `at` is its JSON Pointer."""
    found = []
    if not isfinite(value) or not range_.lowest <= value <= range_.highest:
        detail = f"This measure gives values from {range_.lowest:g} to {range_.highest:g}."
        found.append(Violation(f"{at}/value", "score.out_of_range", detail))
    if taken_on > today:
        found.append(Violation(f"{at}/taken_on", "score.in_the_future", "A score is taken today or before."))
    if attempt < 1:
        found.append(Violation(f"{at}/attempt", "score.attempt", "Attempts count from 1."))
    if purpose not in PURPOSES:
        found.append(Violation(f"{at}/purpose", "score.purpose", f"A purpose is one of {', '.join(PURPOSES)}."))
    return found


def unknown_form(form: str | None, forms: Sequence[str] | None, at: str) -> list[Violation]:
    """A form that the measure does not list; any form will do for a measure that lists none."""
    if form is None or forms is None or form in forms:
        return []
    return [Violation(f"{at}/form", "score.unknown_form", "This measure has no such form.")]


def find_contradictions(sent: Sequence[tuple[Hashable, Hashable | None, Hashable] | None]) -> dict[int, int]:
    """The places of those that say of the same score something else than another of them, each with the first such.

    Each is the score's key (student, measure, date, attempt), the sender's name for it, and what it says beside; or
    None, for what is no score. Those that say the same are one score that was sent twice.
    """
    by_identity: dict[tuple[str, Hashable], list[int]] = defaultdict(list)
    for place, one in enumerate(sent):
        if one is not None:
            by_identity["key", one[0]].append(place)
            if one[1] is not None:
                by_identity["name", one[1]].append(place)
    said = {place: (one[0], one[2]) for place, one in enumerate(sent) if one is not None}
    found: dict[int, int] = {}
    for places in by_identity.values():
        for place in places:
            other = next((there for there in places if said[there] != said[place]), None)
            if other is not None:
                found[place] = min(other, found.get(place, other))
    return found


def baseline_of(values: Sequence[float]) -> float | None:
    """The median of three scores (DOMAIN: baseline); None when there are fewer."""
    return median(values[-BASELINE_SCORES:]) if len(values) >= BASELINE_SCORES else None
