"""Tests that teams schedule single meetings and series of meetings. A series skips the weeks without school."""

import asyncio
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from fastapi import FastAPI
from sqlalchemy import text

from app.access.permission import Can
from app.access.work import Work, needs
from app.core.clock import today_in
from app.meeting.scheduling import MAX_ACTIVE_SERIES
from app.meeting.series import extend_series
from app.response.administration.breaks import declare_break, remove_break
from app.roster.breaks import NewBreak
from app.team.service import archive_team
from tests.faces.graphql_face import query_data
from tests.faces.rest_town import Caller, caller
from tests.rooms.team_town import as_person, named, team_of
from tests.town import TIME_ZONE, Town

TODAY = today_in(TIME_ZONE)


async def series_of(asks: Caller, team: str, **more: Any) -> dict[str, Any]:
    """Schedules a weekly series from tomorrow on, and returns it."""
    begins_at = f"{TODAY + timedelta(days=1)}T08:00"
    body = {"team": team, "begins_at": begins_at, "rule": "FREQ=WEEKLY", "minutes": 45} | more
    answer = await asks.post("/v1/meeting-series", body)
    assert answer.status_code == 201, answer.text
    shown: dict[str, Any] = answer.json()
    return shown


async def meetings_of(asks: Caller, series: dict[str, Any], **filters: str) -> list[dict[str, Any]]:
    """Returns the meetings of a series, sorted by the time at which they begin."""
    return await asks.items("/v1/meetings", series=series["id"], sort="starts_at", **filters)


async def extended(town: Town) -> int:
    """Runs the hourly task that schedules meetings, and returns the number of meetings that it created."""
    async with town.house() as work:
        return await extend_series(work)


async def test_a_series_has_its_meetings_at_the_local_time(app: FastAPI, north: Town) -> None:
    """The twelve weekly meetings of a series are all at eight o'clock local time, also after a change of the clocks."""
    asks = caller(app, north)
    team = named("team", (await team_of(north, "aide")).id)
    series = await series_of(asks, team, place="Room 12")
    meetings = await meetings_of(asks, series)
    zone = ZoneInfo(await _zone(north))
    assert 10 <= len(meetings) <= 12
    starts = [datetime.fromisoformat(meeting["starts_at"]).astimezone(zone) for meeting in meetings]
    assert {start.strftime("%H:%M") for start in starts} == {"08:00"}
    assert {start.weekday() for start in starts} == {(TODAY + timedelta(days=1)).weekday()}
    assert {(meeting["state"], meeting["place"], meeting["minutes"]) for meeting in meetings} == {
        ("scheduled", "Room 12", 45)
    }
    assert await extended(north) == 0, "a second run writes nothing"
    shown = await query_data(
        north, "{ team(id: %s) { meetingSeries { rule meetings: state } } }".replace("%s", f'"{team}"')
    )
    assert shown["team"]["meetingSeries"] == [{"rule": "FREQ=WEEKLY", "meetings": "ACTIVE"}]


async def test_a_series_skips_breaks_and_follows_their_changes(app: FastAPI, north: Town) -> None:
    """A break cancels the meetings of a series that fall on its days. If the break is removed, they are scheduled
    again.
    """
    asks = caller(app, north)
    series = await series_of(asks, named("team", (await team_of(north, "aide")).id))
    second = (await meetings_of(asks, series))[1]
    day = datetime.fromisoformat(second["starts_at"]).date()
    async with north.unit() as work:
        declared = await declare_break(work, NewBreak(day - timedelta(days=1), day + timedelta(days=1)))
    assert await extended(north) == 1
    (cancelled,) = await meetings_of(asks, series, state="cancelled")
    assert (cancelled["id"], cancelled["fell_on_break"]) == (second["id"], True)
    other = await series_of(asks, series["team"], begins_at=f"{TODAY + timedelta(days=1)}T09:00")
    days = [datetime.fromisoformat(meeting["starts_at"]).date() for meeting in await meetings_of(asks, other)]
    assert day not in days, "a new series skips the break"
    async with north.unit() as work:
        await remove_break(work, declared.row.id)
    assert await extended(north) == 2
    assert await meetings_of(asks, series, state="cancelled") == []


async def test_an_ended_series_and_an_archived_team_meet_no_more(app: FastAPI, north: Town) -> None:
    """An ended series schedules no further meeting, and a meeting of an archived team is refused."""
    asks = caller(app, north)
    team = await team_of(north, "aide")
    series = await series_of(asks, named("team", team.id))
    ended = await asks.post(f"/v1/meeting-series/{series['id']}/end", {})
    assert (ended.status_code, ended.json()["state"]) == (200, "ended")
    assert await meetings_of(asks, series, state="scheduled") == []
    again = await asks.post(f"/v1/meeting-series/{series['id']}/end", {})
    assert (again.status_code, again.json()["code"]) == (409, "meeting_series.ended")
    assert await extended(north) == 0
    async with north.unit() as work:
        await archive_team(work, team.id)
    refused = await asks.post("/v1/meetings", _single(named("team", team.id)))
    assert (refused.status_code, refused.json()["violations"][0]["code"]) == (422, "team.archived")


async def test_every_fault_of_a_series_is_told_at_once(app: FastAPI, north: Town) -> None:
    """All violations of a series are reported at once, each with its pointer, for example that a rule never occurs."""
    body = {"team": named("team", north.district_id), "begins_at": "2026-99-08T08:00", "rule": "FREQ=WEEKLY"}
    answer = await caller(app, north).post("/v1/meeting-series", body | {"minutes": 2, "protocol": "none"})
    assert answer.status_code == 422
    errors = {error["pointer"]: error["code"] for error in answer.json()["violations"]}
    assert errors == {
        "/minutes": "shape.greater_than_equal",
        "/begins_at": "meeting_series.begins_at",
        "/team": "team.unknown",
        "/protocol": "protocol.unknown",
    }
    never = body | {"begins_at": "2026-09-08T08:00", "rule": "FREQ=DAILY;BYMONTH=2;BYMONTHDAY=30", "minutes": 30}
    refused = await caller(app, north).post("/v1/meeting-series", never)
    assert "meeting_series.never_occurs" in {error["code"] for error in refused.json()["violations"]}


async def test_a_team_has_a_limited_number_of_series(app: FastAPI, north: Town) -> None:
    """A team can have only a limited number of active series of meetings.

    A calendar has to compute the days of each of them. Ended series do not count.
    """
    asks = caller(app, north)
    team = named("team", (await team_of(north, "aide")).id)
    body = {"team": team, "begins_at": "2026-09-08T08:00", "rule": "FREQ=MONTHLY", "minutes": 30}
    series = [
        (await asks.post("/v1/meeting-series", body | {"begins_at": f"2026-09-08T08:{minute + 1:02}"})).json()["id"]
        for minute in range(MAX_ACTIVE_SERIES)
    ]
    refused = await asks.post("/v1/meeting-series", body)
    assert (refused.status_code, refused.json()["code"]) == (409, "meeting_series.too_many")
    await asks.post(f"/v1/meeting-series/{series[0]}/end", {})
    assert (await asks.post("/v1/meeting-series", body)).status_code == 201


async def test_the_same_series_or_meeting_is_refused(app: FastAPI, north: Town) -> None:
    """A second request for the same series, or for the same single meeting, is refused.

    It is refused even if both requests arrive at once. It is accepted if it names another protocol, or if the first
    series was ended or the first meeting was cancelled.
    """
    asks = caller(app, north)
    team = named("team", (await team_of(north, "teacher")).id)
    teacher = caller(app, north, act_for="sis:sis:teacher-1")
    series = {"begins_at": f"{TODAY + timedelta(days=1)}T08:00", "rule": "FREQ=WEEKLY;BYDAY=TU"}
    body: dict[str, Any] = {"team": team, "minutes": 45, **series}
    spelled = body | {"rule": "BYDAY=TU;INTERVAL=1;FREQ=WEEKLY", "minutes": 30, "place": "Room 12"}
    for path, one, other, pointer, code in (
        ("meeting-series", body, spelled, "/rule", "meeting_series.exists"),
        ("meetings", _single(team), _single(team), "/starts_at", "meeting.exists"),
    ):
        answers = await asyncio.gather(asks.post(f"/v1/{path}", one), teacher.post(f"/v1/{path}", other))
        made, refused = sorted(answers, key=lambda answer: answer.status_code)
        assert (made.status_code, refused.status_code) == (201, 422), refused.text
        violations = [(each["pointer"], each["code"]) for each in refused.json()["violations"]]
        assert violations == [(pointer, code)]
        steps = {"code": path, "name": "Problem solving", "steps": [{"title": "What do we see?", "minutes": 5}]}
        await asks.post("/v1/protocols", steps)
        assert (await teacher.post(f"/v1/{path}", one | {"protocol": path})).status_code == 201
        ending = "end" if path == "meeting-series" else "cancel"
        await asks.post(f"/v1/{path}/{made.json()['id']}/{ending}", {} if ending == "end" else {"because": "Ill."})
        assert (await teacher.post(f"/v1/{path}", one)).status_code == 201
    assert len(await asks.items("/v1/meeting-series", team=team, state="active")) == 2


async def test_a_meeting_is_cancelled_once(app: FastAPI, north: Town) -> None:
    """If a meeting was cancelled already, a second cancellation is refused. The error states this."""
    asks = caller(app, north)
    team = named("team", (await team_of(north, "aide")).id)
    meeting = (await asks.post("/v1/meetings", _single(team))).json()
    body = {"because": "Half of the team is ill."}
    cancelled = await asks.post(f"/v1/meetings/{meeting['id']}/cancel", body)
    assert (cancelled.status_code, cancelled.json()["cancelled_because"]) == (200, "Half of the team is ill.")
    again = await asks.post(f"/v1/meetings/{meeting['id']}/cancel", body)
    assert (again.status_code, again.json()["code"]) == (409, "meeting.cancelled")
    events = [row["type"] for row in (await asks.get("/v1/events")).json()["items"]]
    assert [one for one in events if one.startswith("meeting.")] == ["meeting.scheduled", "meeting.cancelled"]


async def test_protocols_are_offered_by_version(app: FastAPI, north: Town) -> None:
    """A meeting keeps the protocol version with which it was scheduled, and a retired protocol cannot be chosen."""
    asks = caller(app, north)
    body = {"code": "ps", "name": "Problem solving", "steps": [{"title": "What do we see?", "minutes": 5}]}
    first = (await asks.post("/v1/protocols", body)).json()
    team = named("team", (await team_of(north, "aide")).id)
    meeting = (await asks.post("/v1/meetings", _single(team) | {"protocol": "ps"})).json()
    second = (await asks.post("/v1/protocols", body | {"name": "Solving"})).json()
    assert (first["number"], second["number"], meeting["protocol"]) == (1, 2, first["id"])
    assert (await asks.post(f"/v1/protocols/{second['id']}/retire", {})).status_code == 200
    refused = await asks.post("/v1/meetings", _single(team) | {"protocol": "ps"})
    assert refused.json()["violations"][0]["code"] == "protocol.unknown"


async def test_only_those_who_see_the_team_see_its_meetings(app: FastAPI, north: Town) -> None:
    """A team's meetings are seen by its members, its school and the district, and by no other teacher."""
    asks = caller(app, north)
    team = named("team", (await team_of(north, "teacher")).id)
    await asks.post("/v1/meetings", _single(team))
    for person, number in (("teacher", 1), ("other_teacher", 0)):
        principal = await as_person(north, person)
        assert await _count(north, principal) == number, person


def _single(team: str) -> dict[str, Any]:
    return {"team": team, "starts_at": f"{TODAY + timedelta(days=3)}T12:00:00Z", "minutes": 30}


async def _count(town: Town, principal: Any) -> int:
    @needs(Can.READ_MEETINGS)
    async def count(work: Work) -> int:
        query = text("SELECT count(*) FROM meeting WHERE district_id = :district")
        return int(await work.db.scalar(query, {"district": town.district_id}) or 0)

    async with town.unit(principal) as work:
        return await count(work)


async def _zone(town: Town) -> str:
    @needs(Can.READ_ROSTER)
    async def zone(work: Work) -> str:
        query = text("SELECT time_zone FROM district WHERE district_id = :district")
        return str(await work.db.scalar(query, {"district": town.district_id}))

    async with town.unit() as work:
        return await zone(work)
