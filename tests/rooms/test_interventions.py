"""Tests that the intervention library is versioned, that supports cite it, and that adherence is shown."""

import csv
import io
from datetime import timedelta
from typing import Any

from fastapi import FastAPI

from app.core.csv_file import BOM
from app.core.ids import format_id
from app.intervention.rules import MAX_ENTRIES
from tests.faces.graphql_face import query_data
from tests.faces.rest_town import Caller, caller
from tests.rooms.test_concerns_unserved import TODAY, accepted, planned
from tests.rooms.test_hypotheses import scored
from tests.sis.roster_zip import ask
from tests.town import Town

ENTRY: dict[str, Any] = {
    "code": "repeated-reading",
    "name": "Repeated reading with feedback",
    "areas": ["ela.fluency"],
    "levels": [2, 3],
    "minutes_per_session": 20,
    "sessions_per_week": 4,
    "group_from": 1,
    "group_to": 4,
    "materials": "Passages of 100 to 150 words.",
    "steps": ["Read the passage aloud.", "Read it again."],
    "checklist": ["Read twice.", "Errors were corrected.", "The words were counted.", "The chart was filled in."],
    "entry_criteria": "Accurate and slow readers.",
    "exit_criteria": "At the benchmark of two windows.",
    "evidence_note": "A meta-analysis.",
    "languages": ["en", "es-MX"],
}


async def drafted(asks: Caller, *entries: dict[str, Any]) -> list[dict[str, Any]]:
    """Sends entries of the intervention library as drafts, and returns the results."""
    answer = await asks.post("/v1/interventions", {"interventions": list(entries)})
    assert answer.status_code == 200, answer.text
    results: list[dict[str, Any]] = answer.json()["results"]
    return results


async def published(asks: Caller, **changes: Any) -> dict[str, Any]:
    """Creates a draft of an entry of the intervention library, publishes it, and returns the published entry."""
    (result,) = await drafted(asks, ENTRY | changes)
    answer = await asks.post(f"/v1/interventions/{result['intervention']['id']}/publish", {})
    assert answer.status_code == 200, answer.text
    shown: dict[str, Any] = answer.json()
    return shown


async def test_a_published_version_never_changes(app: FastAPI, north: Town) -> None:
    """A change of a published entry is first a draft. When the draft is published, it becomes the next version.

    The earlier version stays the same and is retired.
    """
    asks = caller(app, north)
    first = await published(asks)
    (again,) = await drafted(asks, ENTRY)
    assert (again["outcome"], again["intervention"]["id"]) == ("unchanged", first["id"])
    (draft,) = await drafted(asks, ENTRY | {"minutes_per_session": 30})
    assert (draft["outcome"], draft["intervention"]["number"]) == ("recorded", 2)
    (amended,) = await drafted(asks, ENTRY | {"minutes_per_session": 25})
    assert (amended["outcome"], amended["intervention"]["id"]) == ("amended", draft["intervention"]["id"])
    assert (await asks.get(f"/v1/interventions/{first['id']}")).json() == first
    second = await published(asks, minutes_per_session=25)
    versions = await asks.items("/v1/interventions", code="repeated-reading")
    assert [(one["number"], one["state"]) for one in versions] == [(1, "retired"), (2, "published")]
    assert second["minutes_per_session"] == 25
    refused = await asks.post(f"/v1/interventions/{first['id']}/publish", {})
    assert (refused.status_code, refused.json()["code"]) == (409, "intervention.state")
    events = (await asks.get("/v1/events", type="intervention.published")).json()["items"]
    assert [event["data"]["subject"] for event in events] == [first["id"], second["id"]]


async def test_an_import_reports_every_violation_at_once(app: FastAPI, north: Town) -> None:
    """All violations of an import of library entries are returned at once, each with the path to its entry."""
    asks = caller(app, north)
    bad = {
        **{"code": "Bad Code", "areas": ["ela", "nowhere"], "levels": [2, 9], "minutes_per_session": 0},
        **{"group_from": 5, "group_to": 4, "languages": ["english!"], "steps": ["Read.", "Read."]},
    }
    one, other = await drafted(asks, ENTRY | bad, ENTRY)
    assert other["outcome"] == "recorded"
    at = "/interventions/0"
    assert {(each["pointer"], each["code"]) for each in one["violations"]} == {
        (f"{at}/code", "intervention.code"),
        (f"{at}/areas/1", "area.unknown"),
        (f"{at}/levels/1", "level.unknown"),
        (f"{at}/minutes_per_session", "intervention.range"),
        (f"{at}/group_to", "intervention.group_size"),
        (f"{at}/languages/0", "intervention.language"),
        (f"{at}/steps/1", "intervention.doubled"),
    }


async def test_a_support_cites_a_version_or_has_free_words(app: FastAPI, north: Town) -> None:
    """A support cites a version of the library's entry or has free text. Both can be read after the library has
    changed.
    """
    asks = caller(app, north)
    entry, concern = await published(asks), await accepted(asks, north)
    support = await planned(asks, concern, intervention=None, library_entry="repeated-reading")
    await published(asks, minutes_per_session=30)
    document = (
        f'{{ support(id: "{support}") {{ intervention libraryEntry {{ id number }} phases {{ intervention }} }} }}'
    )
    shown = (await query_data(north, document))["support"]
    assert shown["libraryEntry"] == {"id": entry["id"], "number": 1}
    assert shown["intervention"] == shown["phases"][0]["intervention"] == ENTRY["name"]
    for body, code in (
        ({"intervention": None}, "support.intervention_missing"),
        ({"library_entry": entry["id"]}, "intervention.unknown"),
        ({"library_entry": "nothing"}, "intervention.unknown"),
    ):
        plan = {"student": concern["student"], "intervention": "Reading", "level": 2, "measure": "orf", "goal": 70.0}
        more = {"starts_on": str(TODAY), "goal_on": str(TODAY + timedelta(weeks=20)), "baseline": 40.0}
        refused = await asks.post(
            "/v1/supports",
            plan | more | {"minutes_per_session": 30, "sessions_per_week": 3, "confirm_rate": True} | body,
        )
        assert refused.status_code == 422, refused.text
        assert [each["code"] for each in refused.json()["violations"]] == [code]


async def test_an_entry_of_the_library_is_a_stronger_programme_at_the_same_level(app: FastAPI, north: Town) -> None:
    """A decision to intensify that names only an entry of the library changes the programme and keeps the level.

    It may also state the present level, and is possible at the highest level. If the entry is unknown, nothing else
    about the decision is refused.
    """
    asks = caller(app, north)
    await published(asks)
    await published(asks, code="phonics", name="Phonics, one to one")
    begins_on = TODAY - timedelta(weeks=3)
    for level, stated in ((2, {}), (2, {"level": 2}), (3, {})):
        support = await planned(asks, await accepted(asks, north), starts_on=str(begins_on), level=level)
        change = {"because": "Too slow.", "confirm_rate": True, "library_entry": "phonics", **stated}
        decided = await asks.post("/v1/decisions", {"kind": "intensify", "support": support, "change": change})
        assert decided.status_code == 201, decided.text
        first, second = (await asks.get(f"/v1/supports/{support}")).json()["phases"]
        assert (second["changes"], second["level"]) == (["stronger_programme"], first["level"])
        assert (second["verb"], second["intervention"]) == ("intensify", "Phonics, one to one")
        assert second["library_entry"] is not None
    support = await planned(asks, await accepted(asks, north), starts_on=str(begins_on), level=3)
    change = {"because": "Too slow.", "confirm_rate": True, "library_entry": "nothing"}
    unknown = {"kind": "intensify", "support": support, "change": change}
    refused = await asks.post("/v1/decisions", unknown)
    assert [(each["pointer"], each["code"]) for each in refused.json()["violations"]] == [
        ("/change/library_entry", "intervention.unknown")
    ]


async def test_adherence_is_shown_beside_dosage(app: FastAPI, north: Town) -> None:
    """A support shows its adherence to the intervention's checklist together with its dosage."""
    asks = caller(app, north)
    await published(asks)
    concern = await accepted(asks, north)
    begins = TODAY - timedelta(weeks=6)
    support = await planned(asks, concern, intervention=None, library_entry="repeated-reading", starts_on=str(begins))
    sessions = [
        {"held_on": str(begins + timedelta(days=7 * week)), "attended": True, "done_parts": parts}
        for week, parts in enumerate(([1, 2, 3, 4], [1], [], [2, 1]))
    ]
    unchecked = {"held_on": str(begins + timedelta(days=1)), "attended": True}
    lost = {"held_on": str(begins + timedelta(days=2)), "attended": False, "lost_because": "absent", "done_parts": []}
    answer = await asks.post(f"/v1/supports/{support}/sessions", {"sessions": [*sessions, unchecked, lost]})
    assert answer.is_success, answer.text
    assert {one["outcome"] for one in answer.json()["results"]} == {"recorded"}, answer.text
    again = await asks.post(f"/v1/supports/{support}/sessions", {"sessions": [{**sessions[0], "done_parts": None}]})
    assert again.json()["results"][0]["session"]["done_parts"] == [1, 2, 3, 4]
    shown = await query_data(north, f'{{ support(id: "{support}") {{ dosage {{ checkedSessions adherence }} }} }}')
    assert shown["support"]["dosage"] == {"checkedSessions": 4, "adherence": 7 / 16}
    dosage = (await asks.get(f"/v1/supports/{support}/dosage")).json()
    assert (dosage["checked_sessions"], dosage["adherence"]) == (4, 7 / 16)
    assert sum(week["checked_sessions"] for week in dosage["weeks"]) == 4
    await scored(asks, concern["student"], 40.0, 41.0, 42.0, 43.0)
    verdict = (await asks.get(f"/v1/supports/{support}/verdict")).json()
    reasons = {reason["code"]: reason["values"] for reason in verdict["because"]}
    assert reasons["not_as_designed"] == {"sessions": 4, "share": 0.44}
    assert "44 % of it was delivered as designed" in verdict["sentence"]


async def test_marks_on_a_checklist_that_is_not_there_are_refused(app: FastAPI, north: Town) -> None:
    """Marks on a checklist that the support does not have are refused, because they would be a false record."""
    asks = caller(app, north)
    await published(asks)
    free = await planned(asks, await accepted(asks, north))
    cited = await planned(asks, await accepted(asks, north, "ben"), intervention=None, library_entry="repeated-reading")
    for support, expected in (
        (free, [("/sessions/0/done_parts", "session.no_checklist")]),
        (
            cited,
            [
                ("/sessions/0/done_parts/1", "session.checklist_part"),
                ("/sessions/0/done_parts/2", "session.checklist_part"),
            ],
        ),
    ):
        session = {"held_on": str(TODAY), "attended": True, "done_parts": [1, 5, 1]}
        (result,) = (await asks.post(f"/v1/supports/{support}/sessions", {"sessions": [session]})).json()["results"]
        assert [(each["pointer"], each["code"]) for each in result["violations"]] == expected


async def test_the_library_goes_out_and_in_as_csv(app: FastAPI, north: Town, south: Town) -> None:
    """A library can be exported as CSV and imported in another district.

    A cell that a spreadsheet would run as a formula stays a text.
    """
    asks, other = caller(app, north), caller(app, south)
    await published(asks, materials="=1+1", steps=["'Tis read aloud.", "- Then again, slowly."])
    await published(asks, code="phonics", name='Phonics, "one to one"', areas=[], levels=[], checklist=[])
    answer = await asks.get("/v1/interventions.csv")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "text/csv; charset=utf-8")
    assert '"=1+1' not in answer.text.replace("'=1+1", "")
    assert (await query_data(north, "{ interventionsCsv }"))["interventionsCsv"] == answer.text.removeprefix(BOM)
    sent = await other.post("/v1/interventions/import", {"csv": answer.text})
    assert (sent.status_code, sent.json()) == (200, {"drafted": 2, "unchanged": 0})
    own = {"id", "areas", "state", "published_at", "version"}
    mine, theirs = [
        [
            {name: value for name, value in row.items() if name not in own}
            for row in await each.items("/v1/interventions")
        ]
        for each in (asks, other)
    ]
    assert {row["code"]: row for row in mine} == {row["code"]: row for row in theirs}
    again = await asks.post("/v1/interventions/import", {"csv": answer.text})
    assert again.json() == {"drafted": 0, "unchanged": 2}


async def test_a_library_has_a_limited_number_of_entries_and_is_exported_whole(app: FastAPI, north: Town) -> None:
    """An export has all published entries. Their number is limited, so that no export needs too much memory."""
    asks = caller(app, north)
    codes = sorted(f"entry-{number:03}" for number in range(MAX_ENTRIES))
    sheet = "code,name\n" + "".join(f"{code},Read aloud\n" for code in codes)
    assert (await asks.post("/v1/interventions/import", {"csv": sheet})).json()["drafted"] == MAX_ENTRIES
    refused = await asks.post("/v1/interventions", {"interventions": [ENTRY]})
    assert (refused.status_code, refused.json()["code"]) == (409, "intervention.too_many")
    await ask(north, "UPDATE intervention SET state = 'published', published_at = now() WHERE district_id = :district")
    exported = csv.DictReader(io.StringIO((await asks.get("/v1/interventions.csv")).text.removeprefix(BOM)))
    assert [row["code"] for row in exported] == codes
    (entry,) = (await asks.get("/v1/interventions", limit=1)).json()["items"]
    await asks.post(f"/v1/interventions/{entry['id']}/retire", {})
    assert (await asks.post("/v1/interventions", {"interventions": [ENTRY]})).status_code == 200


async def test_a_csv_import_writes_nothing_and_reports_everything_if_a_row_is_wrong(app: FastAPI, north: Town) -> None:
    """A CSV import with a wrong row writes nothing. Each violation names the row and the column."""
    asks = caller(app, north)
    rows = ["code,name,levels,group_from,areas", "good,Good,2,1,ela", "Bad Code,,x,40x,nowhere", "short,Short"]
    answer = await asks.post("/v1/interventions/import", {"csv": "\n".join(rows)})
    assert answer.status_code == 422, answer.text
    assert {(each["pointer"], each["code"]) for each in answer.json()["violations"]} == {
        ("/csv/2/code", "intervention.code"),
        ("/csv/2/name", "shape.string_too_short"),
        ("/csv/2/levels", "csv.number"),
        ("/csv/2/group_from", "csv.number"),
        ("/csv/2/areas/0", "area.unknown"),
        ("/csv/3", "csv.cells"),
    }
    assert await asks.items("/v1/interventions") == []
    for text, code in (('code,name\n"open', "csv.malformed"), ("code,colour\na,b", "csv.column_unknown")):
        refused = await asks.post("/v1/interventions/import", {"csv": text})
        assert code in {each["code"] for each in refused.json()["violations"]}


async def test_a_group_follows_an_entry_and_marks_its_checklist_once(app: FastAPI, north: Town) -> None:
    """If a group's session is recorded with marks on the checklist, each member who attended gets these marks.

    An absent member gets none.
    """
    asks = caller(app, north)
    entry = await published(asks)
    amy, ben = (format_id("student", north.students[name]) for name in ("amy", "ben"))
    member = {"goal": 70.0, "baseline": 40.0, "confirm_rate": True}
    group = {
        **{"school": format_id("org", north.schools[0]), "name": "Blue table", "library_entry": "repeated-reading"},
        **{"level": 2, "measure": "orf", "starts_on": str(TODAY), "goal_on": str(TODAY + timedelta(weeks=20))},
        **{"minutes_per_session": 20, "sessions_per_week": 4},
        "members": [{"student": student, **member} for student in (amy, ben)],
    }
    formed = await asks.post("/v1/groups", group)
    assert formed.status_code == 201, formed.text
    assert (formed.json()["library_entry"], formed.json()["intervention"]) == (entry["id"], ENTRY["name"])
    absent = {"student": ben, "attended": False}
    lesson = {"held_on": str(TODAY), "done_parts": [4, 1], "attendance": [absent]}
    answer = await asks.post(f"/v1/groups/{formed.json()['id']}/sessions", {"lessons": [lesson]})
    assert answer.json()["results"][0]["outcome"] == "recorded", answer.text
    marks = {}
    for support in await asks.items("/v1/supports", state="active"):
        assert support["library_entry"] == entry["id"]
        (session,) = await asks.items(f"/v1/supports/{support['id']}/sessions")
        marks[session["student"]] = (session["done_parts"], session["checklist_size"])
    assert marks == {amy: ([1, 4], 4), ben: (None, None)}
    wrong = {"held_on": str(TODAY), "number": 2, "done_parts": [9]}
    refused = await asks.post(f"/v1/groups/{formed.json()['id']}/sessions", {"lessons": [wrong]})
    violations = [(each["pointer"], each["code"]) for each in refused.json()["results"][0]["violations"]]
    assert violations == [("/lessons/0/done_parts/0", "session.checklist_part")]
