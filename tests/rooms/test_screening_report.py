"""Tests the report of a screening window: computed while the window is open, and stored when it closes."""

from datetime import timedelta
from typing import Any

from fastapi import FastAPI

from app.access.permission import Can
from app.access.work import Work, needs
from app.core.ids import new_id
from app.roster.models import Person
from app.team.scopes import end_team_scope
from tests.faces.graphql_face import query_data
from tests.faces.rest_town import CLIENT_SCOPES, Caller, caller
from tests.rooms.team_town import named, serves, team_of
from tests.rooms.test_screening_windows import scheduled, window
from tests.town import YEAR_BEGINS, Town, lay, maintain, person_rows

FALL = (str(YEAR_BEGINS), str(YEAR_BEGINS + timedelta(days=10)))
OPEN = (str(YEAR_BEGINS + timedelta(weeks=10)), str(YEAR_BEGINS + timedelta(weeks=20)))
REPORT = """{ screeningReport(windowId: "%s", countBy: [LEVEL], show: ALL) {
    withheld
    results { studentId studentName schoolName measureName level levelName percentile movement underCut served }
    counts { level measureName schoolName students share } } }"""
NAMES = {
    "student_name": "studentName",
    "school_name": "schoolName",
    "measure_name": "measureName",
    "level_name": "levelName",
}
"""The names that a result has, in REST and in GraphQL."""


async def screened(asks: Caller, town: Town, on: str, **values: float) -> None:
    """Records a screening score in oral reading for each named student."""
    scores = [
        {
            "student": named("student", town.students[name]),
            "measure": "orf",
            "taken_on": on,
            "value": value,
            "purpose": "screening",
        }
        for name, value in values.items()
    ]
    answer = await asks.post("/v1/scores/bulk", {"scores": scores})
    assert {one["outcome"] for one in answer.json()["results"]} <= {"recorded", "amended"}, answer.text


async def names_of(asks: Caller, result: dict[str, Any]) -> list[str]:
    """Returns the names of the student, the school, the measure and the level of a result, read one by one."""
    student = (await asks.get(f"/v1/students/{result['student']}")).json()
    school = (await asks.get(f"/v1/schools/{result['school']}")).json()
    measures = {one["id"]: one["name"] for one in await asks.items("/v1/measures")}
    levels = {one["rank"]: one["name"] for one in await asks.items("/v1/levels")}
    name = f"{student['given_name']} {student['family_name']}"
    return [name, school["name"], measures[result["measure"]], levels[result["level"]]]


async def report(asks: Caller, window_id: str, **params: Any) -> dict[str, Any]:
    """Returns the report of a window."""
    answer = await asks.get(f"/v1/screening-windows/{window_id}/report", **params)
    assert answer.status_code == 200, answer.text
    shown: dict[str, Any] = answer.json()
    return shown


def by_name(town: Town, shown: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Returns the results of a report, keyed by the name of the student."""
    names = {named("student", row_id): name for name, row_id in town.students.items()}
    return {names[one["student"]]: one for one in shown["results"] if one["student"] in names}


async def test_an_open_window_shows_levels_percentiles_and_who_is_missing(app: FastAPI, north: Town) -> None:
    """An open window shows levels and percentiles, who is under the cut without a support, and who was not screened."""
    asks = caller(app, north)
    first = await scheduled(asks, window(*FALL))
    await screened(asks, north, FALL[0], amy=50.0, ben=94.0)
    await screened(asks, north, FALL[0], cy=200.0)
    results = by_name(north, await report(asks, first["id"], show="all"))
    assert {name: one["level"] for name, one in results.items()} == {"amy": 3, "ben": 1, "cy": 1}
    assert results["amy"]["percentile"] == 10 + 15 * (50 - 40) / (59 - 40)
    assert results["ben"]["percentile"] == 50 + 25 * (94 - 83) / (104 - 83)
    assert results["cy"]["percentile"] == 90
    assert [results["amy"][name] for name in NAMES] == await names_of(asks, results["amy"])
    assert by_name(north, await report(asks, first["id"])).keys() == {"amy"}
    await maintain(north)
    winter = await scheduled(asks, window(*OPEN, season="winter"))
    await screened(asks, north, OPEN[0], amy=120.0, ben=90.0)
    shown = await report(asks, winter["id"])
    results = by_name(north, shown)
    assert {name: one["movement"] for name, one in results.items()} == {
        "amy": "improved",
        "ben": "declined",
        "cy": None,
    }
    assert (results["ben"]["under_cut"], results["ben"]["served"], results["cy"]["score"]) == (True, False, None)
    assert by_name(north, await report(asks, winter["id"], show="not_screened")).keys() == {"cy"}
    assert by_name(north, await report(asks, winter["id"], show="unserved")).keys() == {"ben"}
    pages, after = [], None
    while True:
        page = await report(asks, winter["id"], show="all", limit=1, **({"after": after} if after else {}))
        pages += page["results"]
        after = page["next"]
        if after is None:
            break
    assert len({one["student"] for one in pages}) == len(pages) == 3
    answered = (await query_data(north, REPORT % winter["id"]))["screeningReport"]
    assert {one["level"] for one in answered["results"]} == {1, 2, None}
    of_graphql = {one["studentId"]: [one[name] for name in NAMES.values()] for one in answered["results"]}
    assert of_graphql == {one["student"]: [one[name] for name in NAMES] for one in pages}


async def test_a_report_shows_only_students_within_reach(app: FastAPI, north: Town) -> None:
    """A report shows a teacher no child whom the teacher does not teach, and no score of a secured measure."""
    asks = caller(app, north)
    expected = [{"measure": "orf", "grades": ["3"]}, {"measure": "sel-screener", "grades": ["03"]}]
    shown = await scheduled(asks, window(*FALL, expected=expected))
    await screened(asks, north, FALL[0], amy=50.0, ben=50.0, cy=50.0)
    teacher = caller(app, north, act_for="sis:sis:teacher-1")
    seen = await report(teacher, shown["id"], show="all")
    assert by_name(north, seen).keys() == {"amy"}
    assert {one["measure"] for one in seen["results"]} == {named("measure", north.measures["orf"])}
    assert (seen["hidden_measures"], seen["counts"]) == (1, [])
    await maintain(north)
    kept = await report(teacher, shown["id"], show="all")
    assert by_name(north, kept).keys() == {"amy"}
    assert (kept["state"], kept["hidden_measures"]) == ("closed", 1)
    class_id = named("class", north.classes[1])
    assert by_name(north, await report(asks, shown["id"], show="all", **{"class": class_id})).keys() == {"cy"}


async def test_a_team_is_a_list_of_its_children_and_changes_no_count(app: FastAPI, north: Town) -> None:
    """A report for a team lists only the team's children, and its counts are the same as without the team."""
    asks = caller(app, north)
    shown = await scheduled(asks, window(*FALL))
    await screened(asks, north, FALL[0], amy=50.0, ben=50.0, cy=50.0)
    team = await team_of(north, "teacher")
    scope = await serves(north, team, student=named("student", north.students["ben"]))
    of_team = {"show": "all", "team": named("team", team.id)}
    assert by_name(north, await report(asks, shown["id"], **of_team)).keys() == {"ben"}
    assert (await report(asks, shown["id"], **of_team))["counts"] == (await report(asks, shown["id"]))["counts"]
    async with north.unit() as work:
        await end_team_scope(work, scope.id)
    assert (await report(asks, shown["id"], **of_team))["results"] == []
    path = f"/v1/screening-windows/{shown['id']}/report"
    assert (await asks.get(path, team="tea_no")).status_code == 422
    without = caller(app, north, CLIENT_SCOPES - {"team:read"})
    assert (await without.get(path, team=of_team["team"])).json()["code"] == "permission.missing"


async def test_a_closed_window_keeps_its_results_and_publishes_no_small_count(app: FastAPI, north: Town) -> None:
    """After a screening window is closed, later scores and cuts change neither its results nor its counts.

    No count of fewer than ten students is shown, whichever dimensions a report counts by.
    """
    asks = caller(app, north)

    @needs(Can.SYNC_ROSTER)
    async def enroll(work: Work) -> None:
        for number in range(30):
            student = new_id()
            north.students[f"child{number}"] = student
            school = north.schools[0 if number < 26 else 1]
            await lay(work, *person_rows(north, f"child{number}", "student", student, school))

    async with north.house() as work:
        await enroll(work)
    shown = await scheduled(asks, window(*FALL))
    values = {f"child{number}": 60.0 if number % 2 else 120.0 for number in range(30)}
    await screened(asks, north, FALL[0], **values)
    before = await report(asks, shown["id"], show="all", count_by=["school", "level"], limit=200)
    await maintain(north)
    await screened(asks, north, FALL[0], amy=10.0)
    after = await report(asks, shown["id"], show="all", count_by=["school", "level"], limit=200)
    assert (after["state"], after["results"]) == ("closed", before["results"])
    assert after["counts"] == before["counts"]
    for by in (["school"], ["school", "level"], ["grade", "level"], ["level"], []):
        counts = (await report(asks, shown["id"], count_by=by))["counts"]
        assert all(one["students"] >= 10 for one in counts), counts
    everybody = (await report(asks, shown["id"]))["counts"]
    assert [(one["students"], one["share"]) for one in everybody] == [(33, 1.0)]
    levels = await report(asks, shown["id"], count_by=["level"])
    # The three who were not screened are fewer than 10, so that one other level is withheld with them.
    assert (len(levels["counts"]), levels["withheld"]) == (1, True)
    assert (await report(asks, shown["id"], count_by=["school"]))["counts"] == []


async def test_nobody_subtracts_the_own_children_from_the_counts_of_the_district(app: FastAPI, north: Town) -> None:
    """A person of one school, or with a caseload, cannot find how many children there are elsewhere, if these are few.

    The counts of the own school are shown, and the shares do not reveal what is withheld.
    """
    asks = caller(app, north)

    @needs(Can.SYNC_ROSTER)
    async def enroll(work: Work) -> None:
        for number in range(46):
            student = new_id()
            north.students[f"child{number}"] = student
            school = north.schools[0 if number < 40 else 1]
            await lay(work, *person_rows(north, f"child{number}", "student", student, school))

    async with north.house() as work:
        await enroll(work)
    shown = await scheduled(asks, window(*FALL))
    await screened(asks, north, FALL[0], **{f"child{number}": 60.0 + 60.0 * (number % 2) for number in range(46)})
    await maintain(north)
    of_district = [one["students"] for one in (await report(asks, shown["id"]))["counts"]]
    assert of_district == [49], "the other school has seven children: cy and six more"
    of_school = caller(app, north, schools=(north.schools[0],))
    for by in ([], ["grade"], ["level"], ["grade", "level"], ["school"], ["level", "school"]):
        counted = await report(of_school, shown["id"], count_by=by)
        assert (counted["counts"], counted["withheld"]) == ([], True), by
    own = await report(of_school, shown["id"], count_by=["school", "level"])
    school = named("org", north.schools[0])
    published = (await report(asks, shown["id"], count_by=["school", "level"]))["counts"]
    assert own["counts"] == [one for one in published if one["school"] == school]
    teacher = caller(app, north, act_for="sis:sis:teacher-1")
    of_others = [one["students"] for one in (await report(teacher, shown["id"]))["counts"]]
    assert of_others == [49], "the teacher lists one child, and the other 48 are not few"


async def test_dimensions_that_a_report_cannot_count_are_refused(app: FastAPI, north: Town) -> None:
    """A report with three dimensions is refused, and so are demographics to a caller without permission for them."""
    asks = caller(app, north)
    path = f"/v1/screening-windows/{(await scheduled(asks, window(*FALL)))['id']}/report"
    assert (await asks.get(path, count_by=["group"])).status_code == 400
    assert (await asks.get(path, count_by=["level", "level"])).status_code == 400
    assert (await asks.get(path, count_by=["school", "grade", "level"])).status_code in (400, 422)
    other = await scheduled(asks, window(*OPEN, group_by="sex"))
    teacher = caller(app, north, frozenset({"score:read", "support:read", "roster:read", "playbook:read"}))
    answer = await teacher.get(f"/v1/screening-windows/{other['id']}/report", count_by=["group"])
    assert (answer.status_code, answer.json()["code"]) == (403, "permission.missing")


async def test_two_measures_of_other_grades_show_no_small_count_by_their_difference(app: FastAPI, north: Town) -> None:
    """The counts of two measures for different grades do not reveal a group of four children.

    One measure counts the school with these children, and the other one without them. The difference of the counts
    would be their number.
    """
    asks = caller(app, north)

    @needs(Can.SYNC_ROSTER)
    async def enroll(work: Work) -> None:
        for place, grade, students in ((0, "03", 20), (0, "04", 4), (1, "03", 20), (1, "04", 20)):
            for number in range(students):
                name = f"child{place}of{grade}number{number}"
                person, *others = person_rows(north, name, "student", new_id(), north.schools[place])
                assert isinstance(person, Person)
                person.grades = [grade]
                await lay(work, person, *others)

    async with north.house() as work:
        await enroll(work)
    expected = [{"measure": "orf", "grades": ["03"]}, {"measure": "computation", "grades": ["03", "04"]}]
    shown = await scheduled(asks, window(*FALL, expected=expected))
    await maintain(north)
    by_school: dict[str, list[int]] = {}
    for one in (await report(asks, shown["id"], count_by=["school"]))["counts"]:
        by_school.setdefault(one["school"], []).append(one["students"])
    assert by_school, "the report has no counts by school at all"
    for counts in by_school.values():
        assert max(counts) - min(counts) == 0 or max(counts) - min(counts) >= 10, by_school
