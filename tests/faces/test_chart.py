"""Tests the chart of a support over HTTP, as data and as SVG: who may see it, and its security headers."""

import re
from datetime import timedelta

import asyncpg
import pytest
from fastapi import FastAPI

from app.core import ids
from app.core.ids import new_id
from app.response.service import record_scores
from app.settings import Settings
from app.support.models import Support
from app.support.session import NewSession, record_sessions
from tests.faces.rest_town import CLIENT_SCOPES, caller
from tests.rooms.test_loop import BEGINS, RISES, STALLS, served, weekly
from tests.town import Town


@pytest.fixture
async def support(north: Town) -> Support:
    """Returns a support of amy with five scores that rise, five that do not, and a week of sessions."""
    supported = await served(north, "amy")
    async with north.unit() as work:
        await record_scores(work, weekly(north, "amy", RISES + STALLS))
        await record_sessions(work, supported.id, [NewSession(BEGINS, attended=True)])
    return supported


def path_of(support: Support, picture: str) -> str:
    """Returns the path of a support's chart."""
    return f"/v1/supports/{ids.format_id('support', support.id)}/{picture}"


async def test_the_data_says_what_the_verdict_rests_on(app: FastAPI, north: Town, support: Support) -> None:
    """The data of a chart has the scores, the aimline, missed weeks, sessions and the current verdict.

    The verdict has its label and its three probabilities of growth.
    """
    north_caller = caller(app, north)
    chart = (await north_caller.get(path_of(support, "chart"))).json()
    verdict = (await north_caller.get(path_of(support, "verdict"))).json()
    assert [point["value"] for point in chart["points"]] == RISES + STALLS
    assert [point["place"] for point in chart["points"]][:2] == [0.8, 1.8]
    (phase,) = chart["phases"]
    assert (phase["baseline"], phase["goal"], phase["required_rate"]) == (40.0, 70.0, 1.5)
    assert phase["aimline"] == {"from_week": 0, "from_value": 40.0, "to_week": 20, "to_value": 70.0}
    assert [week["week"] for week in chart["weeks"] if week["is_missed"]] == [11]
    assert chart["sessions"][0] == {"week": 0, "known_minutes": 30, "delivered_minutes": 30, "unknown_sessions": 2}
    of_verdict = ("id", "state", "kind", "label", "sentence", "slow", "short", "on_pace")
    assert {name: chart["verdict"][name] for name in of_verdict} == {name: verdict[name] for name in of_verdict}
    assert chart["verdict"]["slow"] + chart["verdict"]["short"] + chart["verdict"]["on_pace"] == pytest.approx(1)
    assert chart["fitted"]["rate"] == verdict["rate"]


async def test_the_svg_is_shut_and_names_nobody(app: FastAPI, north: Town, support: Support) -> None:
    """The SVG has strict security headers, no script, and no name or id of a student."""
    answer = await caller(app, north).get(path_of(support, "chart.svg"), width=320, theme="dark")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "image/svg+xml"
    assert answer.headers["content-security-policy"] == "default-src 'none'; style-src 'unsafe-inline'"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "no-store" in answer.headers["cache-control"]
    assert 'width="320"' in answer.text
    assert north.canary not in answer.text
    assert not re.search(r"stu_|sup_|<script|href", answer.text)


@pytest.mark.parametrize("query", [{"width": 279}, {"width": 1601}, {"width": "x"}, {"theme": "blue"}, {"size": 3}])
async def test_what_cannot_be_drawn_is_refused(
    app: FastAPI, north: Town, support: Support, query: dict[str, object]
) -> None:
    """An invalid width, theme or parameter is refused."""
    assert (await caller(app, north).get(path_of(support, "chart.svg"), **query)).status_code == 400


@pytest.mark.parametrize("picture", ["chart", "chart.svg"])
async def test_who_may_look(app: FastAPI, north: Town, south: Town, support: Support, picture: str) -> None:
    """A chart can be read only with the permissions for scores, verdicts and supports.

    The caller must also be allowed to see the student.
    """
    path = path_of(support, picture)
    for scope in ("score:read", "verdict:read", "support:read"):
        assert (await caller(app, north, CLIENT_SCOPES - {scope}).get(path)).status_code == 403, scope
    assert (await caller(app, south).get(path)).status_code == 404
    other = caller(app, north, act_for="sis:sis:other_teacher-1")
    assert (await other.get(path)).status_code == 404
    assert (await caller(app, north, act_for="sis:sis:teacher-1").get(path)).status_code == 200


@pytest.mark.parametrize("picture", ["chart", "chart.svg"])
async def test_looking_is_in_the_log(
    app: FastAPI, north: Town, settings: Settings, support: Support, picture: str
) -> None:
    """Each read of a chart writes one row to the disclosure log, with the student and the shown kinds of record."""
    since = new_id()
    await caller(app, north).get(path_of(support, picture))
    connection = await asyncpg.connect(settings.url_of("owner"))
    (row,) = await connection.fetch(
        "SELECT student_ids, kinds FROM disclosure WHERE district_id = $1 AND id > $2", north.district_id, since
    )
    await connection.close()
    assert row["student_ids"] == [north.students["amy"]]
    assert set(row["kinds"]) >= {"score", "support", "verdict"}


async def test_a_support_without_a_score_has_a_picture(app: FastAPI, north: Town) -> None:
    """A support without a score has a chart with its aimline and goal."""
    support = await served(north, "ben")
    answer = await caller(app, north).get(path_of(support, "chart.svg"))
    assert answer.status_code == 200
    assert "goal 70" in answer.text
    chart = (await caller(app, north).get(path_of(support, "chart"))).json()
    assert chart["points"] == []
    assert chart["phases"][0]["goal_on"] == str(BEGINS + timedelta(weeks=20))
