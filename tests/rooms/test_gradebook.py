"""Tests who may read which grades, and what the responses contain."""

import pytest
from fastapi import FastAPI

from app.core import ids
from tests.faces.rest_town import CLIENT_SCOPES, caller
from tests.rooms.gradebook_town import grade
from tests.town import Town


async def test_a_students_results_come_in_pages_with_what_they_were_given_for(app: FastAPI, north: Town) -> None:
    """A student's results come in pages. A result can be above the maximum. It has the class and category of its line
    item.
    """
    made = await grade(north)
    amy = ids.format_id("student", north.students["amy"])
    asks = caller(app, north)
    first = (await asks.get(f"/v1/students/{amy}/results", limit=1)).json()
    assert [item["id"] for item in first["items"]] == [ids.format_id("result", made["result of amy"])]
    items = await asks.items(f"/v1/students/{amy}/results")
    assert [(item["score"], item["result_value_max"]) for item in items] == [(17.0, 20.0), (23.5, 20.0)]
    result = items[0]
    assert result["class_id"] == ids.format_id("class", north.classes[0])
    assert result["category"] == f"Tests {north.canary}"
    assert result["score_status"] == f"graded {north.canary}"
    assert result["learning_objectives"] == [
        {"source": "case", "id": f"K.1 {north.canary}", "score": 3.0, "text_score": None}
    ]
    (assessed,) = await asks.items(f"/v1/students/{amy}/assessment-results")
    assert (assessed["score"], assessed["score_percentile"], assessed["title"]) == (12.0, 40.0, result["title"])


async def test_results_can_be_asked_for_by_class_and_day(app: FastAPI, north: Town) -> None:
    """Results can be requested by class and day. The first and the last day are included."""
    await grade(north)
    path = f"/v1/students/{ids.format_id('student', north.students['amy'])}/results"
    asks = caller(app, north)
    first, elsewhere = (ids.format_id("class", one) for one in north.classes)
    assert len(await asks.items(path, **{"class": first})) == 2
    assert await asks.items(path, **{"class": elsewhere}) == []
    assert len(await asks.items(path, since="2026-09-09", until="2026-09-09")) == 2
    assert await asks.items(path, since="2026-09-10") == []


async def test_a_classs_line_items(app: FastAPI, north: Town) -> None:
    """The line items of a class contain their category's title and no student."""
    made = await grade(north)
    (item,) = await caller(app, north).items(f"/v1/classes/{ids.format_id('class', north.classes[0])}/line-items")
    assert (item["id"], item["category"]) == (ids.format_id("line_item", made["line item 1"]), f"Tests {north.canary}")


@pytest.mark.parametrize(("student", "status"), [("amy", 200), ("ben", 404), ("cy", 404)])
async def test_a_teacher_reads_the_grades_of_the_caseload(app: FastAPI, north: Town, student: str, status: int) -> None:
    """A teacher reads the grades of the caseload only."""
    await grade(north)
    asks = caller(app, north, act_for="sis:sis:teacher-1")
    answer = await asks.get(f"/v1/students/{ids.format_id('student', north.students[student])}/results")
    assert answer.status_code == status


async def test_grades_ask_for_a_scope_of_their_own(app: FastAPI, north: Town) -> None:
    """Reading grades requires the scope `grades:read`; the scopes of the roster and of scores are not enough."""
    await grade(north)
    asks = caller(app, north, CLIENT_SCOPES - {"grades:read"})
    for path in (
        f"/v1/students/{ids.format_id('student', north.students['amy'])}/results",
        f"/v1/students/{ids.format_id('student', north.students['amy'])}/assessment-results",
        f"/v1/classes/{ids.format_id('class', north.classes[0])}/line-items",
    ):
        answer = await asks.get(path)
        assert (answer.status_code, answer.json()["code"]) == (403, "permission.missing")


async def test_another_districts_grades_are_not_there(app: FastAPI, north: Town, south: Town) -> None:
    """The grades of another district's student or class give 404, as for an id that does not exist."""
    await grade(north)
    asks = caller(app, south)
    for path in (
        f"/v1/students/{ids.format_id('student', north.students['amy'])}/results",
        f"/v1/classes/{ids.format_id('class', north.classes[0])}/line-items",
    ):
        assert (await asks.get(path)).status_code == 404
