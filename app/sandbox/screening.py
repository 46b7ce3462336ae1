"""Records screening windows with scores in the playground's district, and signal rules that read them."""

from collections.abc import Iterator
from datetime import date, timedelta
from random import Random
from typing import Any

from app.sandbox.outsiders import Vendor, aimline
from app.sandbox.story_printer import StepFailed

CLASSES = 3
"""The number of classes that are screened."""
OPEN_SINCE, OPEN_FOR = timedelta(weeks=4), timedelta(weeks=2)
LATER = (timedelta(weeks=10), timedelta(weeks=20))
"""When the later windows open, counted from today."""
MEASURES = {"orf": (78.0, 24.0), "maze": (14.0, 4.5)}
"""The mean and the standard deviation of the invented scores of each measure."""
MAZE_GOAL, MAZE_RISK = 8.0, 6.0
"""So low that a student under this cut is under the published cut of oral reading too, and has a signal of each."""
WEAK, WEAK_EVERY = 1.9, 7
"""By how many standard deviations every seventh student is weak in both measures."""
RULES: tuple[dict[str, Any], ...] = (
    {"code": "under-cut", "kind": "screening_under_cut"},
    {"code": "goal-met-early", "kind": "ahead_of_goal", "days": 0},
)


def record_screening(vendor: Vendor, slug: str, today: date) -> str:
    """Screens some classes, has the signal rules suggest what they see, and returns a sentence about it.

    Signals are otherwise computed by the worker every few minutes; here an operator's command computes them at once.
    """
    students = list(_students_of_classes(vendor))
    grades = sorted({grade for student in students for grade in student["grades"]})
    vendor.post("/v1/benchmarks", {"benchmarks": [_maze_norm(grade) for grade in grades]})
    opens_on = today - OPEN_SINCE
    _schedule(vendor, opens_on, today + OPEN_FOR, grades)
    for wait in LATER:
        _schedule(vendor, today + wait, today + wait + OPEN_FOR, grades)
    scores = [
        score
        for place, student in enumerate(students)
        for score in _scores(student["id"], place, opens_on + timedelta(days=3))
    ]
    vendor.post("/v1/scores/bulk", {"scores": scores, "backfill": True})
    for rule in RULES:
        vendor.post("/v1/signal-rules", rule)
    aimline("district", "maintain", slug)
    signals = len(list(vendor.all("/v1/signals")))
    return f"A screening window with {len(scores)} scores, and {signals} signals for the team to answer."


def _students_of_classes(vendor: Vendor) -> Iterator[dict[str, Any]]:
    """Yields the students of the classes of the lowest grade that has a published norm, or else of any classes."""
    classes = sorted(
        vendor.all("/v1/classes"),
        key=lambda class_: (min(class_["grades"], default="99") not in ("02", "03"), class_["type"] != "homeroom"),
    )
    if not classes:
        raise StepFailed("the roster has no class")
    seen: set[str] = set()
    for class_ in classes[:CLASSES]:
        for student in vendor.get("/v1/students", **{"class": class_["id"], "limit": 50})["items"]:
            if student["id"] not in seen:
                seen.add(student["id"])
                yield student


def _maze_norm(grade: str) -> dict[str, Any]:
    norm = {"measure": "maze", "grade": grade, "citation": "The district's own norms"}
    return {**norm, "benchmark_goal": MAZE_GOAL, "risk_cut": MAZE_RISK}


def _schedule(vendor: Vendor, opens_on: date, closes_on: date, grades: list[str]) -> None:
    window = {
        "season": _season(opens_on),
        "opens_on": opens_on.isoformat(),
        "closes_on": closes_on.isoformat(),
        "expected": [{"measure": measure, "grades": grades} for measure in MEASURES],
    }
    vendor.post("/v1/screening-windows", window)


def _season(day: date) -> str:
    """Returns the season of a day in the school year."""
    return "fall" if day.month in (8, 9, 10, 11) else "winter" if day.month in (12, 1, 2) else "spring"


def _scores(student: str, place: int, taken_on: date) -> Iterator[dict[str, Any]]:
    skill = Random(f"screening {place}").gauss(0, 0.6) - (WEAK if place % WEAK_EVERY == 0 else 0)  # invented
    for measure, (mean, deviation) in MEASURES.items():
        value = max(0.0, round(mean + deviation * skill))
        day = taken_on.isoformat()
        yield {"student": student, "measure": measure, "taken_on": day, "value": value, "purpose": "screening"}
