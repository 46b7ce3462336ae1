"""Chooses the standard error of measurement (SEM) of a measure, which can differ by grade and by baseline score. Pure.

Also validates the ranges of baseline scores for which an SEM is given.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from math import inf, isfinite
from typing import Annotated, Any

from app.core.errors import Violation
from app.core.inputs import About
from app.core.text import Text

MAX_RANGES, MAX_GRADE_LENGTH = 100, 20


@dataclass(frozen=True, slots=True)
class NewSemRange:
    """The standard error of measurement (SEM) of a measure for students whose baseline score is in a given range.

    It is for students of one grade, or of all grades.
    """

    sem: Annotated[float, About("The standard error of measurement, in the measure's unit.", 4.0)]
    grade: Annotated[
        str | None, Text(max=MAX_GRADE_LENGTH), About("The grade, as in the roster; null for every grade.", "01")
    ] = None
    from_score: Annotated[float | None, About("The lowest baseline of the range; null for no limit.", 0.0)] = None
    to_score: Annotated[
        float | None, About("The baseline at which the range ends; null for no limit. It is not included.", 30.0)
    ] = None


def sem_for(sem: float | None, ranges: Sequence[Mapping[str, Any]], grade: str | None, baseline: float) -> float | None:
    """Returns the standard error of measurement (SEM) for a series of scores.

    It depends on the student's grade and on the baseline of the series. `ranges` are stored `NewSemRange`s. A range for
    the student's grade takes precedence over a range for all grades. `sem`, the measure's own SEM, is used if no range
    applies.
    """
    fitting = [each for each in ranges if _lowest(each) <= baseline < _highest(each)]
    for grade_of_range in (grade, None):
        for each in fitting:
            if each["grade"] is None if grade_of_range is None else _is_grade(each["grade"], grade_of_range):
                return float(each["sem"])
    return sem


def ranges_as_stored(ranges: Iterable[NewSemRange | Mapping[str, Any]] | None) -> list[dict[str, Any]]:
    """Converts ranges of the standard error of measurement (SEM) to the objects that the database stores.

    Numbers become floats, so that 1 and 1.0 are stored alike.
    """
    stored = []
    for each in ranges or ():
        values = dict(each) if isinstance(each, Mapping) else asdict(each)
        numbers = {name: values.get(name) for name in ("sem", "from_score", "to_score")}
        numbers = {name: None if number is None else float(number) for name, number in numbers.items()}
        stored.append({"grade": values.get("grade"), **numbers})
    return stored


def violations_of_ranges(ranges: Sequence[Mapping[str, Any]], lowest: float, highest: float) -> list[Violation]:
    """Returns the violations in the ranges that a measure has for its standard error of measurement (SEM).

    The scores of the measure are from `lowest` to `highest`.
    """
    if len(ranges) > MAX_RANGES:
        return [Violation("/sems", "measure.sems", f"List {MAX_RANGES} ranges at most.")]
    violations = []
    for position, each in enumerate(ranges):
        at = f"/sems/{position}"
        if each["grade"] is not None and not 1 <= len(each["grade"].strip()) <= MAX_GRADE_LENGTH:
            detail = f"Give a grade of 1 to {MAX_GRADE_LENGTH} characters, or null for every grade."
            violations.append(Violation(f"{at}/grade", "measure.sem_grade", detail))
        if not isfinite(each["sem"]) or not 0 < each["sem"] < highest - lowest:
            detail = "A standard error of measurement is above zero and below the measure's range."
            violations.append(Violation(f"{at}/sem", "measure.sem", detail))
        if any(each[name] is not None and not lowest <= each[name] <= highest for name in ("from_score", "to_score")):
            detail = "A range lies within the scores that the measure can have."
            violations.append(Violation(at, "measure.sem_range", detail))
        elif not _lowest(each) < _highest(each):
            detail = "A range ends above the score at which it begins."
            violations.append(Violation(f"{at}/to_score", "measure.sem_range", detail))
        elif any(_overlap(each, earlier) for earlier in ranges[:position]):
            detail = "This range overlaps an earlier one of the same grade."
            violations.append(Violation(at, "measure.sem_range", detail))
    return violations


def _lowest(each: Mapping[str, Any]) -> float:
    return -inf if each["from_score"] is None else float(each["from_score"])


def _highest(each: Mapping[str, Any]) -> float:
    return inf if each["to_score"] is None else float(each["to_score"])


def _is_grade(grade: str | None, other: str | None) -> bool:
    """Returns whether two grades are the same grade, as `03` and `3` are."""
    if grade is None or other is None:
        return grade is other
    return _plain(grade) == _plain(other)


def _plain(grade: str) -> str:
    text = grade.strip().upper()
    return text.lstrip("0") or text


def _overlap(each: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    is_same_grade = _is_grade(each["grade"], other["grade"])
    return is_same_grade and max(_lowest(each), _lowest(other)) < min(_highest(each), _highest(other))
