"""Tests of attendance: what is recorded, amended, refused and removed, and the signal about frequent absence."""

from datetime import date, timedelta
from typing import Any

import pytest
from fastapi import FastAPI

from app.signal import compute
from tests.faces.graphql_face import query_data
from tests.faces.rest_town import Caller, caller
from tests.rooms.team_town import named
from tests.rooms.test_signals import TODAY, computed
from tests.town import Town

QUERY = '{ student(id: "%s") { attendance(first: 50) { edges { node { day status excused schoolClass { id } } } } } }'


def absence(town: Town, student: str, day: date, **more: Any) -> dict[str, Any]:
    """Returns the input of a student's absence."""
    return {"student": named("student", town.students[student]), "day": str(day), "status": "absent", **more}


async def recorded(asks: Caller, *attendance: dict[str, Any]) -> list[dict[str, Any]]:
    """Records attendance, and returns the results."""
    answer = await asks.post("/v1/attendance-records/bulk", {"attendance": list(attendance)})
    assert answer.status_code == 200, answer.text
    results: list[dict[str, Any]] = answer.json()["results"]
    return results


def row_of(result: dict[str, Any]) -> dict[str, Any]:
    """Returns the attendance record in the result of recording it."""
    (row,) = (value for value in result.values() if isinstance(value, dict) and "day" in value)
    return row


async def test_attendance_sent_again_amends_and_a_removed_record_is_restored(app: FastAPI, north: Town) -> None:
    """Attendance that is sent again amends the stored record, and restores it if it was removed. No second record is
    added.
    """
    asks = caller(app, north)
    of_class = {"school_class": named("class", north.classes[0]), "period": "3"}
    first = absence(north, "amy", TODAY, external_id="a-1")
    results = await recorded(asks, first, absence(north, "amy", TODAY, **of_class), absence(north, "ben", TODAY))
    assert [one["outcome"] for one in results] == ["recorded"] * 3
    row = row_of(results[0])
    again = await recorded(asks, first, {**first, "external_id": None, "status": "tardy", "minutes_missed": 20})
    assert [one["outcome"] for one in again] == ["unchanged", "amended"]
    assert (row_of(again[1])["id"], row_of(again[1])["version"]) == (row["id"], 2)
    moved = await recorded(asks, {**first, "day": str(TODAY - timedelta(days=1))})
    assert (moved[0]["outcome"], row_of(moved[0])["id"]) == ("amended", row["id"])
    path = f"/v1/attendance-records/{row['id']}"
    assert (await asks.post(f"{path}/remove", {"because": "Another child."})).is_success
    assert (await asks.get(path)).status_code == 404
    assert (await asks.post(f"{path}/remove", {"because": "Again."})).status_code == 404
    restored = await recorded(asks, {**first, "excused": True})
    assert (restored[0]["outcome"], row_of(restored[0])["id"]) == ("amended", row["id"])
    shown = await query_data(north, QUERY % named("student", north.students["amy"]))
    rows = [edge["node"] for edge in shown["student"]["attendance"]["edges"]]
    assert [(one["status"], one["excused"], one["schoolClass"]) for one in rows] == [
        ("ABSENT", True, None),
        ("ABSENT", False, {"id": named("class", north.classes[0])}),
    ]


async def test_each_invalid_record_is_refused_alone_with_every_violation(app: FastAPI, north: Town) -> None:
    """Each invalid attendance record is refused with every violation, and the other records are stored."""
    asks = caller(app, north)
    first = absence(north, "amy", TODAY, external_id="a-1")
    bad = {**first, "day": str(TODAY + timedelta(days=1)), "status": "ill", "minutes_missed": 9999}
    bad |= {"student": "stu_no", "school_class": "cls_no", "external_id": ""}
    doubled = {**first, "external_id": None, "status": "present"}
    other = absence(north, "ben", TODAY, external_id="a-1")
    results = await recorded(asks, first, bad, doubled, other)
    assert [one["outcome"] for one in results] == ["recorded", "refused", "refused", "refused"]
    assert {(one["pointer"], one["code"]) for one in results[1]["violations"]} >= {
        ("/attendance/1/day", "attendance.future"),
        ("/attendance/1/minutes_missed", "attendance.minutes"),
        ("/attendance/1/student", "student.unknown"),
        ("/attendance/1/school_class", "class.unknown"),
    }
    assert [one["code"] for one in results[2]["violations"]] == ["attendance.doubled"]
    assert [one["code"] for one in results[3]["violations"]] == ["attendance.two_identities"]
    teacher = caller(app, north, act_for="sis:sis:teacher-1")
    results = await recorded(teacher, absence(north, "amy", TODAY), absence(north, "cy", TODAY))
    assert [one["outcome"] for one in results] == ["unchanged", "refused"]
    assert len(await teacher.items("/v1/attendance-records")) == 1


async def test_frequent_absence_is_suggested_until_it_is_none(
    app: FastAPI, north: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A signal about frequent absence is suggested early in the year, but not after one bad week.

    It lapses when the student's absences are corrected.
    """
    monkeypatch.setattr(compute, "YEAR_BEGINS", (TODAY - timedelta(days=95)).month)
    asks = caller(app, north)
    body = {"code": "absent", "kind": "attendance"}
    refused = await asks.post("/v1/signal-rules", body)
    assert [one["code"] for one in refused.json()["violations"]] == ["signal_rule.area"]
    assert (await asks.post("/v1/signal-rules", {**body, "area": "attendance"})).status_code == 201
    weekdays = [day for day in (TODAY - timedelta(days=n) for n in range(60)) if day.weekday() < 5]
    days = await recorded(asks, *(absence(north, "amy", day) for day in weekdays[:16]))
    in_class = {"school_class": named("class", north.classes[0])}
    await recorded(
        asks,
        *(absence(north, "ben", day) for day in weekdays[:4]),
        *(absence(north, "cy", day, status="tardy") for day in weekdays[:16]),
        *(absence(north, "ben", day, status="present") for day in weekdays[4:16]),
        *(absence(north, "ben", day, **in_class) for day in weekdays[4:16]),
    )
    preview = await asks.post("/v1/signal-rules/preview", {**body, "area": "attendance"})
    assert preview.json() == {"students": 1, "grades": 0}
    seen = await computed(asks, north)
    assert {name: one["kind"] for name, one in seen.items()} == {"amy": "attendance"}
    assert set(seen["amy"]["attendance"]) == {row_of(one)["id"] for one in days}
    accepted = {**body, "area": "attendance", "least": 150}
    assert (await asks.post("/v1/signal-rules/preview", accepted)).json()["students"] == 0
    await recorded(asks, *(absence(north, "amy", day, status="present") for day in weekdays[:14]))
    assert await computed(asks, north) == {}
    assert (await computed(asks, north, "lapsed")).keys() == {"amy"}
