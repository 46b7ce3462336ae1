"""Tests that an agenda has the items that follow from the data, with reasons, and is stored, discussed and closed."""

import asyncio
from typing import Any

from fastapi import FastAPI
from sqlalchemy import text

from app.access.permission import Can
from app.access.work import Work, needs
from app.agenda.departures import follow_students
from app.core import ids
from app.core.clock import now, today_in
from app.evidence.service import NewScore
from app.response.service import record_scores
from app.roster.student_lock import lock_students
from tests.faces.graphql_face import query_data
from tests.faces.rest_town import CLIENT_SCOPES, Caller, caller
from tests.records.copies import rows_out_of_step
from tests.rooms.agenda_town import agenda_of, done, kinds, meeting_of, meeting_team, opened, raised
from tests.rooms.team_town import named
from tests.rooms.test_support_measures import followed
from tests.sis.roster_zip import ask
from tests.town import TIME_ZONE, Town


async def test_the_agenda_is_computed_before_the_meeting_and_says_why(app: FastAPI, north: Town) -> None:
    """One request reads what is on the next meeting's agenda and why. Nothing is stored for it."""
    asks = caller(app, north)
    team = await meeting_team(north)
    meeting = await meeting_of(asks, team)
    concern = await raised(asks, north, "amy")
    await raised(asks, north, "cy")
    agenda = await agenda_of(asks, team)
    assert agenda["meeting"]["id"] == meeting["id"]
    assert agenda["order"][0] == "unserved"
    (item,) = agenda["items"]
    assert (item["kind"], item["subject"], item["item"], item["state"]) == ("new_concern", concern, None, "open")
    assert item["reasons"] == [{"code": "new_concern", "records": [concern]}]
    assert item["rank"] == agenda["order"].index("new_concern") + 1
    assert await asks.items("/v1/agenda-items") == []
    document = f'{{ agenda(teamId: "{team}") {{ meetingId items {{ kind subjectId reasons {{ code }} }} hidden }} }}'
    assert (await query_data(north, document))["agenda"] == {
        "meetingId": meeting["id"],
        "items": [{"kind": "NEW_CONCERN", "subjectId": concern, "reasons": [{"code": "new_concern"}]}],
        "hidden": 0,
    }
    await done(asks, f"concerns/{concern}/dismiss", because="She is well.")
    assert (await agenda_of(asks, team))["items"] == [], "the reason is gone, and so is the item"


async def test_the_order_is_that_of_the_playbook(app: FastAPI, north: Town) -> None:
    """The playbook decides which kinds of items come first. The answer states the order, and an open meeting keeps
    it.
    """
    asks = caller(app, north)
    team = await meeting_team(north)
    await raised(asks, north, "amy")
    await done(asks, "agenda-items", team=team, text="Who calls the families?")
    assert kinds(await agenda_of(asks, team)) == ["new_concern", "own"]
    version = await done(asks, "agenda-order", kinds=["own"])
    assert version["agenda_order"] == ["own"]
    agenda = await agenda_of(asks, team)
    assert (kinds(agenda), agenda["order"][:2]) == (["own", "new_concern"], ["own", "unserved"])
    doubled = await asks.post("/v1/agenda-order", {"kinds": ["own", "own"]})
    assert (doubled.status_code, doubled.json()["violations"][0]["pointer"]) == (422, "/kinds/1")


async def test_a_meeting_is_opened_worked_through_and_closed(app: FastAPI, north: Town) -> None:
    """A meeting can be closed only after every item was discussed, dropped or carried.

    The closed meeting keeps its items with these outcomes. Carried items are on the next agenda.
    """
    asks = caller(app, north)
    team = await meeting_team(north)
    await raised(asks, north, "amy")
    await raised(asks, north, "ben")
    await done(asks, "agenda-items", team=team, text="Who calls the families?")
    meeting = await opened(asks, team)
    assert (meeting["state"], meeting["version"]) == ("open", 2)
    again = await asks.post(f"/v1/meetings/{meeting['id']}/open", {})
    assert (again.status_code, again.json()["code"]) == (409, "meeting.open")
    agenda = await agenda_of(asks, team)
    first, second, own = (item["item"] for item in agenda["items"])
    refused = await asks.post(f"/v1/meetings/{meeting['id']}/close", {})
    assert (refused.status_code, refused.json()["code"]) == (409, "meeting.unsettled")
    discussed = await done(asks, f"agenda-items/{first}/discuss", minutes="She reads at home.")
    assert (discussed["state"], discussed["minutes"]) == ("discussed", "She reads at home.")
    settled = await asks.post(f"/v1/agenda-items/{first}/drop", {"because": "No."})
    assert (settled.status_code, settled.json()["code"]) == (409, "agenda_item.settled")
    await done(asks, f"agenda-items/{second}/drop", because="He has moved.")
    await done(asks, f"agenda-items/{own}/carry")
    closed = await done(asks, f"meetings/{meeting['id']}/close")
    assert closed["state"] == "closed"
    twice = await asks.post(f"/v1/meetings/{meeting['id']}/close", {})
    assert (twice.status_code, twice.json()["code"]) == (409, "meeting.closed")
    kept = await agenda_of(asks, team, meeting=meeting["id"])
    assert [item["state"] for item in kept["items"]] == ["discussed", "dropped", "carried"]
    following = await agenda_of(asks, team)
    assert following["meeting"] is None
    assert [(item["kind"], item["times_carried"]) for item in following["items"]] == [("new_concern", 0), ("own", 1)]
    assert following["items"][0]["subject"] == agenda["items"][0]["subject"], "nobody has answered it"


async def test_what_is_left_open_can_be_carried_at_the_end(app: FastAPI, north: Town) -> None:
    """Items that are open when a meeting closes can be carried over, and the next agenda marks them as carried."""
    asks = caller(app, north)
    team = await meeting_team(north)
    await raised(asks, north, "amy")
    meeting = await opened(asks, team)
    await done(asks, f"meetings/{meeting['id']}/close", carry_rest=True)
    (item,) = (await agenda_of(asks, team))["items"]
    assert (item["kind"], item["times_carried"]) == ("new_concern", 1)


async def test_secured_items_are_counted_for_others(app: FastAPI, north: Town) -> None:
    """A person without access to a secured area sees only how many items the area has on the agenda.

    This holds before the meeting, during the meeting, and after it was closed.
    """
    asks, other = caller(app, north), caller(app, north, CLIENT_SCOPES - {"area:sel"})
    team = await meeting_team(north)
    await raised(asks, north, "amy", "sel")
    await raised(asks, north, "ben")
    assert (kinds(await agenda_of(asks, team)), (await agenda_of(asks, team))["hidden"]) == (["new_concern"] * 2, 0)
    assert [(kinds(one), one["hidden"]) for one in [await agenda_of(other, team)]] == [(["new_concern"], 1)]
    meeting = await opened(other, team)
    assert [(kinds(one), one["hidden"]) for one in [await agenda_of(other, team)]] == [(["new_concern"], 1)]
    assert len((await agenda_of(asks, team))["items"]) == 2, "it was stored for those who may see it"
    (seen,) = (await agenda_of(other, team))["items"]
    await done(other, f"agenda-items/{seen['item']}/discuss")
    refused = await other.post(f"/v1/meetings/{meeting['id']}/close", {})
    assert "1 of which you may not see" in refused.json()["detail"]
    hidden = next(one["item"] for one in (await agenda_of(asks, team))["items"] if one["state"] == "open")
    assert (await other.get(f"/v1/agenda-items/{hidden}")).status_code == 404
    await done(other, f"meetings/{meeting['id']}/close", carry_rest=True)
    closed = await agenda_of(other, team, meeting=meeting["id"])
    assert (kinds(closed), closed["hidden"]) == (["new_concern"], 1)


async def test_two_members_who_settle_one_item_at_once(app: FastAPI, north: Town) -> None:
    """If two members discuss and drop the same item at the same time, one of them succeeds.

    The other one gets a conflict that states what happened to the item.
    """
    asks = caller(app, north)
    team = await meeting_team(north)
    await raised(asks, north, "amy")
    await opened(asks, team)
    (item,) = (await agenda_of(asks, team))["items"]
    path = f"/v1/agenda-items/{item['item']}"
    answers = await asyncio.gather(
        asks.post(f"{path}/discuss", {"minutes": "A."}), asks.post(f"{path}/drop", {"because": "B."})
    )
    assert sorted(answer.status_code for answer in answers) == [200, 409]
    state = next(answer.json()["state"] for answer in answers if answer.status_code == 200)
    problem = next(answer.json() for answer in answers if answer.status_code == 409)
    assert (problem["code"], f"was {state} already" in problem["detail"]) == ("agenda_item.settled", True)


async def test_items_of_students_who_leave_are_on_no_agenda_until_they_return(app: FastAPI, north: Town) -> None:
    """When a student leaves the roster, the open items about the student are suspended and are on no agenda.

    When the student returns, the items are on the agenda again.
    """
    asks = caller(app, north)
    team = await meeting_team(north)
    await raised(asks, north, "amy")
    meeting = await opened(asks, team)
    own = await done(asks, "agenda-items", team=team, text="About her.", student=_student(north, "amy"))
    await _depart(north, "amy", left=True)
    assert (await agenda_of(asks, team))["items"] == []
    shown = (await asks.get(f"/v1/agenda-items/{own['id']}")).json()
    assert (shown["state"], shown["suspended_because"]) == ("suspended", "student_left")
    refused = await asks.post(f"/v1/agenda-items/{own['id']}/discuss", {})
    assert (refused.status_code, refused.json()["code"]) == (409, "agenda_item.suspended")
    await _depart(north, "amy", left=False)
    assert kinds(await agenda_of(asks, team)) == ["new_concern", "own"]
    await _depart(north, "amy", left=True)
    await done(asks, f"meetings/{meeting['id']}/close")
    assert (await agenda_of(asks, team))["items"] == []
    await _depart(north, "amy", left=False)
    assert kinds(await agenda_of(asks, team)) == ["new_concern", "own"], "both return for the next meeting"


async def test_a_suspended_item_follows_a_student_who_moves_while_its_meeting_closes(app: FastAPI, north: Town) -> None:
    """If a student moves while a meeting closes, the item about the student has the student's new schools."""
    asks = caller(app, north)
    meeting = await opened(asks, team := await meeting_team(north))
    await done(asks, "agenda-items", team=team, text="About her.", student=_student(north, "amy"))
    await _depart(north, "amy", left=True)

    @needs(Can.SYNC_ROSTER)
    async def move(work: Work) -> None:
        await lock_students(work, {north.students["amy"]})
        values: dict[str, Any] = {"district": north.district_id, "id": north.students["amy"], "to": [north.schools[1]]}
        for table, key in (("person", "id"), ("agenda_item", "student_id")):
            query = f"UPDATE {table} SET school_ids = :to WHERE district_id = :district AND {key} = :id"
            await work.db.execute(text(query), values)

    async with north.house() as work:
        await move(work)
        closing = asyncio.create_task(done(asks, f"meetings/{meeting['id']}/close"))
        while not closing.done():
            ((waits,),) = await ask(north, "SELECT count(*) FROM pg_locks WHERE NOT granted")
            if waits:
                break
            await asyncio.sleep(0.01)
    assert (await closing)["state"] == "closed"
    assert "agenda_item" not in await rows_out_of_step(north)


async def test_faults_say_what_is_wrong(app: FastAPI, north: Town) -> None:
    """Invalid commands on agendas and meetings are refused with an error that says what is wrong.

    The test adds an item about a student that the team does not serve, reads the agenda of another team's meeting,
    opens a second meeting, and names an unknown participant.
    """
    asks = caller(app, north)
    team, other = await meeting_team(north), await meeting_team(north)
    body = {"team": team, "text": "", "student": _student(north, "cy")}
    refused = (await asks.post("/v1/agenda-items", body)).json()
    assert {one["code"] for one in refused["violations"]} == {"shape.string_too_short", "agenda_item.not_of_team"}
    meeting = await opened(asks, team)
    wrong = await asks.get(f"/v1/teams/{other}/agenda", meeting=meeting["id"])
    assert (wrong.status_code, wrong.json()["violations"][0]["code"]) == (422, "meeting.unknown")
    second = await meeting_of(asks, team)
    busy = await asks.post(f"/v1/meetings/{second['id']}/open", {})
    assert (busy.status_code, busy.json()["code"]) == (409, "meeting.another_open")
    third = await meeting_of(asks, other)
    unknown = await asks.post(f"/v1/meetings/{third['id']}/open", {"present": [_student(north, "amy")]})
    assert (unknown.status_code, unknown.json()["violations"][0]["pointer"]) == (422, "/present/0")


def _student(town: Town, name: str) -> str:
    return ids.format_id("student", town.students[name])


async def _depart(town: Town, name: str, *, left: bool) -> None:
    """Makes a student leave the roster or return, and then updates the agenda items about the student."""

    @needs(Can.SYNC_ROSTER)
    async def change(work: Work) -> None:
        query = text("UPDATE person SET removed_at = :at WHERE district_id = :district AND id = :id")
        values: dict[str, Any] = {"at": now() if left else None, "district": town.district_id}
        await work.db.execute(query, values | {"id": town.students[name]})

    async with town.house() as work:
        await change(work)
        await follow_students(work)


async def test_an_own_item_in_a_secured_area_is_hidden(app: FastAPI, north: Town) -> None:
    """An item that a member adds about a child's counselling is hidden from those who may not see the secured area.

    If the item is carried to the next meeting, the item there is in the same area.
    """
    asks, other = caller(app, north), caller(app, north, CLIENT_SCOPES - {"area:sel"})
    team, amy = await meeting_team(north), named("student", north.students["amy"])
    body = {"team": team, "student": amy, "text": "What helps at home?", "area": "sel"}
    item = await done(asks, "agenda-items", **body)
    assert item["area"] == named("area", north.areas["sel"])
    assert (await other.get(f"/v1/agenda-items/{item['id']}")).status_code == 404
    assert [(kinds(one), one["hidden"]) for one in [await agenda_of(other, team)]] == [([], 1)]
    refused = await other.post("/v1/agenda-items", body)
    assert (refused.status_code, refused.json()["code"]) == (403, "area.secured")
    meeting = await opened(asks, team)
    await done(asks, f"agenda-items/{item['id']}/carry")
    await done(asks, f"meetings/{meeting['id']}/close")
    (carried,) = [one for one in await asks.items("/v1/agenda-items") if one["carried_from"] == item["id"]]
    assert carried["area"] == item["area"]
    assert await other.items("/v1/agenda-items") == []


async def test_a_check_of_each_measure_can_be_overdue(app: FastAPI, north: Town) -> None:
    """If several measures of a support have had no score for too long, the agenda has one item that lists them."""
    asks = caller(app, north)
    team = await meeting_team(north)
    support = ids.format_id("support", (await followed(north)).id)
    orf, maze = (ids.format_id("measure", north.measures[code]) for code in ("orf", "maze"))
    item = await _overdue_check(asks, team)
    assert (item["subject"], sorted(item["reasons"][0]["records"])) == (support, sorted([orf, maze]))
    async with north.unit() as work:
        student = ids.format_id("student", north.students["amy"])
        await record_scores(work, [NewScore(student, "orf", today_in(TIME_ZONE), 44.0)])
    assert (await _overdue_check(asks, team))["reasons"][0]["records"] == [maze]
    meeting = await opened(asks, team)
    stored = [each["kind"] for each in await asks.items("/v1/agenda-items", meeting=meeting["id"])]
    assert stored.count("check_overdue") == 1


async def _overdue_check(asks: Caller, team: str) -> dict[str, Any]:
    """Returns the only overdue check of a team's agenda."""
    (item,) = [each for each in (await agenda_of(asks, team))["items"] if each["kind"] == "check_overdue"]
    shown: dict[str, Any] = item
    return shown
