"""Tests what a webhook endpoint can choose: its schools, its event types and their payload versions."""

from pathlib import Path
from typing import Any
from uuid import UUID

import jsonschema_rs
import pytest
from fastapi import FastAPI

from app.core.errors import Invalid
from app.core.ids import format_id, new_id
from app.core.page import keyset
from app.events.catalogue import CATALOGUE, CONCERN_RAISED, SYNC_APPLIED, EventType, NewEvent
from app.events.feed import events_after
from app.events.outbox import record
from app.events.render import body, schema
from app.webhooks import service
from app.webhooks.models import WebhookEndpoint
from app.webhooks.service import Change, NewEndpoint
from tests.faces.rest_town import caller
from tests.rooms.webhook_town import SANDBOX, Receiver, drained, happen, log_of, make_due, receiving, register
from tests.town import Town

RAISED_AT_SCHOOL = EventType(
    name="concern.raised",
    version=2,
    meaning="A concern about a student of a school was raised.",
    subject="concern",
    ids=("concern", "student", "school"),
    former=(CONCERN_RAISED,),
)


def _came(receiver: Receiver, made: WebhookEndpoint) -> list[str]:
    return [one["webhook-id"] for one in receiver.at(made)]


async def _raised_at_school(town: Town) -> UUID:
    """Commits an event that has the second version of its type, and returns the event's id."""
    async with town.unit() as work:
        ids = {"student": town.students["amy"], "school": town.schools[0]}
        return record(
            work, NewEvent(RAISED_AT_SCHOOL, new_id(), 1, ids, town.students["amy"], school_ids=(town.schools[0],))
        )


async def test_an_endpoint_gets_the_schools_that_it_chose(north: Town, receiver: Receiver) -> None:
    """An endpoint gets the events of its chosen schools, and events of the whole district.

    This includes events about students who belong to several schools.
    """
    types = [CONCERN_RAISED.name, SYNC_APPLIED.name]
    one = await register(north, receiver, types=types, schools=(format_id("org", north.schools[0]),))
    two = await register(north, receiver, types=types, schools=("sis:sis:school-2",))
    both = await register(north, receiver, types=types)
    at_one, at_two = await happen(north), await happen(north, student="cy", school=1)
    districts = await happen(north, student=None, type_=SYNC_APPLIED)
    async with north.unit() as work:
        about = {"student": north.students["amy"]}
        at_each = record(
            work, NewEvent(CONCERN_RAISED, new_id(), 1, about, north.students["amy"], tuple(north.schools))
        )
        nowhere = record(work, NewEvent(CONCERN_RAISED, new_id(), 1, about, north.students["amy"]))
    await drained(north)
    shown = {name: format_id("event", row) for name, row in (("1", at_one), ("2", at_two), ("d", districts))}
    assert set(_came(receiver, one)) == {shown["1"], shown["d"], format_id("event", at_each)}
    assert set(_came(receiver, two)) == {shown["2"], shown["d"], format_id("event", at_each)}
    assert set(_came(receiver, both)) == {*shown.values(), format_id("event", at_each), format_id("event", nowhere)}


async def test_schools_are_within_the_clients_reach(north: Town, south: Town) -> None:
    """An endpoint cannot choose a school that its client may not see, another district's school, or an org that is no
    school.
    """
    bound = north.client(schools=(north.schools[0],))
    for principal, school in (
        (bound, format_id("org", north.schools[1])),
        (None, format_id("org", south.schools[0])),
        (None, "sis:sis:nowhere"),
        (None, "made up"),
    ):
        async with north.unit(principal) as work:
            with pytest.raises(Invalid) as refused:
                await service.register_endpoint(
                    work, NewEndpoint("https://example.org/", (CONCERN_RAISED.name,), schools=(school,))
                )
        assert [one.pointer for one in refused.value.violations] == ["/schools/0"]
    async with north.unit(bound) as work:
        made, _ = await service.register_endpoint(work, NewEndpoint("https://example.org/", (CONCERN_RAISED.name,)))
    assert made.school_ids == [north.schools[0]]
    async with north.unit(bound) as work:
        assert (await service.change_endpoint(work, made.id, Change(schools=()))).school_ids == [north.schools[0]]


async def test_an_endpoint_stays_in_the_version_that_it_was_made_with(
    north: Town, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a type gets a second version, old endpoints keep the first version and new endpoints get the second.

    Each body matches the schema of its version. A new endpoint may request the first version.
    """
    old = await register(north, receiver)
    monkeypatch.setitem(CATALOGUE, "concern.raised", RAISED_AT_SCHOOL)
    new = await register(north, receiver)
    registered = await register(north, receiver, versions={"concern.raised": 1})
    await _raised_at_school(north)
    await drained(north)
    for made, type_ in ((old, CONCERN_RAISED), (new, RAISED_AT_SCHOOL), (registered, CONCERN_RAISED)):
        (came,) = receiver.at(made)
        assert came["verified"]
        assert _fits(came["body"]) == {type_.version}
        assert ("school" in came["body"]["data"]) == (type_ is RAISED_AT_SCHOOL)


def _fits(body: dict[str, Any]) -> set[int]:
    return {one.version for one in (CONCERN_RAISED, RAISED_AT_SCHOOL) if jsonschema_rs.is_valid(schema(one), body)}


async def test_what_happened_before_a_version_is_told_in_its_own(
    north: Town, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An event from before the second version of its type is rendered in the first version, even for new readers."""
    await register(north, receiver)
    await happen(north)
    monkeypatch.setitem(CATALOGUE, "concern.raised", RAISED_AT_SCHOOL)
    async with north.unit() as work:
        page = await events_after(work, keyset(north.district_id, "events", {}, None, None))
    assert _fits(body(page.rows[0], "http://aimline.test", {"concern.raised": 2})) == {1}


async def test_the_feed_tells_the_version_asked_for(app: FastAPI, north: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    """The feed shows an event in the version that the request names, or that the consumer chose.

    Without either, it shows the first version.
    """
    client = caller(app, north)
    path = "/v1/events/consumers"
    await client.ask("PUT", f"{path}/old", json={})
    monkeypatch.setitem(CATALOGUE, "concern.raised", RAISED_AT_SCHOOL)
    await client.ask("PUT", f"{path}/new", json={})
    await client.ask("PUT", f"{path}/asked", json={"versions": {"concern.raised": 1}})
    await client.ask("PUT", f"{path}/old", json={})
    await _raised_at_school(north)
    for feed_path, version in (
        ("/v1/events", 1),
        ("/v1/events?version=concern.raised:1", 1),
        ("/v1/events?version=concern.raised:2&version=sync.applied:1", 2),
        (f"{path}/old/events", 1),
        (f"{path}/new/events", 2),
        (f"{path}/asked/events", 1),
    ):
        (item,) = (await client.ask("GET", feed_path)).json()["items"]
        assert _fits(item) == {version}, feed_path
    for wrong in ("concern.raised:3", "concern.raised", "concern.invented:1", "concern.raised:²"):
        assert (await client.get("/v1/events", version=wrong)).status_code == 400, wrong


async def test_the_catalogue_has_the_schema_of_each_version(
    app: FastAPI, north: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The catalogue lists every version of an event type, oldest first, each with the schema of its body."""
    monkeypatch.setitem(CATALOGUE, "concern.raised", RAISED_AT_SCHOOL)
    items = (await caller(app, north).get("/v1/event-types")).json()["items"]
    described = next(one for one in items if one["name"] == "concern.raised")
    assert (described["version"], [one["version"] for one in described["versions"]]) == (2, [1, 2])
    assert described["body"] == described["versions"][1]["body"] != described["versions"][0]["body"]
    assert "school" in described["ids"]


async def test_a_version_is_one_that_there_is(north: Town) -> None:
    """An endpoint can request a payload version only if it exists and belongs to one of the endpoint's event types."""
    for versions in ({"concern.raised": 2}, {"concern.accepted": 1}, {"concern.invented": 1}, {"concern.raised": 0}):
        async with north.unit() as work:
            with pytest.raises(Invalid) as refused:
                await service.register_endpoint(
                    work, NewEndpoint("https://example.org/", (CONCERN_RAISED.name,), versions=versions)
                )
        assert [one.pointer for one in refused.value.violations] == ["/versions"]


async def test_a_changed_address_gets_what_waits(north: Town, tmp_path: Path, receiver: Receiver) -> None:
    """If the address of an endpoint changes, a delivery that failed is retried at the new address, with the same id."""
    (tmp_path / "old").mkdir()
    with receiving(tmp_path / "old", "--status", "500") as old:
        made = await register(north, old)
        event_id = await happen(north)
        await drained(north)
    with receiver.secrets.open("a") as lines:
        lines.write((tmp_path / "old" / "secrets").read_text())
    async with north.unit() as work:
        changed = await service.change_endpoint(work, made.id, Change(url=f"{receiver.address}moved"), SANDBOX)
    assert changed.version == made.version + 1
    await make_due(north)
    await drained(north)
    assert _came(receiver, changed) == [format_id("event", event_id)]
    assert receiver.at(changed)[0]["verified"]
    (logged,) = await log_of(north, made)
    assert [one.status for one in logged.attempts] == [500, 204]


async def test_types_change_and_versions_stay(north: Town, receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    """If the types of an endpoint change, types that it already had keep their version.

    Added types get the newest version, or the version that the request names.
    """
    made = await register(north, receiver, description="Ours.")
    monkeypatch.setitem(CATALOGUE, "concern.raised", RAISED_AT_SCHOOL)
    change = Change(event_types=("concern.raised", "sync.held"), description="")
    async with north.unit() as work:
        changed = await service.change_endpoint(work, made.id, change)
        assert (changed.versions, changed.description) == ({"concern.raised": 1, "sync.held": 1}, None)
        changed = await service.change_endpoint(work, made.id, Change(versions={"concern.raised": 2}))
        assert changed.versions["concern.raised"] == 2
        with pytest.raises(Invalid):
            await service.change_endpoint(work, made.id, Change(url="https://10.0.0.1/", event_types=()))


async def test_endpoints_over_rest(app: FastAPI, north: Town) -> None:
    """Over REST an endpoint's schools, versions and kind of signature can be set; PATCH changes only the named
    members.
    """
    client = caller(app, north)
    school = format_id("org", north.schools[0])
    settings = {
        "url": "http://127.0.0.1:9999/x",
        "event_types": ["concern.raised"],
        "schools": ["sis:sis:school-1"],
        "signature": "ed25519",
    }
    made = (await client.post("/v1/webhook-endpoints", settings)).json()
    assert (made["schools"], made["versions"], made["secret"]) == ([school], {"concern.raised": 1}, None)
    assert made["public_key"].startswith("whpk_")
    path = f"/v1/webhook-endpoints/{made['id']}"
    changed = await client.patch(path, {"schools": []})
    assert changed.json() == {key: value for key, value in made.items() if key != "secret"} | {
        "schools": [],
        "version": 2,
    }
    assert (await client.patch(path, {"url": "http://10.0.0.1/"})).status_code == 422
    assert (await client.patch(path, {"secret": "x"})).status_code == 422
