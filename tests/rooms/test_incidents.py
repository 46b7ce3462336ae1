"""Tests incidents: how they are recorded, amended, refused and removed, who sees them, and how they cause signals."""

from datetime import datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from fastapi import FastAPI

from app.access.permission import Can
from tests.faces.graphql_face import query_data
from tests.faces.rest_town import CLIENT_SCOPES, Caller, caller
from tests.rooms.agenda_town import agenda_of, meeting_team
from tests.rooms.team_town import named
from tests.rooms.test_signals import TODAY, computed
from tests.town import Town

QUERY = """{ student(id: "%s") { incidents(first: 50) { edges { node {
    occurredOn place response sharedReference kind { code name } } } } } }"""
RULE = {"code": "incidents", "kind": "incidents", "area": "behaviour"}


def incident(town: Town, student: str, days: int = 0, **more: Any) -> dict[str, Any]:
    """Returns the input of an incident that happened this number of days before today, just after midnight."""
    at = datetime.combine(TODAY - timedelta(days=days), time(0, 5), ZoneInfo("America/Chicago"))
    about = {"student": named("student", town.students[student]), "occurred_at": at.isoformat()}
    return {**about, "kind": "disruption", **more}


async def recorded(asks: Caller, *incidents: dict[str, Any]) -> list[dict[str, Any]]:
    """Records incidents, and returns the results."""
    answer = await asks.post("/v1/incidents/bulk", {"incidents": list(incidents)})
    assert answer.status_code == 200, answer.text
    results: list[dict[str, Any]] = answer.json()["results"]
    return results


async def test_an_incident_sent_again_is_corrected_and_a_removed_one_is_restored(app: FastAPI, north: Town) -> None:
    """An incident that is sent again, with or without an external id, corrects the stored incident.

    It is not stored twice. A removed incident is restored when it is sent again. The day of an incident is the day in
    the district's time zone.
    """
    asks = caller(app, north)
    first = incident(north, "amy", external_id="i-1", place="Hall")
    plain_one = incident(north, "amy", response="Called home.")
    results = await recorded(asks, first, plain_one, {**first, "external_id": "i-2"})
    assert [one["outcome"] for one in results] == ["recorded"] * 3
    rows = [one["incident"] for one in results]
    assert {row["occurred_on"] for row in rows} == {str(TODAY)}
    late = incident(north, "amy", days=1, external_id="i-1", kind="bullying", place="Hall")
    again = await recorded(asks, late, {**plain_one, "place": "Bus"}, {**first, "external_id": "i-2"})
    assert [one["outcome"] for one in again] == ["amended", "amended", "unchanged"]
    assert [one["incident"]["id"] for one in again] == [row["id"] for row in rows]
    path = f"/v1/incidents/{rows[0]['id']}"
    assert (await asks.post(f"{path}/remove", {"because": "Another child."})).is_success
    assert (await asks.get(path)).status_code == 404
    assert (await asks.post(f"{path}/remove", {"because": "Again."})).status_code == 404
    restored = await recorded(asks, late)
    assert (restored[0]["outcome"], restored[0]["incident"]["id"]) == ("amended", rows[0]["id"])
    shown = await query_data(north, QUERY % named("student", north.students["amy"]))
    nodes = [edge["node"] for edge in shown["student"]["incidents"]["edges"]]
    kinds = [(one["kind"]["code"], one["place"]) for one in nodes]
    assert kinds == [("bullying", "Hall"), ("disruption", "Bus"), ("disruption", "Hall")]
    today_only = await asks.items("/v1/incidents", since=str(TODAY), student=first["student"])
    assert [one["id"] for one in today_only] == [rows[1]["id"], rows[2]["id"]]


async def test_each_invalid_incident_is_refused_alone_with_every_violation(app: FastAPI, north: Town) -> None:
    """Each invalid incident is refused with every violation, and the other incidents are stored."""
    asks = caller(app, north)
    first = incident(north, "amy", external_id="i-1")
    bad = {"student": "stu_no", "kind": "no-such", "occurred_at": incident(north, "amy", -1)["occurred_at"]}
    bad |= {"shared_reference": "Ben and Cy", "place": "x" * 101, "response": ""}
    items = [
        first,
        bad,
        {**first, "place": "Bus"},
        incident(north, "ben", external_id="i-1"),
        {**first, "occurred_at": "1901-01-01T00:00:00Z", "external_id": None},
        {**first, "occurred_at": "yesterday"},
        incident(north, "ben"),
    ]
    results = await recorded(asks, *items)
    assert [one["outcome"] for one in results] == ["recorded", *["refused"] * 5, "recorded"]
    assert {(one["pointer"], one["code"]) for one in results[1]["violations"]} == {
        ("/incidents/1/student", "student.unknown"),
        ("/incidents/1/kind", "incident_kind.unknown"),
        ("/incidents/1/occurred_at", "incident.future"),
        ("/incidents/1/shared_reference", "incident.reference"),
        ("/incidents/1/place", "shape.string_too_long"),
        ("/incidents/1/response", "shape.string_too_short"),
    }
    codes = [one["code"] for result in results[2:5] for one in result["violations"]]
    assert codes == ["incident.doubled", "incident.two_identities", "incident.occurred_at"]
    assert [one["pointer"] for one in results[5]["violations"]] == ["/incidents/5/occurred_at"]
    assert (await asks.post("/v1/incidents/bulk", {"incidents": []})).status_code == 422
    assert len(await asks.items("/v1/incidents")) == 2


async def test_a_shared_reference_shows_no_row_of_another_student(app: FastAPI, north: Town, south: Town) -> None:
    """Several incidents can have the same shared reference.

    A search for this reference returns and counts only incidents of students that the caller may see.
    """
    asks = caller(app, north)
    names = ("amy", "ben", "cy")
    results = await recorded(
        asks, *(incident(north, name, shared_reference="event-7", external_id=name) for name in names)
    )
    rows = {name: one["incident"] for name, one in zip(names, results, strict=True)}
    teacher = caller(app, north, act_for="sis:sis:teacher-1")
    for reader, seen in (
        (asks, {"amy", "ben", "cy"}),
        (teacher, {"amy"}),
        (caller(app, north, act_for="sis:sis:administrator-1"), {"amy", "ben"}),
        (caller(app, north, schools=(north.schools[1],)), {"cy"}),
        (caller(app, south), set[str]()),
    ):
        answer = (await reader.get("/v1/incidents", shared_reference="event-7", include_total=True)).json()
        assert {one["id"] for one in answer["items"]} == {rows[name]["id"] for name in seen}
        assert answer["total"] == len(seen)
        for name, row in rows.items():
            assert (await reader.get(f"/v1/incidents/{row['id']}")).status_code == (200 if name in seen else 404)
            if name not in seen:
                removal = await reader.post(f"/v1/incidents/{row['id']}/remove", {"because": "Not mine."})
                assert removal.status_code == 404
    refused = await recorded(teacher, incident(north, "cy"))
    assert [one["code"] for one in refused[0]["violations"]] == ["student.unknown"]
    clash = await teacher.post("/v1/incidents/bulk", {"incidents": [incident(north, "amy", external_id="cy")]})
    assert (clash.status_code, rows["cy"]["id"] in clash.text) == (409, False)


async def test_incidents_have_permissions_of_their_own(app: FastAPI, north: Town) -> None:
    """Incidents cannot be read or recorded by an aide, or by a client without the scopes for incidents.

    No event and no list of students or signals contains the texts of an incident.
    """
    asks = caller(app, north)
    (result,) = await recorded(asks, incident(north, "amy", response="Secret response.", place="Secret place"))
    without = caller(app, north, CLIENT_SCOPES - {Can.READ_INCIDENTS, Can.RECORD_INCIDENTS})
    for reader in (without, caller(app, north, act_for="sis:sis:aide-1")):
        assert (await reader.get("/v1/incidents")).status_code == 403
        assert (await reader.get(f"/v1/incidents/{result['incident']['id']}")).status_code == 403
        sent = await reader.post("/v1/incidents/bulk", {"incidents": [incident(north, "amy")]})
        assert sent.status_code == 403
    for path in ("/v1/events", "/v1/students", "/v1/signals"):
        assert "Secret" not in (await asks.get(path)).text


async def test_kinds_of_incidents_are_published_and_retired(app: FastAPI, north: Town) -> None:
    """After a kind of incident was retired, no new incident of this kind is accepted.

    An existing incident of the kind can be sent again and keeps its kind.
    """
    asks = caller(app, north)
    refused = await asks.post("/v1/incident-kinds", {"code": "Not A Code", "name": ""})
    assert {one["pointer"] for one in refused.json()["violations"]} == {"/code", "/name"}
    kind = (await asks.post("/v1/incident-kinds", {"code": "vaping", "name": "Vaping"})).json()
    assert (await asks.post("/v1/incident-kinds", {"code": "vaping", "name": "Vaping"})).status_code == 200
    sent = incident(north, "amy", kind="vaping", external_id="v-1")
    assert (await recorded(asks, sent))[0]["outcome"] == "recorded"
    path = f"/v1/incident-kinds/{kind['id']}"
    assert (await asks.ask("DELETE", path)).status_code == 204
    assert (await asks.ask("DELETE", path)).json()["code"] == "incident_kind.retired"
    again = await recorded(asks, sent, {**sent, "external_id": "v-2"})
    assert [one["outcome"] for one in again] == ["unchanged", "refused"]
    in_force = {one["code"] for one in await asks.items("/v1/incident-kinds", in_force="true")}
    assert {"disruption", "bullying"} <= in_force
    assert "vaping" not in in_force


async def test_several_incidents_are_suggested_until_one_is_removed(app: FastAPI, north: Town) -> None:
    """A rule about incidents suggests a signal for a student with enough incidents of certain kinds.

    Only incidents within a number of days count. The signal lapses when an incident is removed. The preview of a rule
    shows only counts.
    """
    asks = caller(app, north)
    wrong = {**RULE, "area": None, "percent": 3, "incident_kinds": ["bullying", "gone"]}
    refused = await asks.post("/v1/signal-rules", wrong)
    assert {(one["pointer"], one["code"]) for one in refused.json()["violations"]} == {
        ("/area", "signal_rule.area"),
        ("/percent", "signal_rule.parameter"),
        ("/incident_kinds/1", "incident_kind.unknown"),
    }
    other = await asks.post("/v1/signal-rules", {**RULE, "kind": "attendance", "incident_kinds": ["bullying"]})
    assert [one["code"] for one in other.json()["violations"]] == ["signal_rule.incident_kinds"]
    rule = await asks.post("/v1/signal-rules", {**RULE, "incident_kinds": ["disruption", "bullying"], "days": 20})
    assert (rule.status_code, rule.json()["incident_kinds"]) == (201, ["bullying", "disruption"])
    assert await computed(asks, north) == {}
    rows = await recorded(
        asks,
        *(incident(north, "amy", days) for days in (0, 10, 19)),
        *(incident(north, "ben", days) for days in (0, 10, 20)),
        *(incident(north, "cy", days, kind=kind) for days, kind in enumerate(("disruption", "bullying", "other"))),
    )
    assert (await computed(asks, north)).keys() == {"amy"}
    signal = (await computed(asks, north))["amy"]
    assert (signal["kind"], signal["area"]) == ("incidents", named("area", north.areas["behaviour"]))
    assert signal["incidents"] == [one["incident"]["id"] for one in rows[:3]]
    for least, students in ((2, 3), (3, 3), (4, 0)):
        preview = await asks.post("/v1/signal-rules/preview", {**RULE, "days": 30, "least": least})
        assert preview.json() == {"students": students, "grades": 0}
    team = await meeting_team(north)
    (item,) = (await agenda_of(asks, team))["items"]
    assert (item["kind"], item["reasons"]) == ("signal", [{"code": "incidents", "records": signal["incidents"]}])
    path = f"/v1/incidents/{rows[0]['incident']['id']}/remove"
    assert (await asks.post(path, {"because": "Another child."})).is_success
    assert await computed(asks, north) == {}
    assert (await computed(asks, north, "lapsed")).keys() == {"amy"}
    await recorded(asks, incident(north, "amy", 2))
    assert (await computed(asks, north))["amy"]["id"] == signal["id"]
    accepted = (await asks.post(f"/v1/signals/{signal['id']}/accept", {})).json()
    assert (await asks.get(f"/v1/concerns/{accepted['concern']}")).json()["state"] == "accepted"


async def test_dismissed_incidents_are_never_suggested_again(app: FastAPI, north: Town) -> None:
    """After a signal about incidents was dismissed, no rule counts these incidents again.

    Only new incidents can lead to a new signal.
    """
    asks = caller(app, north)
    assert (await asks.post("/v1/signal-rules", RULE)).status_code == 201
    await recorded(asks, *(incident(north, "amy", days) for days in (1, 2, 3)))
    signal = (await computed(asks, north))["amy"]
    assert (await asks.post(f"/v1/signals/{signal['id']}/dismiss", {"because": "A hard week."})).is_success
    for more in ({"days": 90}, {"code": "two", "least": 2}, {"code": "kinds", "incident_kinds": ["disruption"]}):
        assert (await asks.post("/v1/signal-rules", {**RULE, **more})).status_code == 201
        assert await computed(asks, north) == {}
    for rule in await asks.items("/v1/signal-rules", in_force="true"):
        if rule["code"] != "incidents":
            await asks.post(f"/v1/signal-rules/{rule['id']}/retire", {})
    new = await recorded(asks, *(incident(north, "amy", days) for days in (4, 5)))
    assert await computed(asks, north) == {}
    new += await recorded(asks, incident(north, "amy", 0))
    again = (await computed(asks, north))["amy"]
    assert again["id"] != signal["id"]
    assert set(again["incidents"]) == {one["incident"]["id"] for one in new}
    await recorded(asks, incident(north, "amy", 6))
    assert (await computed(asks, north))["amy"]["id"] == again["id"]


async def test_an_answer_ends_every_suggestion_of_the_same_incidents_at_the_next_computation(
    app: FastAPI, north: Town
) -> None:
    """If a team answers one of two signals about the same incidents, the other one lapses at the next computation.

    A signal into which another signal was merged stays until a team answers it too.
    """
    asks = caller(app, north)
    for rule in (RULE, {**RULE, "code": "disruptions", "incident_kinds": ["disruption"]}):
        assert (await asks.post("/v1/signal-rules", rule)).status_code == 201
    await recorded(asks, *(incident(north, name, days) for name in ("amy", "ben") for days in (1, 2, 3)))
    await computed(asks, north)
    about: dict[str, list[str]] = {}
    for one in await asks.items("/v1/signals", state="suggested"):
        about.setdefault(one["student"], []).append(one["id"])
    (amy, other), (ben, stays) = (about[named("student", north.students[name])] for name in ("amy", "ben"))
    assert (await asks.post(f"/v1/signals/{amy}/dismiss", {"because": "A hard week."})).is_success
    assert (await asks.post(f"/v1/signals/{ben}/merge", {"into": stays})).is_success
    assert {one["id"] for one in (await computed(asks, north)).values()} == {stays}
    assert {one["id"] for one in (await computed(asks, north, "lapsed")).values()} == {other}
    assert (await asks.post(f"/v1/signals/{stays}/dismiss", {"because": "A hard week."})).is_success
    await recorded(asks, incident(north, "ben", 4), incident(north, "ben", 5))
    assert await computed(asks, north) == {}
    new = await recorded(asks, incident(north, "ben", 6))
    await computed(asks, north)
    again = await asks.items("/v1/signals", state="suggested")
    assert {len(one["incidents"]) for one in again} == {3}
    assert all(new[0]["incident"]["id"] in one["incidents"] for one in again)
