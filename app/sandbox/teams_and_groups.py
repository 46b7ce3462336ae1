"""Records a team and a group in the playground's district over public HTTP.

The team serves a class; the group practises reading.
"""

from collections.abc import Iterator
from datetime import date, timedelta
from random import Random
from typing import Any

from app.sandbox.outsiders import Vendor
from app.sandbox.story_printer import StepFailed

WEEKS = 33
"""The weeks before today in which the group has lessons; 99 lessons are sent in one request."""
GOAL_WEEKS = 52
MEMBERS = 3
BASELINES = (44.0, 41.0, 47.0)
GROWTH = (1.6, 1.4, 0.3)
"""The weekly growth of each member; the last one falls behind the aimline."""
SESSION_DAYS = (0, 2, 3)
OWN_ITEMS = ("Who calls the families?", "The schedule of January", "A room for the readers", "Books")
"""The items that members have put on the agenda of the problem-solving team, whose meeting is open."""


def record_teams_and_groups(vendor: Vendor, today: date, taken: set[str]) -> str:
    """Forms a team that serves a class, and a group of three students of that class; returns a sentence about both.

    `taken` are the students who have supports already.
    """
    class_, teacher, students = _class_with_students(vendor, taken)
    team = vendor.post("/v1/teams", {"name": "Grade team", "purpose": "grade", "school": class_["school"]})["id"]
    vendor.post(f"/v1/teams/{team}/members", {"person": teacher, "role": "facilitator"})
    vendor.post(f"/v1/teams/{team}/scopes", {"school_class": class_["id"]})
    action = {"team": team, "text": "Ask the families when they read at home.", "owner": teacher}
    vendor.post("/v1/action-items", action | {"due_on": (today + timedelta(days=7)).isoformat()})
    record_meetings(vendor, today, team)
    begins_on = today - timedelta(days=today.weekday(), weeks=WEEKS)
    group = {
        "school": class_["school"],
        "name": "Blue table",
        "intervention": "Repeated reading at a table of three",
        "level": 2,
        "measure": "orf",
        "starts_on": begins_on.isoformat(),
        "goal_on": (begins_on + timedelta(weeks=GOAL_WEEKS)).isoformat(),
        "minutes_per_session": 20,
        "sessions_per_week": len(SESSION_DAYS),
        "lead": teacher,
        "members": [
            {"student": student, "baseline": baseline, "goal": baseline + 1.5 * GOAL_WEEKS, "confirm_rate": True}
            for student, baseline in zip(students, BASELINES, strict=False)
        ],
    }
    group_id = vendor.post("/v1/groups", group)["id"]
    vendor.post("/v1/scores/bulk", {"scores": list(_scores(students, begins_on, today)), "backfill": True})
    vendor.post(f"/v1/groups/{group_id}/sessions", {"lessons": list(_sessions(students, begins_on, today))})
    return f"A team of a grade with its meetings, and a group of {len(students)} students with a chart of its own."


def record_meetings(vendor: Vendor, today: date, team: str) -> None:
    """Schedules meetings for a team. Also creates two teams with an open meeting, and one with a closed meeting."""
    steps = [
        {"title": "What do we see?", "minutes": 5, "question": "Which scores lie under the aimline?"},
        {"title": "Why?", "minutes": 10, "question": "What would refute it?"},
        {"title": "What do we do?", "minutes": 15, "role": "facilitator"},
    ]
    protocol = {"code": "problem-solving", "name": "Problem solving in 30 minutes", "steps": steps}
    vendor.post("/v1/protocols", protocol)
    terms = {"minutes": 30, "place": "Room 12", "protocol": protocol["code"]}
    tuesday = today + timedelta(days=(1 - today.weekday()) % 7 or 7)
    series = {"team": team, "begins_at": f"{tuesday}T08:00", "rule": "FREQ=WEEKLY;BYDAY=TU"}
    vendor.post("/v1/meeting-series", series | terms)
    for _ in range(2):
        vendor.post("/v1/calendar-links", {"team": team})
    for week in (1, 2):
        starts_at = f"{tuesday + timedelta(weeks=week, days=1)}T14:00:00Z"
        vendor.post("/v1/meetings", {"team": team, "starts_at": starts_at} | terms)
    for name, texts in (("Leadership team", ()), ("Problem-solving team", OWN_ITEMS)):
        other = vendor.post("/v1/teams", {"name": name, "purpose": "leadership"})["id"]
        meeting = vendor.post("/v1/meetings", {"team": other, "starts_at": f"{today}T14:00:00Z"} | terms)["id"]
        vendor.post(f"/v1/meetings/{meeting}/open", {})
        for text in texts:
            vendor.post("/v1/agenda-items", {"team": other, "text": text})
    _hold_meeting(vendor, today, terms)


def _hold_meeting(vendor: Vendor, today: date, terms: dict[str, Any]) -> None:
    """Creates a team with one meeting, discusses an item there, and closes the meeting.

    A closed meeting has a recap to show.
    """
    team = vendor.post("/v1/teams", {"name": "Library team", "purpose": "leadership"})["id"]
    meeting = vendor.post("/v1/meetings", {"team": team, "starts_at": f"{today}T13:00:00Z"} | terms)["id"]
    vendor.post(f"/v1/meetings/{meeting}/open", {})
    discussed, carried = (
        vendor.post("/v1/agenda-items", {"team": team, "text": text})["id"] for text in ("New readers", "Opening hours")
    )
    vendor.post(f"/v1/agenda-items/{discussed}/discuss", {"minutes": "Two sets of readers for grade 3 are ordered."})
    vendor.post(f"/v1/agenda-items/{carried}/carry", {})
    vendor.post(f"/v1/meetings/{meeting}/close", {})


def _class_with_students(vendor: Vendor, taken: set[str]) -> tuple[dict[str, Any], str, list[str]]:
    """Returns a class, the id of its teacher, and the ids of enough of its students to form a group.

    The students have no support. If no class has enough such students, as in a small roster, returns the class that has
    the most.
    """
    best: tuple[dict[str, Any], str, list[str]] | None = None
    for class_ in vendor.all("/v1/classes"):
        of_class = {"class": class_["id"], "limit": 50}
        staff = vendor.get("/v1/staff", **of_class)["items"]
        teacher = next((person["id"] for person in staff if person["role"] == "teacher"), None)
        people = [person["id"] for person in vendor.get("/v1/students", **of_class)["items"]]
        free = [person for person in people if person not in taken][-MEMBERS:]
        if teacher is not None and (best is None or len(free) > len(best[2])):
            best = class_, teacher, free
        if best is not None and len(best[2]) == MEMBERS:
            break
    if best is None or not best[2]:
        raise StepFailed("the roster has no class with a teacher and students without a support")
    return best


def _scores(students: list[str], begins_on: date, today: date) -> Iterator[dict[str, Any]]:
    for student, baseline, growth in zip(students, BASELINES, GROWTH, strict=False):
        random = Random(student)  # invented scores
        for week in range(WEEKS):
            taken_on = begins_on + timedelta(weeks=week, days=4)
            if taken_on <= today:
                value = round(baseline + growth * (week + 1) + random.gauss(0, 1.5))
                yield {"student": student, "measure": "orf", "taken_on": taken_on.isoformat(), "value": value}


def _sessions(students: list[str], begins_on: date, today: date) -> Iterator[dict[str, Any]]:
    for week in range(WEEKS):
        for day in SESSION_DAYS:
            held_on = begins_on + timedelta(weeks=week, days=day)
            if held_on <= today:
                absent = [{"student": students[0], "attended": False}] if (week, day) == (4, 2) else []
                yield {"held_on": held_on.isoformat(), "attendance": absent}
