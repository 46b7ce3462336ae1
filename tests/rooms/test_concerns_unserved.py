"""Tests unserved concerns, which are accepted concerns without an active support.

They are listed with the number of days without a support, and each is reported once.
"""

from datetime import date, timedelta
from typing import Any
from uuid import UUID

from fastapi import FastAPI
from sqlalchemy import text

from app.access.permission import Can
from app.access.work import Work, needs
from app.core.clock import today_in
from app.core.ids import parse_id
from app.decision.overdue import send_overdue_reminders
from app.playbook.service import publish_reminders
from tests.faces.graphql_face import query_data
from tests.faces.rest_town import CLIENT_SCOPES, Caller, caller
from tests.rooms.test_concerns_repeated import raised
from tests.town import Town, maintain

TODAY = today_in("America/Chicago")


async def accepted(asks: Caller, town: Town, student: str = "amy", area: str = "ela.fluency") -> dict[str, Any]:
    """Raises and accepts a concern, and returns it."""
    concern = await raised(asks, town, area, student)
    answer = await asks.post(f"/v1/concerns/{concern['id']}/accept", {})
    assert answer.status_code == 200, answer.text
    shown: dict[str, Any] = answer.json()
    return shown


async def planned(asks: Caller, concern: dict[str, Any], **more: Any) -> str:
    """Plans a support for a concern, and returns the id of the support.

    The support is active at once, unless `more` has a later first day.
    """
    body = {
        "student": concern["student"],
        "intervention": "Reading",
        "level": 2,
        "measure": "orf",
        "starts_on": str(TODAY),
        "goal": 70.0,
        "goal_on": str(TODAY + timedelta(weeks=20)),
        "minutes_per_session": 30,
        "sessions_per_week": 3,
        "baseline": 40.0,
        "confirm_rate": True,
        "concerns": [concern["id"]],
    }
    answer = await asks.post("/v1/supports", body | more)
    assert answer.status_code == 201, answer.text
    shown: str = answer.json()["id"]
    return shown


async def since(asks: Caller, concern: dict[str, Any]) -> str | None:
    """Returns the day since which a concern is unserved, or None if it is served."""
    shown: str | None = (await asks.get(f"/v1/concerns/{concern['id']}")).json()["unserved_since"]
    return shown


async def unserved(asks: Caller) -> list[str]:
    """Returns the ids of the unserved concerns. The concern that has waited longest comes first."""
    rows = await asks.items("/v1/concerns", unserved="true", sort="unserved")
    return [row["id"] for row in rows]


async def _age(town: Town, concern: str, days: int) -> None:
    """Sets the day since which a concern is unserved to `days` days ago."""

    @needs(Can.OPERATE)
    async def run(work: Work) -> None:
        statement = text("UPDATE concern SET unserved_since = :day WHERE district_id = :district AND id = :id")
        values = {"district": work.district_id, "id": parse_id("concern", concern), "day": TODAY - timedelta(days=days)}
        await work.db.execute(statement, values)

    async with town.house() as work:
        await run(work)


async def test_a_concern_is_unserved_until_a_support_is_active(app: FastAPI, north: Town) -> None:
    """A concern counts as unserved as long as none of its supports is active.

    The test plans, starts and ends supports of one concern.
    """
    asks = caller(app, north)
    assert (await raised(asks, north, area="math"))["unserved_since"] is None
    concern = await accepted(asks, north)
    assert concern["unserved_since"] == str(TODAY)
    later = await planned(asks, concern, starts_on=str(TODAY + timedelta(days=7)))
    assert await since(asks, concern) == str(TODAY)
    active = await planned(asks, concern)
    assert (await since(asks, concern), await unserved(asks)) == (None, [])
    assert (await asks.post(f"/v1/supports/{active}/end", {"because": "It moved."})).is_success
    assert (await since(asks, concern), await unserved(asks)) == (str(TODAY), [concern["id"]])
    assert (await asks.post(f"/v1/supports/{later}/start", {"on": str(TODAY)})).is_success
    assert await since(asks, concern) is None


async def test_one_of_two_supports_ends(app: FastAPI, north: Town) -> None:
    """If one of a concern's two active supports ends, the concern does not become unserved."""
    asks = caller(app, north)
    concern = await accepted(asks, north)
    first = await planned(asks, concern)
    await planned(asks, concern)
    assert (await asks.post(f"/v1/supports/{first}/end", {"because": "It moved."})).is_success
    assert await since(asks, concern) is None


async def test_a_support_that_starts_by_itself_serves_its_concern(app: FastAPI, north: Town) -> None:
    """If a support starts by itself, its concern leaves the list of unserved concerns."""
    asks = caller(app, north)
    concern = await accepted(asks, north)
    support = await planned(asks, concern, starts_on=str(TODAY + timedelta(days=1)))
    await _write(north, parse_id("support", support), TODAY)
    await maintain(north)
    assert await since(asks, concern) is None


async def test_a_resolved_concern_is_not_unserved(app: FastAPI, north: Town) -> None:
    """A concern that a team has resolved is not listed as unserved."""
    asks = caller(app, north)
    concern = await accepted(asks, north)
    answer = await asks.post(f"/v1/concerns/{concern['id']}/resolve", {})
    assert answer.json()["unserved_since"] is None
    assert await unserved(asks) == []


async def test_the_list_has_the_days_longest_first_in_both_apis(app: FastAPI, north: Town) -> None:
    """Both APIs list the concerns without an active support, with the number of days, longest first."""
    asks = caller(app, north)
    first, second = await accepted(asks, north), await accepted(asks, north, "ben")
    await _age(north, second["id"], 12)
    await _age(north, first["id"], 3)
    assert await unserved(asks) == [second["id"], first["id"]]
    document = '{ concerns(first: 5, unserved: true, sort: "unserved") { edges { node { id unserved { days } } } } }'
    edges = (await query_data(north, document))["concerns"]["edges"]
    assert [edge["node"] for edge in edges] == [
        {"id": second["id"], "unserved": {"days": 12}},
        {"id": first["id"], "unserved": {"days": 3}},
    ]
    of_school = caller(app, north, schools=(north.schools[0],))
    assert await unserved(of_school) == [second["id"], first["id"]]


async def test_unserved_concerns_need_the_permission_to_read_supports(app: FastAPI, north: Town) -> None:
    """The list of unserved concerns needs the permission to read supports.

    Otherwise the list would reveal which concerns have no support.
    """
    asks = caller(app, north, CLIENT_SCOPES - {"support:read"})
    assert (await asks.get("/v1/concerns", unserved="true")).status_code == 403


async def test_an_unserved_concern_is_reported_once_after_the_playbooks_days(app: FastAPI, north: Town) -> None:
    """A concern is reported once when it has been unserved for the number of days that the playbook sets.

    It is reported again only if a support has served it in between.
    """
    asks = caller(app, north)
    old, young = await accepted(asks, north), await accepted(asks, north, "ben")
    await _age(north, old["id"], 10)
    await _age(north, young["id"], 9)
    for expected in ([old["id"]], []):
        assert await _reported(asks, north) == expected
    support = await planned(asks, old)
    assert (await asks.post(f"/v1/supports/{support}/end", {"because": "It moved."})).is_success
    await _age(north, old["id"], 11)
    assert await _reported(asks, north) == [old["id"]]


async def test_the_playbook_sets_the_days(app: FastAPI, north: Town) -> None:
    """Each district decides after how many days an unserved concern gets a reminder. 0 means never."""
    asks = caller(app, north)
    concern = await accepted(asks, north)
    await _age(north, concern["id"], 30)
    for days, expected in ((0, []), (31, []), (30, [concern["id"]])):
        async with north.house() as work:
            await publish_reminders(work, {"concern_unserved": days})
        assert await _reported(asks, north) == expected


async def _reported(asks: Caller, town: Town) -> list[str]:
    """Sends the reminders, and returns the concerns that the new events are about."""
    before = await _events(asks)
    async with town.house() as work:
        await send_overdue_reminders(work)
    return (await _events(asks))[len(before) :]


async def _events(asks: Caller) -> list[str]:
    answer = await asks.get("/v1/events", type="concern.unserved", limit=200)
    assert answer.status_code == 200, answer.text
    return [one["data"]["subject"] for one in answer.json()["items"]]


async def _write(town: Town, support_id: UUID, day: date) -> None:
    @needs(Can.OPERATE)
    async def run(work: Work) -> None:
        values = {"district": work.district_id, "id": support_id, "day": day}
        of_support = "WHERE district_id = :district AND"
        await work.db.execute(text(f"UPDATE support SET starts_on = :day {of_support} id = :id"), values)
        await work.db.execute(text(f"UPDATE phase SET begins_on = :day {of_support} support_id = :id"), values)

    async with town.house() as work:
        await run(work)
