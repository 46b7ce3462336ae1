"""Records the supports and concerns of `caseload_plan` in a playground's district over public HTTP.

If the playground is started again on a later day, the scores and sessions after the last recorded day are added.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import date, timedelta
from typing import Any

from app.sandbox.caseload_plan import CASELOAD, GOAL_WEEKS, OTHER_CONCERNS, Series
from app.sandbox.outsiders import Vendor
from app.sandbox.story_printer import Printer, StepFailed

MAX_BATCH = 500  # the number of scores in one request
STUDENTS_OF_A_CLASS = 3
REASONS = {
    "continue": "Growth is steady; look again in six weeks.",
    "raise_goal": "Ahead of the aimline for weeks.",
    "intensify": "Daily, alone with the specialist.",
    "change": "Another approach: manipulatives first.",
    "fade": "Ready for a larger group and fewer sessions.",
    "exit": "The goal was met and held without the group.",
}
EARLIER = timedelta(days=7)


def record_caseload(printer: Printer, vendor: Vendor, monday: date, today: date, taken: str) -> list[dict[str, Any]]:
    """Records the supports of `CASELOAD` and the dismissed concerns, each for a different student if possible.

    Returns for each support its number in `CASELOAD`, its student and its id. The weeks in `CASELOAD` are counted from
    the Monday `monday`. The student `taken` gets none of these supports, because `app.sandbox.story` has already given
    this student one.
    """
    series = [Series(number, plan, monday) for number, plan in enumerate(CASELOAD)]
    seats = _seats(vendor, taken, len(series) + len(OTHER_CONCERNS))
    with printer.progress("Recording a caseload of two years", len(series) + len(OTHER_CONCERNS)) as advance:
        recorded = []
        for series_, (student, teacher) in zip(series, seats, strict=False):
            recorded.append(
                {
                    "number": series_.number,
                    "student": student,
                    "support": _record(vendor, series_, student, teacher, today),
                }
            )
            advance()
        for (area, words, days, dismissal), (student, teacher) in zip(
            OTHER_CONCERNS, seats[len(series) :], strict=True
        ):
            _raise(vendor, student, teacher, area, words, today - timedelta(days=days), "dismiss", dismissal)
            advance()
    return recorded


def continue_caseload(
    vendor: Vendor, recorded: Sequence[dict[str, Any]], monday: date, after: date, today: date
) -> int:
    """Records the scores and sessions after the day `after`, up to `today`, and returns the number of scores."""
    scores: list[dict[str, Any]] = []
    for entry in recorded:
        series = Series(entry["number"], CASELOAD[entry["number"]], monday)
        scores += _scores(series, entry["student"], after, today)
        if sessions := list(series.sessions(after, today)):
            try:
                vendor.post(f"/v1/supports/{entry['support']}/sessions", {"sessions": sessions[:MAX_BATCH]})
            except StepFailed:
                continue  # somebody has ended the support in the meantime
    _send(vendor, scores)
    return len(scores)


def verdicts(vendor: Vendor) -> Counter[str]:
    """Returns the number of supports with each verdict, keyed by verdict.

    A support without a verdict, such as one that has not begun, is counted under its state.
    """
    supports = vendor.get("/v1/supports", limit=200)["items"]
    return Counter((support["verdict"] or {}).get("state") or support["state"] for support in supports)


def _seats(vendor: Vendor, taken: str, needed: int) -> list[tuple[str, str]]:
    """Returns `needed` pairs of a student and a teacher of the student.

    The pairs come from many classes: at most three from each class, first from one class of each school, then from a
    second class of each school, and so on. The student `taken` is left out. A student occurs in several pairs only if
    the roster is too small.
    """
    seats: list[tuple[str, str]] = []
    used = {taken}
    for class_ in _classes_in_turn(vendor):
        teachers = [person["id"] for person in _of_class(vendor, "staff", class_) if person["role"] == "teacher"]
        students = (
            [person["id"] for person in _of_class(vendor, "students", class_) if person["id"] not in used]
            if teachers
            else []
        )
        for student in students[:STUDENTS_OF_A_CLASS]:
            used.add(student)
            seats.append((student, teachers[0]))
        if len(seats) >= needed:
            return seats[:needed]
    if not seats:
        raise StepFailed("the roster has no class with a teacher and students")
    # A small roster has fewer students than the plan, so some of them have several supports.
    return [seats[number % len(seats)] for number in range(needed)]


def _classes_in_turn(vendor: Vendor) -> Iterator[str]:
    """Yields the ids of all classes: the first class of each school, then the second class of each school, and so on.

    Within each school, the homerooms come before the other classes.
    """
    by_school: dict[str, list[dict[str, Any]]] = {}
    for class_ in vendor.all("/v1/classes"):
        by_school.setdefault(class_["school"], []).append(class_)
    for classes in by_school.values():
        classes.sort(key=lambda class_: (class_["type"] != "homeroom", class_["title"]))
    for number in range(max(map(len, by_school.values()), default=0)):
        yield from (classes[number]["id"] for classes in by_school.values() if number < len(classes))


def _of_class(vendor: Vendor, people: str, class_: str) -> list[dict[str, Any]]:
    return list(vendor.get(f"/v1/{people}", **{"class": class_}, limit=50)["items"])


def _record(vendor: Vendor, series: Series, student: str, teacher: str, today: date) -> str:
    """Records one support, from its concern to the team's decision, and returns the support's id."""
    subject, plan = series.subject, series.plan
    raised_on = min(series.begins_on - EARLIER * 2, today)
    concern = _raise(vendor, student, teacher, subject.area, subject.worry, raised_on, "accept", "Seen by the team.")
    before = series.begins_on - EARLIER
    days = [min(before, today) + timedelta(days=day - 2) for day in range(3)]
    _send(
        vendor,
        [
            _score(series, student, day, value) | {"purpose": "baseline"}
            for day, value in zip(days, series.baseline(), strict=True)
        ],
    )
    support = vendor.post("/v1/supports", _plan(series, student, teacher, concern))["id"]
    if not plan.is_started:
        return str(support)
    decided_on = series.decided_on if plan.decision else today
    _send(vendor, _scores(series, student, before, decided_on))
    if sessions := list(series.sessions(before, today)):
        vendor.post(f"/v1/supports/{support}/sessions", {"sessions": sessions})
    if plan.decision:
        vendor.post("/v1/decisions", _decision(series, support, teacher))
        if plan.ends:
            vendor.post(f"/v1/concerns/{concern}/resolve", {"because": REASONS["exit"]})
        _send(vendor, _scores(series, student, decided_on, today))
    return str(support)


def _plan(series: Series, student: str, teacher: str, concern: str) -> dict[str, Any]:
    return {
        "student": student,
        "intervention": series.subject.intervention,
        "level": series.plan.level,
        "measure": series.subject.measure,
        "starts_on": series.begins_on.isoformat(),
        "starts": "on_its_day" if series.plan.is_started else "manually",
        "goal": series.goal(),
        "goal_on": (series.begins_on + timedelta(weeks=GOAL_WEEKS)).isoformat(),
        "minutes_per_session": 30,
        "sessions_per_week": 3,
        "concerns": [concern],
        "lead": teacher,
        # The invented students grow at the same rates in every grade.
        "confirm_rate": True,
    }


def _decision(series: Series, support: str, teacher: str) -> dict[str, Any]:
    kind = series.plan.decision or ""
    decision: dict[str, Any] = {
        "kind": kind,
        "support": support,
        "decided_by": teacher,
        "decided_on": series.decided_on.isoformat(),
        "note": REASONS[kind],
    }
    if kind == "raise_goal":
        goal = series.goal() + series.subject.rate * 8
        decision["change"] = {"because": REASONS[kind], "goal": goal, "confirm_rate": True}
    elif kind in ("intensify", "change", "fade"):
        decision["change"] = {"because": REASONS[kind], "confirm_rate": True}
    return decision


def _raise(
    vendor: Vendor, student: str, teacher: str, area: str, words: str, on: date, verb: str, because: str | None
) -> str:
    concern = {
        "student": student,
        "area": area,
        "description": words,
        "raised_by": teacher,
        "raised_on": on.isoformat(),
    }
    raised = str(vendor.post("/v1/concerns", concern)["id"])
    if because is not None:
        vendor.post(f"/v1/concerns/{raised}/{verb}", {"because": because})
    return raised


def _scores(series: Series, student: str, after: date, until: date) -> list[dict[str, Any]]:
    return [_score(series, student, taken_on, value) for taken_on, value in series.scores(after, until)]


def _score(series: Series, student: str, taken_on: date, value: float) -> dict[str, Any]:
    return {"student": student, "measure": series.subject.measure, "taken_on": taken_on.isoformat(), "value": value}


def _send(vendor: Vendor, scores: list[dict[str, Any]]) -> None:
    """Sends scores as a backfill, so that nobody is notified."""
    for begin in range(0, len(scores), MAX_BATCH):
        results = vendor.post("/v1/scores/bulk", {"scores": scores[begin : begin + MAX_BATCH], "backfill": True})
        refused = [result for result in results["results"] if result["outcome"] == "refused"]
        if refused:
            raise StepFailed(f"a score was refused: {refused[0]['violations']}")
