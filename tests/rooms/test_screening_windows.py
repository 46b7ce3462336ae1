"""Tests screening windows: which students are expected, what is refused, and who may schedule them."""

from typing import Any

from fastapi import FastAPI

from tests.faces.graphql_face import query_data
from tests.faces.rest_town import Caller, caller
from tests.rooms.team_town import named
from tests.town import Town


def window(opens: str = "2026-09-08", closes: str = "2026-09-26", **more: Any) -> dict[str, Any]:
    """Returns the input for a window in which the third grade is screened in oral reading."""
    expected = [{"measure": "orf", "grades": ["03"]}]
    return {"season": "fall", "opens_on": opens, "closes_on": closes, "expected": expected, **more}


async def scheduled(asks: Caller, body: dict[str, Any]) -> dict[str, Any]:
    """Schedules a screening window, and returns it."""
    answer = await asks.post("/v1/screening-windows", body)
    assert answer.status_code == 201, answer.text
    shown: dict[str, Any] = answer.json()
    return shown


async def codes(asks: Caller, path: str, body: dict[str, Any]) -> set[tuple[str, str]]:
    """Returns the pointers and codes of the violations of a command that is refused."""
    answer = await asks.post(path, body)
    assert answer.status_code == 422, answer.text
    return {(one["pointer"], one["code"]) for one in answer.json()["violations"]}


async def test_a_window_says_who_is_expected_by_which_measure(app: FastAPI, north: Town) -> None:
    """In both APIs, a window states which measures are expected of which grades."""
    asks = caller(app, north)
    shown = await scheduled(asks, window(group_by="sex"))
    assert (shown["state"], shown["school_year"], shown["group_by"], shown["school"]) == (
        "scheduled",
        2027,
        "sex",
        None,
    )
    (expected,) = shown["expected"]
    assert (expected["measure"], expected["grades"]) == (named("measure", north.measures["orf"]), ["03"])
    query = "{ screeningWindow(id: %s) { schoolYear state expected { grades measure { code } } } }"
    answer = (await query_data(north, query % f'"{shown["id"]}"'))["screeningWindow"]
    assert answer["expected"] == [{"grades": ["03"], "measure": {"code": "orf"}}]
    assert [one["id"] for one in await asks.items("/v1/screening-windows", school_year="2027")] == [shown["id"]]


async def test_a_window_that_overlaps_another_of_its_measure_and_school_is_refused(app: FastAPI, north: Town) -> None:
    """A screening window is refused if it overlaps another one of the same measure and school.

    Otherwise, a child could have two results in one season. A window of all schools overlaps a window of a single
    school.
    """
    asks, one, two = caller(app, north), *(named("org", school) for school in north.schools)
    first = await scheduled(asks, window(school=one))
    overlap = {("/expected/0/measure", "screening.overlap")}
    assert await codes(asks, "/v1/screening-windows", window("2026-09-25", "2026-10-02", school=one)) == overlap
    assert await codes(asks, "/v1/screening-windows", window("2026-09-01", "2026-09-09")) == overlap
    second = await scheduled(asks, window("2026-09-25", "2026-10-02", school=two))
    at_one_school = await scheduled(asks, window("2026-09-26", "2026-09-30", school=one))
    maze = [{"measure": "maze", "grades": ["03"]}]
    await scheduled(asks, window(expected=maze))
    moved = f"/v1/screening-windows/{at_one_school['id']}/move"
    assert await codes(asks, moved, {"opens_on": "2026-09-20"}) == {("/opens_on", "screening.overlap")}
    assert (await asks.post(f"/v1/screening-windows/{first['id']}/cancel", {})).json()["state"] == "cancelled"
    assert (await asks.post(moved, {"opens_on": "2026-09-20"})).json()["opens_on"] == "2026-09-20"
    assert (await asks.post(f"/v1/screening-windows/{first['id']}/cancel", {})).json()["code"] == "screening.cancelled"
    assert second["closes_on"] == "2026-10-02"


async def test_every_fault_of_a_window_is_named_at_once(app: FastAPI, north: Town) -> None:
    """All violations of a window are reported at once, so that nobody has to correct one after another."""
    asks = caller(app, north)
    expected = [
        {"measure": "gone", "grades": ["03"]},
        {"measure": "orf", "grades": ["03", "03", " "]},
        {"measure": "orf", "grades": ["02"]},
    ]
    bad = window("2026-09-26", "2026-09-08", school=named("org", north.staff["aide"]), expected=expected)
    assert await codes(asks, "/v1/screening-windows", bad) == {
        ("/closes_on", "screening.days"),
        ("/school", "org.unknown"),
        ("/expected/0/measure", "measure.unknown"),
        ("/expected/1/grades/1", "screening.same_grade"),
        ("/expected/1/grades/2", "screening.grade"),
        ("/expected/2/measure", "screening.same_measure"),
    }
    items = {"screening_windows": [window(), window("2026-09-20", "2026-09-30"), window("2026-10-20", "2026-10-30")]}
    answer = (await asks.post("/v1/screening-windows/bulk", items)).json()
    assert [one["outcome"] for one in answer["results"]] == ["recorded", "refused", "recorded"]
    assert answer["results"][0]["screening_window"]["expected"][0]["grades"] == ["03"]


async def test_a_principal_schedules_windows_of_the_own_school_only(app: FastAPI, north: Town) -> None:
    """A school's administrator can schedule windows of this school only. A teacher cannot cancel them."""
    one, two = (named("org", school) for school in north.schools)
    principal = caller(app, north, act_for="sis:sis:administrator-1")
    own = await scheduled(principal, window(school=one))
    for body in (window(school=two), window()):
        answer = await principal.post("/v1/screening-windows", body)
        assert answer.status_code in (403, 422), answer.text
    teacher = caller(app, north, act_for="sis:sis:teacher-1")
    answer = await teacher.post(f"/v1/screening-windows/{own['id']}/cancel", {})
    assert (answer.status_code, answer.json()["code"]) == (403, "permission.missing")
