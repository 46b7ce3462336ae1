"""A person's sync history: why somebody is there, or is not, without what anybody else's rows say."""

from pathlib import Path

from fastapi import FastAPI

from app.sis.queries import history_of
from tests.faces.rest_town import caller
from tests.sis.roster_zip import Export, sync
from tests.town import Town


async def _told(town: Town, name: str) -> list[tuple[str, str]]:
    async with town.unit() as work:
        _, steps = await history_of(work, name)
    return [(step.kind, step.action) for step in steps]


async def test_why_a_student_disappeared_has_an_answer(north: Town, app: FastAPI, tmp_path: Path) -> None:
    """Came, changed, was no longer in the file: each step names its run; nobody else's steps are among them."""
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
    assert await _told(north, "sis:csv:s3") == [
        ("person", "absent"),
        ("enrollment", "remove"),
        ("person", "update"),
        ("person", "create"),
        ("enrollment", "create"),
    ]
    assert await _told(north, "sis:csv:s1") == [("person", "create"), ("enrollment", "create")]
    answer = await caller(app, north).get("/v1/students/sis:csv:s3/sync-history")
    told = answer.json()
    assert (answer.status_code, told["departed"]) == (200, True)
    assert told["steps"][0]["sentence"] == "The person was removed: it was no longer in csv."
    assert told["steps"][1]["class_id"].startswith("cls_")
    assert "New" not in answer.text
    assert "Given" not in answer.text


async def test_the_history_of_staff_is_told_as_well(north: Town, tmp_path: Path) -> None:
    """A teacher who is not there is asked for just as often."""
    await sync(north, Export(), tmp_path)
    assert await _told(north, "sis:csv:t-north") == [("person", "create"), ("enrollment", "create")]
