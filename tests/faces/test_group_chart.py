"""Tests the chart of a group, as data and as SVG: who sees initials, and that nobody sees names."""

from datetime import timedelta
from xml.etree import ElementTree

from fastapi import FastAPI

from app.access.permission import Can
from app.core.ids import format_id
from app.evidence.service import NewScore
from app.group.inputs import NewGroupSession
from app.group.sessions import record_group_sessions
from app.response.service import record_scores
from app.rest.group_chart import LABEL_HEIGHT
from tests.faces.rest_town import CLIENT_SCOPES, caller
from tests.rooms.test_groups import formed
from tests.rooms.test_loop import BEGINS, stu
from tests.town import Town

WITHOUT_NAMES = CLIENT_SCOPES - {str(Can.READ_ROSTER)}


async def scored(town: Town) -> str:
    """Creates a group of two students with scores, and returns its id."""
    group = await formed(town, "amy", "ben")
    days = [BEGINS + timedelta(weeks=week) for week in range(1, 5)]
    async with town.unit() as work:
        scores = [NewScore(stu(town, name), "orf", day, 41.0) for name in ("amy", "ben") for day in days]
        await record_scores(work, scores)
        await record_group_sessions(work, group.id, [NewGroupSession(held_on=BEGINS)])
    return format_id("group", group.id)


async def test_lines_have_initials_only_where_names_may_be_seen(app: FastAPI, north: Town) -> None:
    """With `roster:read` the lines are labelled by initials, without it by numbers; a name is never in the chart."""
    group = await scored(north)
    named, numbered = caller(app, north), caller(app, north, WITHOUT_NAMES)
    for asking, labels in ((named, {"AF", "BF"}), (numbered, {"1", "2"})):
        chart = (await asking.ask("GET", f"/v1/groups/{group}/chart")).json()
        assert {line["label"] for line in chart["lines"]} == labels
        assert [len(line["points"]) for line in chart["lines"]] == [4, 4]
        picture = await asking.ask("GET", f"/v1/groups/{group}/chart.svg")
        assert all(f">{label}</text>" in picture.text for label in labels)
        root = ElementTree.fromstring(picture.text)  # noqa: S314  # our own document
        heights = [float(each.get("y", 0)) for each in root.iter() if each.text in labels]
        assert abs(heights[0] - heights[1]) >= LABEL_HEIGHT, "equal scores have labels that cover each other"
        assert north.canary not in picture.text
        assert "Amy" not in picture.text


async def test_a_former_member_is_named_as_such_and_keeps_the_line_until_leaving(app: FastAPI, north: Town) -> None:
    """The heading counts members and former members apart, and one student is no "students".

    Scores after the day of leaving are no scores of the group, so the chart leaves them out.
    """
    group = await scored(north)
    asks = caller(app, north)
    left_on = BEGINS + timedelta(weeks=2)
    answer = await asks.post(f"/v1/groups/{group}/leave", {"student": stu(north, "ben"), "on": str(left_on)})
    assert answer.status_code == 200, answer.text
    chart = (await asks.ask("GET", f"/v1/groups/{group}/chart")).json()
    assert [(line["label"], len(line["points"])) for line in chart["lines"]] == [("AF", 4), ("BF", 2)]
    picture = (await asks.ask("GET", f"/v1/groups/{group}/chart.svg")).text
    assert ">1 student, 1 former student</text>" in picture
    assert (await asks.post(f"/v1/groups/{group}/end", {})).status_code == 200
    assert ">2 former students</text>" in (await asks.ask("GET", f"/v1/groups/{group}/chart.svg")).text
