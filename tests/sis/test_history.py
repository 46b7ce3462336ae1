"""Tests a person's sync history: it shows why a person is listed or not, and nothing about other people."""

from pathlib import Path

from fastapi import FastAPI

from app.sis.runs.history import history_of
from tests.faces.rest_town import CLIENT_SCOPES, caller
from tests.sis.roster_zip import Export, sync
from tests.town import Town


async def _history_of(town: Town, name: str) -> list[tuple[str, str]]:
    async with town.unit() as work:
        _, steps = await history_of(work, name)
    return [(step.kind, step.action) for step in steps]


async def test_why_a_student_disappeared_has_an_answer(north: Town, app: FastAPI, tmp_path: Path) -> None:
    """The history of a student has each change with its run, and no changes of other people."""
    export = Export()
    await sync(north, export, tmp_path)
    export.row("users", "s3")["givenName"] = "New"
    export.row("users", "s5")["givenName"] = "Other"
    await sync(north, export, tmp_path)
    export.without("users", "s3")
    export.without("demographics", "s3")
    export.row("enrollments", "e3")["status"] = "tobedeleted"
    last = await sync(north, export, tmp_path)
    assert last.state == "applied"
    assert await _history_of(north, "sis:csv:s3") == [
        ("person", "absent"),
        ("enrollment", "remove"),
        ("person", "update"),
        ("person", "create"),
        ("enrollment", "create"),
    ]
    assert await _history_of(north, "sis:csv:s1") == [("person", "create"), ("enrollment", "create")]
    answer = await caller(app, north).get("/v1/students/sis:csv:s3/sync-history")
    body = answer.json()
    assert (answer.status_code, body["departed"]) == (200, True)
    assert body["steps"][0]["sentence"] == "The person was removed: it was no longer in csv."
    assert body["steps"][1]["class_id"].startswith("cls_")
    assert "New" not in answer.text
    assert "Given" not in answer.text


async def test_the_history_of_staff_is_told_as_well(north: Town, tmp_path: Path) -> None:
    """The history of a teacher can be read like the history of a student."""
    await sync(north, Export(), tmp_path)
    assert await _history_of(north, "sis:csv:t-north") == [("person", "create"), ("enrollment", "create")]


async def test_the_history_of_staff_is_told_over_rest(app: FastAPI, north: Town, tmp_path: Path) -> None:
    """REST returns the history of staff and parents, also of those who have left, newest first and without names."""
    export = Export()
    export.rows["users"].append({**export.row("users", "t-south"), "sourcedId": "p1", "role": "parent"})
    await sync(north, export, tmp_path)
    export.without("users", "t-north")
    export.without("enrollments", "et-north")
    assert (await sync(north, export, tmp_path)).state == "applied"
    asks = caller(app, north)
    answer = await asks.get("/v1/staff/sis:csv:t-north/sync-history")
    body = answer.json()
    assert (answer.status_code, body["departed"]) == (200, True), answer.text
    assert [(one["kind"], one["action"]) for one in body["steps"]] == [
        ("person", "absent"),
        ("enrollment", "absent"),
        ("person", "create"),
        ("enrollment", "create"),
    ]
    assert body["steps"][1]["class_id"].startswith("cls_")
    assert (await asks.get(f"/v1/staff/{body['person']}/sync-history")).json() == body
    assert "Given" not in answer.text
    parent = await asks.get("/v1/staff/sis:csv:p1/sync-history")
    assert [(one["kind"], one["action"]) for one in parent.json()["steps"]] == [("person", "create")]


async def test_no_student_is_reached_as_staff(app: FastAPI, north: Town, south: Town, tmp_path: Path) -> None:
    """A student cannot be read through the history of staff, under any id."""
    await sync(north, Export(), tmp_path)
    asks = caller(app, north)
    student = (await asks.get("/v1/students/sis:csv:s3")).json()["id"]
    assert (await asks.get(f"/v1/students/{student}/sync-history")).status_code == 200
    for name in ("sis:csv:s3", student, student.replace("stu_", "per_")):
        assert (await asks.get(f"/v1/staff/{name}/sync-history")).status_code == 404, name
    teacher = "/v1/staff/sis:csv:t-north/sync-history"
    assert (await caller(app, south).get(teacher)).status_code == 404
    for scope in ("sync:read", "roster:read"):
        assert (await caller(app, north, CLIENT_SCOPES - {scope}).get(teacher)).status_code == 403, scope
