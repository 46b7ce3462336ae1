"""Records example screenings in the playground's district.

Records screening windows (the periods in which students are screened), their scores, and rules that turn scores into
signals. A signal suggests to a team that a student needs attention.
"""

from collections.abc import Collection, Iterator, Sequence
from datetime import date, timedelta
from random import Random
from typing import Any

from app.sandbox.outsiders import Vendor, aimline
from app.sandbox.story_printer import StepFailed

CLASSES = 3
"""The number of classes that are screened."""
OPEN_SINCE, OPEN_FOR, FIRST_FOR = timedelta(weeks=4), timedelta(weeks=2), timedelta(weeks=1)
LATER = (timedelta(weeks=10), timedelta(weeks=20))
"""How long after today the later windows open."""
MEASURES = {"orf": (78.0, 24.0), "maze": (14.0, 4.5)}
"""The mean and the standard deviation of the invented scores of each measure."""
MAZE_GOAL, MAZE_RISK = 8.0, 6.0
"""The goal and the risk cut of `maze`.

The cut is so low that a student below it is also below the published cut of oral reading, and gets a signal for each
measure.
"""
CORE, CORE_GOAL, CORE_RISK = "computation", 10.0, 5.0
"""The measure for which the data show a core stall, with its goal and its risk cut."""
REACHED_BEFORE, REACHED = 3, 2
"""How many of every five students reach the goal of `CORE`, in the first window and in the second."""
ABSENT_EVERY, DAYS_ABSENT = 9, 4
"""Every ninth student was absent on the last four school days."""
INVOLVED_EVERY, INCIDENTS = 23, 3
"""Every 23rd student was involved in this many incidents of the last weeks."""
KINDS, PLACES = ("disruption", "defiance", "physical-aggression"), ("Classroom", "Hallway", "Playground")
"""The kinds and the places of the incidents, in this order."""
WEAK, WEAK_EVERY = 1.9, 7
"""Every seventh student scores lower by this many standard deviations in both `MEASURES`."""
RULES: tuple[dict[str, Any], ...] = (
    {"code": "under-cut", "kind": "screening_under_cut"},
    {"code": "core", "kind": "core_stall"},
    {"code": "goal-met-early", "kind": "ahead_of_goal", "days": 0},
    {"code": "incidents", "kind": "incidents", "area": "behaviour"},
)


def record_screening(vendor: Vendor, slug: str, today: date) -> str:
    """Screens some classes, computes the signals from the results, and returns a sentence about the signals.

    Normally the worker computes signals every few minutes; here an operator's command computes them at once.
    """
    students = list(_students_of_classes(vendor))
    grades = sorted({grade for student in students for grade in student["grades"]})
    vendor.post("/v1/benchmarks", {"benchmarks": [norm for grade in grades for norm in _norms(grade)]})
    opens_on = _opening(today)
    _schedule(vendor, opens_on - FIRST_FOR, opens_on, grades, (CORE,))
    _schedule(vendor, opens_on, today + OPEN_FOR, grades)
    for wait in LATER:
        _schedule(vendor, today + wait, today + wait + OPEN_FOR, grades)
    scores = [
        score
        for place, student in enumerate(students)
        for score in _scores(student["id"], place, opens_on + timedelta(days=3))
    ]
    for place, student in enumerate(students):
        scores += _core_scores(student["id"], place, opens_on)
    vendor.post("/v1/scores/bulk", {"scores": scores, "backfill": True})
    vendor.post("/v1/attendance-records/bulk", {"attendance": list(_absences(students, today))})
    vendor.post("/v1/incidents/bulk", {"incidents": list(_incidents(students, today))})
    for rule in RULES:
        vendor.post("/v1/signal-rules", rule)
    aimline("district", "maintain", slug)
    signals, stalls = (len(list(vendor.all(path))) for path in ("/v1/signals", "/v1/core-stalls"))
    return (
        f"Two screening windows with {len(scores)} scores, {signals} signals about students and {stalls} about grades "
        "for the teams to answer."
    )


def _incidents(students: Sequence[dict[str, Any]], today: date) -> Iterator[dict[str, Any]]:
    for place, student in enumerate(students[::INVOLVED_EVERY]):
        for number in range(INCIDENTS):
            day = today - timedelta(days=2 + 4 * number)
            yield {
                **{"student": student["id"], "occurred_at": f"{day.isoformat()}T17:40:00Z", "kind": KINDS[number]},
                **{"place": PLACES[number], "response": "Talked with the student, and called home."},
                **{"shared_reference": f"event-{number}", "external_id": f"incident-{place}-{number}"},
            }


def _students_of_classes(vendor: Vendor) -> Iterator[dict[str, Any]]:
    """Yields the students of a few classes, homerooms of grades 2 and 3 first. These grades have published norms."""
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


def _norms(grade: str) -> Iterator[dict[str, Any]]:
    for measure, goal, risk in (("maze", MAZE_GOAL, MAZE_RISK), (CORE, CORE_GOAL, CORE_RISK)):
        norm = {"measure": measure, "grade": grade, "citation": "The district's own norms"}
        yield {**norm, "benchmark_goal": goal, "risk_cut": risk}


def _opening(today: date) -> date:
    """Returns the day on which the second of two screening windows opens.

    It is chosen so that both windows open in the same school year.
    """
    opens_on = today - OPEN_SINCE
    first = opens_on - FIRST_FOR
    return opens_on + FIRST_FOR if (first.month, opens_on.month) == (6, 7) else opens_on


def _schedule(
    vendor: Vendor, opens_on: date, closes_on: date, grades: list[str], measures: Collection[str] = (*MEASURES, CORE)
) -> None:
    window = {
        "season": _season(opens_on),
        "opens_on": opens_on.isoformat(),
        "closes_on": closes_on.isoformat(),
        "expected": [{"measure": measure, "grades": grades} for measure in measures],
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


def _core_scores(student: str, place: int, opens_on: date) -> Iterator[dict[str, Any]]:
    """Yields a student's two scores of the measure `CORE`, one in each screening window.

    `place` is the student's position in the list of students. It decides whether each score reaches the goal, so that
    fewer students reach the goal in the second window than in the first.
    """
    for day, reached in ((opens_on - timedelta(days=3), REACHED_BEFORE), (opens_on + timedelta(days=3), REACHED)):
        value = CORE_GOAL + 2 if place % 5 < reached else CORE_GOAL - 2
        score = {"student": student, "measure": CORE, "taken_on": day.isoformat(), "value": value}
        yield {**score, "purpose": "screening"}


def _absences(students: Sequence[dict[str, Any]], today: date) -> Iterator[dict[str, Any]]:
    days = [day for day in (today - timedelta(days=n) for n in range(1, 2 * DAYS_ABSENT)) if day.weekday() < 5]
    for student in students[::ABSENT_EVERY]:
        for day in days[:DAYS_ABSENT]:
            yield {"student": student["id"], "day": day.isoformat(), "status": "absent", "excused": True}
