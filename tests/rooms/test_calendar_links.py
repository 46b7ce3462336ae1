"""Tests that a calendar link shows a team's meetings to a calendar program until it expires, and shows nothing else."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import httpx
import pytest
import vobject
from fastapi import FastAPI
from icalendar import Calendar, Event
from prometheus_client import generate_latest
from sqlalchemy import text
from structlog.testing import capture_logs

from app.access.permission import Can
from app.access.service import NewClient, grant_client, revoke_client
from app.access.work import Work, needs
from app.calendar.service import revoke_links_of_client, revoke_links_of_departed
from app.core import ids
from app.core.clock import today_in
from app.core.ids import new_id
from app.core.metrics import REGISTRY
from app.response.administration.breaks import declare_break
from app.roster.breaks import NewBreak
from tests.faces.rest_town import CLIENT_SCOPES, Caller, caller, plain
from tests.rooms.team_town import named, team_of
from tests.town import TIME_ZONE, Town

TODAY = today_in(TIME_ZONE)
ZONE = ZoneInfo("America/Chicago")
PLACE, REASON = "Room of Ms. Whitfield", "Luis has moved away"
MORE_WEEKS = """
INSERT INTO school_week (district_id, school_id, monday, instructional, n)
SELECT district_id, school_id, monday + 7 * x.n, true, school_week.n + x.n
FROM school_week, generate_series(1, 45) AS x (n)
WHERE district_id = :district AND school_id = :school AND school_week.n = 40
ON CONFLICT DO NOTHING
"""


@needs(Can.OPERATE)
async def _insert_client(work: Work, client_id: UUID) -> None:
    statement = "INSERT INTO client VALUES (:client, 'front end', now()) ON CONFLICT DO NOTHING"
    await work.db.execute(text(statement), {"client": client_id})


async def client_of(app: FastAPI, town: Town, **more: Any) -> Caller:
    """Returns the district's client with a grant that is stored in the database, as a calendar link requires."""
    async with town.house() as work:
        await _insert_client(work, town.client_id)
        await grant_client(work, town.client_id, NewClient("front end", tuple(CLIENT_SCOPES)))
    return caller(app, town, **more)


async def link_of(asks: Caller, **body: Any) -> dict[str, Any]:
    """Creates a calendar link."""
    answer = await asks.post("/v1/calendar-links", body)
    assert answer.status_code == 201, answer.text
    shown: dict[str, Any] = answer.json()
    return shown


async def open_link(app: FastAPI, url: str, tag: str | None = None) -> httpx.Response:
    """Opens a calendar as a calendar program does: with the address only."""
    async with plain(app) as program:
        return await program.get(httpx.URL(url).path, headers={} if tag is None else {"If-None-Match": tag})


def events_of(answer: httpx.Response) -> list[Any]:
    """Returns the events of a calendar response, after checking that two parsers read the same events."""
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "text/calendar; charset=utf-8"
    events = [event for event in Calendar.from_ical(answer.content).walk("VEVENT") if isinstance(event, Event)]
    others = getattr(vobject.readOne(answer.text), "vevent_list", [])
    assert [(str(event["UID"]), event.start, event.end) for event in events] == [
        (event.uid.value, event.dtstart.value, event.dtend.value) for event in others
    ]
    return events


async def schedule(asks: Caller, team: str, days: int = 7) -> dict[str, Any]:
    """Schedules a meeting `days` days from now, and returns it."""
    at = datetime.now(UTC).replace(microsecond=0) + timedelta(days=days)
    body = {"team": team, "starts_at": at.isoformat(), "minutes": 45, "place": PLACE}
    answer = await asks.post("/v1/meetings", body)
    assert answer.status_code == 201, answer.text
    shown: dict[str, Any] = answer.json()
    return shown


async def test_a_calendar_has_the_meetings_and_no_typed_text(app: FastAPI, north: Town) -> None:
    """A calendar file contains the meetings, but no names of people and no text that people wrote.

    A calendar link needs no token, so everybody who has the link can read the file.
    """
    asks = await client_of(app, north)
    team = await team_of(north, "aide")
    name = named("team", team.id)
    kept, cancelled = await schedule(asks, name), await schedule(asks, name, days=8)
    answer = await asks.post(f"/v1/meetings/{cancelled['id']}/cancel", {"because": REASON})
    assert answer.status_code == 200
    answer = await open_link(app, (await link_of(asks, team=name))["url"])
    events = {str(event["UID"]): event for event in events_of(answer)}
    assert {uid: str(event["STATUS"]) for uid, event in events.items()} == {
        kept["id"]: "CONFIRMED",
        cancelled["id"]: "CANCELLED",
    }
    event = events[kept["id"]]
    assert str(event["SUMMARY"]) == "Grade team meeting"
    assert (event.start, event.duration) == (datetime.fromisoformat(kept["starts_at"]), timedelta(minutes=45))
    assert (int(events[cancelled["id"]]["SEQUENCE"]), int(event["SEQUENCE"])) == (2, 1)
    assert [text for text in (PLACE, REASON, team.name, name) if text in answer.text] == []


async def test_a_series_keeps_its_local_time_and_its_uids(app: FastAPI, north: Town) -> None:
    """The meetings of a weekly series keep their local time and their calendar ids, also when the clocks change.

    The calendar also lists meetings that are not stored yet, with the ids that they will have.
    """
    asks = await client_of(app, north)
    team = named("team", (await team_of(north, "aide")).id)
    await _go_to_school_for_a_year(north)
    begins = TODAY + timedelta(days=1)
    body = {"team": team, "begins_at": f"{begins}T08:00", "rule": "FREQ=WEEKLY", "minutes": 45}
    series = (await asks.post("/v1/meeting-series", body)).json()
    url = (await link_of(asks, team=team))["url"]
    events = events_of(await open_link(app, url))
    assert {f"{event.start.astimezone(ZONE):%a %H:%M}" for event in events} == {f"{begins:%a} 08:00"}
    assert len({event.start.hour for event in events}) == 2, "the clocks change within a year"
    assert len(events) in (57, 58), "one a week for 400 days"
    uids = [str(event["UID"]) for event in events]
    assert uids == [f"{series['id']}-{event.start.astimezone(ZONE):%Y%m%d}" for event in events]
    assert {int(event["SEQUENCE"]) for event in events} == {0, 1}, "some are stored, and some are not yet"
    far = events[40].start.astimezone(ZONE).date()
    async with north.unit() as work:
        await declare_break(work, NewBreak(far, far))
    assert [str(event["UID"]) for event in events_of(await open_link(app, url))] == [*uids[:40], *uids[41:]]


async def test_a_link_of_a_person_opens_the_own_teams_while_the_person_is_there(app: FastAPI, north: Town) -> None:
    """A person's calendar link shows the person's own teams only.

    After the person has left the roster, the link's address answers 404. The link is then revoked with an event.
    """
    service = await client_of(app, north)
    team, other = await team_of(north, "teacher"), await team_of(north, "other_teacher")
    asks = caller(app, north, act_for="sis:sis:teacher-1")
    refused = await asks.post("/v1/calendar-links", {"team": named("team", other.id)})
    assert refused.json()["violations"][0]["code"] == "team.unknown"
    mine = await schedule(service, named("team", team.id))
    await schedule(service, named("team", other.id))
    link = await link_of(asks)
    assert [str(event["UID"]) for event in events_of(await open_link(app, link["url"]))] == [mine["id"]]
    assert [row["id"] for row in await asks.items("/v1/calendar-links")] == [link["id"]]
    stranger = caller(app, north, act_for="sis:sis:other_teacher-1")
    assert await stranger.items("/v1/calendar-links") == []
    assert (await stranger.post(f"/v1/calendar-links/{link['id']}/revoke", {})).status_code == 404
    async with north.house() as work:
        await _write(work, "UPDATE person SET removed_at = now() WHERE district_id = :district AND role = 'teacher'")
    assert (await open_link(app, link["url"])).status_code == 404
    async with north.house() as work:
        assert await revoke_links_of_departed(work) == 1
        assert await revoke_links_of_departed(work) == 0
    (row,) = await service.items("/v1/calendar-links", revoked="true")
    assert row["revoked_because"] == "person_left"
    types = [event["type"] for event in (await service.get("/v1/events")).json()["items"]]
    assert [type_ for type_ in types if type_.startswith("calendar_link.")] == [
        "calendar_link.created",
        "calendar_link.revoked",
    ]


async def test_a_link_that_opens_nothing_looks_like_one_that_never_was(app: FastAPI, north: Town, south: Town) -> None:
    """A revoked, expired or foreign calendar link gets the same answer as one that never existed.

    So nobody can find out by trial which links exist.
    """
    asks = await client_of(app, north)
    team = named("team", (await team_of(north, "aide")).id)
    links = {name: await link_of(asks, team=team) for name in ("revoked", "expired", "open", "of client")}
    assert (await asks.post(f"/v1/calendar-links/{links['revoked']['id']}/revoke", {})).status_code == 200
    again = await asks.post(f"/v1/calendar-links/{links['revoked']['id']}/revoke", {})
    assert (again.status_code, again.json()["code"]) == (409, "calendar_link.revoked")
    async with north.house() as work:
        link_id = ids.parse_id("calendar_link", links["expired"]["id"])
        query = "UPDATE calendar_link SET until_on = created_on WHERE district_id = :district AND id = :link"
        await _write(work, query, link=link_id)
    opened = links["open"]["url"]
    assert (await open_link(app, opened)).status_code == 200
    in_south = opened.replace(
        ids.format_id("district", north.district_id)[4:], ids.format_id("district", south.district_id)[4:]
    )
    urls = [links["revoked"]["url"], links["expired"]["url"], in_south, f"{opened[:-8]}AAAA.ics", "/calendar/x.ics"]
    answers = [await open_link(app, url) for url in urls]
    async with north.house() as work:
        await revoke_client(work, north.client_id)
    answers.append(await open_link(app, links["of client"]["url"]))
    shown = [(answer.status_code, answer.json() | {"trace_id": ""}) for answer in answers]
    assert shown == [shown[0]] * len(urls) + [shown[0]]
    assert (shown[0][0], shown[0][1]["code"]) == (404, "not_found")
    async with north.house() as work:
        await grant_client(work, north.client_id, NewClient("front end", tuple(CLIENT_SCOPES)))
        assert await revoke_links_of_client(work, north.client_id) == 3
    assert (await open_link(app, opened)).status_code == 404


async def test_a_client_without_the_scope_opens_nothing_more(app: FastAPI, north: Town) -> None:
    """A calendar link shows only what its client may read now, even if the client could read more before."""
    asks = await client_of(app, north)
    url = (await link_of(asks, team=named("team", (await team_of(north, "aide")).id)))["url"]
    assert (await open_link(app, url)).status_code == 200
    for granted in (
        NewClient("front end", ("roster:read",)),
        NewClient("front end", tuple(CLIENT_SCOPES), (new_id(),)),
    ):
        async with north.house() as work:
            await grant_client(work, north.client_id, granted)
        assert (await open_link(app, url)).status_code == 404


async def test_a_calendar_is_read_again_only_if_it_changed(app: FastAPI, north: Town) -> None:
    """A calendar that has not changed is not sent again to calendar programs, and shared caches do not store it."""
    asks = await client_of(app, north)
    team = named("team", (await team_of(north, "aide")).id)
    url = (await link_of(asks, team=team))["url"]
    first = await open_link(app, url)
    assert (first.headers["cache-control"], events_of(first)) == ("private, no-cache", [])
    assert "ratelimit" in first.headers
    same = await open_link(app, url, first.headers["etag"])
    assert (same.status_code, same.content, same.headers["etag"]) == (304, b"", first.headers["etag"])
    await schedule(asks, team)
    changed = await open_link(app, url, first.headers["etag"])
    assert (changed.status_code, len(events_of(changed))) == (200, 1)


async def test_no_log_and_no_metric_has_the_secret(
    app: FastAPI, north: Town, capsys: pytest.CaptureFixture[str]
) -> None:
    """Logs and metrics name the route of a calendar link, and not its path, which has the secret."""
    asks = await client_of(app, north)
    link = await link_of(asks, team=named("team", (await team_of(north, "aide")).id))
    unknown = f"{link['secret'][:-4]}AAAA"
    with capture_logs() as logged:
        assert (await open_link(app, link["url"])).status_code == 200
        assert (await open_link(app, f"/calendar/{unknown}.ics")).status_code == 404
        assert (await asks.ask("PUT", f"/calendar/{unknown}.ics")).status_code == 405
    written = f"{logged} {capsys.readouterr()} {generate_latest(REGISTRY).decode()}"
    assert "/calendar/{secret}.ics" in written
    assert link["secret"][27:50] not in written
    assert link["secret"] not in str([(await asks.get(path)).text for path in ("/v1/calendar-links", "/v1/events")])
    async with north.house() as work:
        query = text("SELECT to_jsonb(calendar_link)::text FROM calendar_link WHERE district_id = :district")
        assert link["secret"][27:] not in str(await _read(work, query))


async def test_a_link_names_a_team_or_a_person_and_a_last_day_ahead(app: FastAPI, north: Town) -> None:
    """All mistakes in a new calendar link are reported at once, each with its pointer."""
    asks = await client_of(app, north)
    answer = await asks.post("/v1/calendar-links", {"until_on": f"{TODAY - timedelta(days=2)}"})
    assert {(each["pointer"], each["code"]) for each in answer.json()["violations"]} == {
        ("/team", "calendar_link.no_person"),
        ("/until_on", "calendar_link.until_on"),
    }


async def test_graphql_has_the_links_as_well(app: FastAPI, north: Town) -> None:
    """GraphQL shows, creates and revokes the same calendar links as REST."""
    asks = caller(app, north)

    async def query_data(query: str) -> dict[str, Any]:
        answer = (await asks.post("/graphql", {"query": query})).json()
        assert "errors" not in answer, answer
        data: dict[str, Any] = answer["data"]
        return data

    team = named("team", (await team_of(north, "aide")).id)
    created = await query_data(
        f'mutation {{ createCalendarLink(input: {{team: "{team}"}}) {{ secret url calendarLink {{ id teamId }} }} }}',
    )
    shown = created["createCalendarLink"]
    assert shown["url"].endswith(f"/calendar/{shown['secret']}.ics")
    link = shown["calendarLink"]
    listed = await query_data("{ calendarLinks { edges { node { id teamId revokedAt } } } }")
    assert listed["calendarLinks"]["edges"] == [{"node": link | {"revokedAt": None}}]
    revoked = await query_data(
        f'mutation {{ revokeCalendarLink(input: {{calendarLinkId: "{link["id"]}"}}) '
        "{ calendarLink { revokedBecause } } }"
    )
    assert revoked["revokeCalendarLink"]["calendarLink"] == {"revokedBecause": "REQUESTED"}


@needs(Can.OPERATE)
async def _write(work: Work, statement: str, /, **values: Any) -> None:
    await work.db.execute(text(statement), {"district": work.district_id} | values)


@needs(Can.OPERATE)
async def _read(work: Work, query: Any) -> Any:
    return (await work.db.execute(query, {"district": work.district_id})).all()


async def _go_to_school_for_a_year(town: Town) -> None:
    """Adds weeks of instruction, so that the following year has no summer break."""
    async with town.house() as work:
        for school in town.schools:
            await _write(work, MORE_WEEKS, school=school)
