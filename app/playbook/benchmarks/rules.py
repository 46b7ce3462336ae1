"""Validates norms and benchmarks, and finds the growth that they call realistic for a grade. Pure."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from math import isfinite
from typing import Protocol
from uuid import UUID

from app.core.errors import Violation

PERCENTILES = ("p10", "p25", "p50", "p75", "p90")
LEVELS_OF_SCORE = (*PERCENTILES, "benchmark_goal", "risk_cut")
GROWTHS = ("typical_growth", "realistic_growth")
FIGURES = (*LEVELS_OF_SCORE, *GROWTHS)


class Season(StrEnum):
    """A season of the school year, in which students are screened."""

    FALL = "fall"
    WINTER = "winter"
    SPRING = "spring"


class GrowthSource(Protocol):
    """The columns of a benchmark from which the realistic growth of a grade is determined."""

    @property
    def id(self) -> UUID: ...
    @property
    def grade(self) -> str: ...
    @property
    def citation(self) -> str: ...
    @property
    def published(self) -> bool: ...
    @property
    def typical_growth(self) -> float | None: ...
    @property
    def realistic_growth(self) -> float | None: ...


@dataclass(frozen=True, slots=True)
class RealisticGrowth:
    """The highest growth per week that a norm calls realistic for a measure and a grade.

    `citation` names the source of the norm.
    """

    rate: float
    benchmark_id: UUID
    citation: str


def normal_grade(grade: str) -> str:
    """Returns a grade in the form in which grades are compared: `03`, `3` and ` 3 ` are the same grade."""
    text = grade.strip().upper()
    return text.lstrip("0") or text


def realistic_growth(norms: Iterable[GrowthSource], grades: Sequence[str]) -> RealisticGrowth | None:
    """Returns the highest growth that these norms of a measure call realistic, or None if they state no growth.

    Only the norms of one grade count: the first of `grades` for which a norm states growth. A district's own
    norms take precedence over published ones. If a norm states no realistic growth, its typical growth is used.
    """
    growths = [(norm, growth) for norm in norms if (growth := _growth_of(norm)) is not None]
    for grade in map(normal_grade, grades):
        of_grade = [each for each in growths if normal_grade(each[0].grade) == grade]
        own = [each for each in of_grade if not each[0].published]
        if of_grade:
            norm, growth = max(own or of_grade, key=lambda each: each[1])
            return RealisticGrowth(growth, norm.id, norm.citation)
    return None


def _growth_of(norm: GrowthSource) -> float | None:
    return norm.typical_growth if norm.realistic_growth is None else norm.realistic_growth


@dataclass(frozen=True, slots=True)
class BenchmarkFigures:
    """The figures of a benchmark that `violations_of_figures` validates, keyed by the name of their column.

    `lowest` and `highest` are the bounds of the measure's scores, and `direction` is the direction in which they
    improve.
    """

    figures: dict[str, float | None]
    lowest: float
    highest: float
    direction: str


def violations_of_figures(checked: BenchmarkFigures, at: str) -> list[Violation]:
    """Returns the violations in the figures of a benchmark; `at` is the JSON Pointer of the benchmark."""
    given = {name: value for name, value in checked.figures.items() if value is not None}
    if not given:
        detail = f"Give at least one of {', '.join(FIGURES)}."
        return [Violation(at, "benchmark.empty", detail)]
    violations = []
    for name, value in given.items():
        if name in GROWTHS:
            if not isfinite(value) or not 0 < value <= checked.highest - checked.lowest:
                detail = "Growth is an improvement a week: above zero, and within the measure's range."
                violations.append(Violation(f"{at}/{name}", "benchmark.growth", detail))
        elif not checked.lowest <= value <= checked.highest:
            detail = f"This measure gives values from {checked.lowest:g} to {checked.highest:g}."
            violations.append(Violation(f"{at}/{name}", "benchmark.value", detail))
    percentiles = [given[name] for name in PERCENTILES if name in given]
    if checked.direction == "down":
        percentiles.reverse()
    if percentiles != sorted(percentiles):
        detail = "A higher percentile is not a worse score than a lower one."
        violations.append(Violation(f"{at}/p90", "benchmark.percentiles", detail))
    cut, goal = given.get("risk_cut"), given.get("benchmark_goal")
    if cut is not None and goal is not None and (cut > goal if checked.direction == "up" else cut < goal):
        detail = "The cut of risk is not better than the benchmark."
        violations.append(Violation(f"{at}/risk_cut", "benchmark.risk_cut", detail))
    return violations
