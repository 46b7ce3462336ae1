"""Tests that notes are written, read under their own permission, and amended with their history."""

from json import dumps
from typing import Any

from fastapi import FastAPI

from tests.faces.graphql_face import query_data
from tests.faces.rest_town import CLIENT_SCOPES, Caller, caller
from tests.rooms.test_concerns_repeated import raised
from tests.town import Town

TEXT = "Reads fluently at home with her grandmother."


async def written(asks: Caller, about: str, **more: str) -> dict[str, Any]:
    """Writes a note, and returns it."""
    answer = await asks.post("/v1/notes", {"about": about, "text": TEXT, **more})
    assert answer.status_code == 201, answer.text
    note: dict[str, Any] = answer.json()
    return note


async def test_a_note_is_read_beside_its_concern_in_both_apis(app: FastAPI, north: Town) -> None:
    """A note about a concern is found from the concern, in the list of notes and in GraphQL."""
    asks = caller(app, north)
    concern, other = await raised(asks, north), await raised(asks, north, student="ben")
    note = await written(asks, concern["id"])
    await written(asks, other["id"])
    assert (note["about"], note["student"], note["version"]) == (concern["id"], concern["student"], 1)
    assert [one["id"] for one in await asks.items("/v1/notes", about=concern["id"])] == [note["id"]]
    document = f"{{ concern(id: {dumps(concern['id'])}) {{ notes {{ id text aboutId }} }} }}"
    shown = (await query_data(north, document))["concern"]["notes"]
    assert shown == [{"id": note["id"], "text": TEXT, "aboutId": concern["id"]}]


async def test_an_amended_note_keeps_its_earlier_text(app: FastAPI, north: Town) -> None:
    """An amended note keeps its earlier text, which can still be read, with the reason for the change."""
    asks = caller(app, north)
    note = await written(asks, (await raised(asks, north))["id"])
    changes = {"text": "Reads fluently at home with her grandfather.", "because": "It was the grandfather."}
    answer = await asks.post(f"/v1/notes/{note['id']}/amend", changes)
    assert (answer.json()["text"], answer.json()["version"]) == (changes["text"], 2)
    document = f"{{ note(id: {dumps(note['id'])}) {{ version changes {{ version text because }} }} }}"
    shown = (await query_data(north, document))["note"]
    assert shown == {"version": 2, "changes": [{"version": 1, "text": TEXT, "because": changes["because"]}]}


async def test_notes_need_a_permission_of_their_own(app: FastAPI, north: Town) -> None:
    """To read or write notes about concerns and supports, a caller needs permissions that only apply to notes."""
    asks = caller(app, north)
    concern = await raised(asks, north)
    note = await written(asks, concern["id"])
    reader = caller(app, north, CLIENT_SCOPES - {"note:read", "note:write"})
    for path in ("/v1/notes", f"/v1/notes/{note['id']}"):
        assert (await reader.get(path)).status_code == 403
    assert (await reader.post("/v1/notes", {"about": concern["id"], "text": TEXT})).status_code == 403


async def test_only_its_author_amends_a_note(app: FastAPI, north: Town) -> None:
    """Only its author can amend a note. Other people can write notes of their own."""
    teacher = caller(app, north, act_for="sis:sis:teacher-1")
    client = caller(app, north)
    concern = await raised(client, north)
    changes = {"text": "Something else.", "because": "I disagree."}
    of_teacher, of_client = await written(teacher, concern["id"]), await written(client, concern["id"])
    assert of_teacher["author"] is not None
    for asks, note in ((client, of_teacher), (teacher, of_client)):
        refused = await asks.post(f"/v1/notes/{note['id']}/amend", changes)
        assert (refused.status_code, refused.json()["code"]) == (403, "note.of_another"), refused.text
    assert (await teacher.post(f"/v1/notes/{of_teacher['id']}/amend", changes)).is_success


async def test_a_note_has_the_secured_area_of_its_concern(app: FastAPI, north: Town) -> None:
    """A note about a counselling concern cannot be read by callers who cannot read the concern."""
    asks = caller(app, north)
    note = await written(asks, (await raised(asks, north, area="sel"))["id"])
    without_area = caller(app, north, CLIENT_SCOPES - {"area:sel"})
    assert await without_area.items("/v1/notes") == []
    assert (await without_area.get(f"/v1/notes/{note['id']}")).status_code == 404


async def test_all_that_is_wrong_with_a_note_is_reported_at_once(app: FastAPI, north: Town) -> None:
    """All violations of a note are reported at once, so that nobody has to correct one field at a time."""
    asks = caller(app, north)
    student = (await raised(asks, north))["student"]
    answer = await asks.post("/v1/notes", {"about": student, "text": "", "team": "tea_01jq4n6d9zf3vbs0x5k2m7e8th"})
    assert answer.status_code == 422
    violations = {(one["pointer"], one["code"]) for one in answer.json()["violations"]}
    assert violations == {("/about", "note.about"), ("/text", "shape.string_too_short"), ("/team", "team.unknown")}


async def test_no_event_has_the_text_of_a_note(app: FastAPI, north: Town) -> None:
    """No event has the text of a note, because events are sent to webhooks."""
    asks = caller(app, north)
    note = await written(asks, (await raised(asks, north))["id"])
    await asks.post(f"/v1/notes/{note['id']}/amend", {"text": "Other words.", "because": "Wrong words."})
    feed = (await asks.get("/v1/events", limit=200)).text
    assert "note.written" in feed
    assert "note.amended" in feed
    assert [words for words in (TEXT, "Other words.", "Wrong words.") if words in feed] == []
