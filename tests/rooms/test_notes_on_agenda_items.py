"""Tests that notes on agenda items are written by those who see the item, and read by nobody else."""

from json import dumps
from typing import Any

from fastapi import FastAPI
from sqlalchemy import select

from app.access.permission import Can
from app.access.work import Work, needs
from app.note.models import NoteChange
from tests.faces.graphql_face import query_data
from tests.faces.rest_town import CLIENT_SCOPES, Caller, caller
from tests.rooms.agenda_town import done, meeting_team, opened
from tests.rooms.team_town import named, team_of
from tests.town import Town

TEXT = "Her grandmother would like to join the next meeting."
AMENDED = {"text": "Her grandfather would like to join.", "because": "It was the grandfather."}


async def added(asks: Caller, team: str, **more: str) -> str:
    """Adds an item to the agenda of a team, and returns its id."""
    return str((await done(asks, "agenda-items", team=team, text="Who calls the families?", **more))["id"])


async def note_at(asks: Caller, item: str) -> dict[str, Any]:
    """Writes a note about an agenda item, and returns it."""
    return await done(asks, f"agenda-items/{item}/notes", text=TEXT)


async def seen(asks: Caller, note: dict[str, Any]) -> bool:
    """Returns whether a caller can see a note, after checking that every way of reading it gives the same answer."""
    status = (await asks.get(f"/v1/notes/{note['id']}")).status_code
    assert status in (200, 404)
    since = "2020-01-01T00:00:00Z"
    for filters in ({}, {"about": note["about"]}, {"updated_since": since}):
        listed = [row["id"] for row in await asks.items("/v1/notes", **filters)]
        assert (note["id"] in listed) == (status == 200), filters
    return status == 200


async def test_a_note_on_an_item_about_a_student_is_the_students(app: FastAPI, north: Town) -> None:
    """A note on an item about a student is found from the item, from the student, and in the list of notes."""
    asks = caller(app, north)
    team, student = await meeting_team(north), named("student", north.students["amy"])
    item, other = await added(asks, team, student=student), await added(asks, team)
    note = await note_at(asks, item)
    assert (note["about"], note["student"], note["team"], note["version"]) == (item, student, team, 1)
    await note_at(asks, other)
    assert [row["id"] for row in await asks.items("/v1/notes", about=item)] == [note["id"]]
    assert [row["id"] for row in await asks.items("/v1/notes", student=student)] == [note["id"]]
    document = (
        f"{{ node(id: {dumps(item)}) {{ ... on AgendaItem {{ notes {{ id text aboutId student {{ id }} }} }} }}"
        f" student(id: {dumps(student)}) {{ notes {{ id }} }} }}"
    )
    shown = await query_data(north, document)
    assert shown["node"]["notes"] == [{"id": note["id"], "text": TEXT, "aboutId": item, "student": {"id": student}}]
    assert shown["student"]["notes"] == [{"id": note["id"]}]


async def test_a_note_about_no_student_is_seen_by_those_who_see_the_team(app: FastAPI, north: Town) -> None:
    """A note about a core stall (a grade that fell behind) is about no student.

    It can be read by those who see the team, its school or the district.
    """
    asks = caller(app, north)
    note = await note_at(asks, await added(asks, await meeting_team(north, "teacher")))
    assert note["student"] is None
    assert await seen(asks, note)
    assert await seen(caller(app, north, schools=(north.schools[0],)), note)
    assert await seen(caller(app, north, act_for="sis:sis:teacher-1"), note)
    assert await seen(caller(app, north, act_for="sis:sis:administrator-1"), note)
    assert not await seen(caller(app, north, schools=(north.schools[1],)), note)
    assert not await seen(caller(app, north, act_for="sis:sis:other_teacher-1"), note)


async def test_a_member_from_another_school_lists_the_notes_of_the_team(app: FastAPI, north: Town) -> None:
    """An administrator of another school who is a member of a team can list the notes of the team."""
    asks = caller(app, north)
    team = await team_of(north, "administrator", school=1)
    note = await note_at(asks, await added(asks, named("team", team.id)))
    assert await seen(caller(app, north, act_for="sis:sis:administrator-1"), note)
    assert not await seen(caller(app, north, schools=(north.schools[0],)), note)


async def test_a_students_teacher_does_not_read_notes_of_another_team(app: FastAPI, north: Town) -> None:
    """A note of a team about a student cannot be read by the student's teacher, who is not in the team."""
    asks = caller(app, north)
    student = named("student", north.students["amy"])
    item = await added(asks, await meeting_team(north, "administrator"), student=student)
    note = await note_at(asks, item)
    teacher = caller(app, north, act_for="sis:sis:teacher-1")
    assert not await seen(teacher, note)
    refused = await teacher.post(f"/v1/agenda-items/{item}/notes", {"text": TEXT})
    assert refused.status_code == 404
    assert await seen(caller(app, north, act_for="sis:sis:administrator-1"), note)


async def test_a_note_has_the_secured_area_of_its_item(app: FastAPI, north: Town) -> None:
    """A note on an item about counselling can be read only by those who can see the item.

    This holds for items about a student and for items about no student.
    """
    asks, without_area = caller(app, north), caller(app, north, CLIENT_SCOPES - {"area:sel"})
    team = await meeting_team(north)
    for about in ({}, {"student": named("student", north.students["amy"])}):
        note = await note_at(asks, await added(asks, team, area="sel", **about))
        assert await seen(asks, note)
        assert not await seen(without_area, note)


async def test_earlier_texts_have_the_reach_of_the_note(app: FastAPI, north: Town) -> None:
    """The earlier texts of an amended note can be read only by those who may read the note."""
    asks = caller(app, north)
    note = await note_at(asks, await added(asks, await meeting_team(north)))
    amended = await done(asks, f"notes/{note['id']}/amend", **AMENDED)
    assert (amended["text"], amended["version"], amended["student"]) == (AMENDED["text"], 2, None)
    document = f"{{ note(id: {dumps(note['id'])}) {{ changes {{ version text because }} }} }}"
    changes = (await query_data(north, document))["note"]["changes"]
    assert changes == [{"version": 1, "text": TEXT, "because": AMENDED["because"]}]

    @needs(Can.READ_NOTES)
    async def earlier_texts(work: Work) -> list[str]:
        query = select(NoteChange.text).where(NoteChange.district_id == work.district_id)
        return list(await work.db.scalars(query))

    for schools, texts in (((north.schools[0],), [TEXT]), ((north.schools[1],), [])):
        async with north.unit(north.client(schools=schools)) as work:
            assert await earlier_texts(work) == texts


async def test_a_settled_item_of_a_closed_meeting_still_gets_notes(app: FastAPI, north: Town) -> None:
    """After a meeting was closed, notes can still be written on its items. The minutes stay as they were."""
    asks = caller(app, north)
    team = await meeting_team(north)
    item = await added(asks, team)
    meeting = await opened(asks, team)
    early = await note_at(asks, item)
    await done(asks, f"agenda-items/{item}/discuss", minutes="The office calls them.")
    await done(asks, f"meetings/{meeting['id']}/close")
    await done(asks, f"notes/{early['id']}/amend", **AMENDED)
    await note_at(asks, item)
    assert [row["version"] for row in await asks.items("/v1/notes", about=item)] == [2, 1]
    shown = (await asks.get(f"/v1/agenda-items/{item}")).json()
    assert (shown["minutes"], shown["version"]) == ("The office calls them.", 3)


async def test_events_name_the_team_and_have_no_text(app: FastAPI, north: Town) -> None:
    """An event about a note on an agenda item names the note and the team, and contains none of the note's text."""
    asks = caller(app, north)
    team = await meeting_team(north)
    note = await note_at(asks, await added(asks, team))
    await done(asks, f"notes/{note['id']}/amend", **AMENDED)
    feed = await asks.get("/v1/events", limit=200)
    events = [event for event in feed.json()["items"] if event["type"].startswith("agenda_note.")]
    assert [event["type"] for event in events] == ["agenda_note.written", "agenda_note.amended"]
    assert {(event["data"]["note"], event["data"]["team"]) for event in events} == {(note["id"], team)}
    assert [words for words in (TEXT, *AMENDED.values()) if words in feed.text] == []


async def test_events_about_a_student_and_a_secured_area_have_their_reach(app: FastAPI, north: Town) -> None:
    """An event about a note on a child is shown only to those who may see the child and the secured area."""
    asks = caller(app, north)
    about = {"student": named("student", north.students["amy"]), "area": "sel"}
    note = await note_at(asks, await added(asks, await meeting_team(north), **about))
    assert note["id"] in (await asks.get("/v1/events", limit=200)).text
    for other in (caller(app, north, schools=(north.schools[1],)), caller(app, north, CLIENT_SCOPES - {"area:sel"})):
        assert note["id"] not in (await other.get("/v1/events", limit=200)).text


async def test_a_note_on_an_item_needs_both_permissions(app: FastAPI, north: Town) -> None:
    """A note on an agenda item needs two permissions: to write notes, and to run meetings."""
    item = await added(caller(app, north), await meeting_team(north))
    for scope in ("note:write", "meeting:run"):
        asks = caller(app, north, CLIENT_SCOPES - {scope})
        assert (await asks.post(f"/v1/agenda-items/{item}/notes", {"text": TEXT})).status_code == 403
    refused = await caller(app, north).post(f"/v1/agenda-items/{item}/notes", {"text": ""})
    assert [one["pointer"] for one in refused.json()["violations"]] == ["/text"]
    misplaced = await caller(app, north).post("/v1/notes", {"about": item, "text": TEXT})
    assert [one["code"] for one in misplaced.json()["violations"]] == ["note.about"]
