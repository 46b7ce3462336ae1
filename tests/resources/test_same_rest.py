"""Checks that each list and row which the engine reads has the values and the logged disclosures of the REST answer."""

from typing import Any
from uuid import UUID

import orjson
import pytest
from fastapi import FastAPI
from sqlalchemy import select

from app.access.models import Disclosure
from app.access.permission import Can
from app.access.principal import Principal
from app.access.work import Work, needs
from app.catalog import CATALOG
from app.core import ids
from app.core.errors import Forbidden
from app.core.ids import new_id
from app.resources.declare import Resource, declaration
from app.resources.members import FieldMember, ManyMember, OneMember, ReferenceMember, ValueMember
from app.resources.run import read
from app.resources.select import REST_STYLE, ListRoot, Next, Page, Pick, Picks, Root, RowRoot, Rows
from app.support.delivery import SessionChangeResource
from app.team.caseload import bound_to_person
from tests.faces.rest_town import Caller, caller
from tests.house.full_district import fill_district
from tests.resources.test_same import normal
from tests.town import Town

LISTS = (
    "students",
    "staff",
    "schools",
    "classes",
    "breaks",
    "areas",
    "levels",
    "measures",
    "concerns",
    "supports",
    "scores",
    "decisions",
    "calibrations",
    "sis_sources",
    "sync_runs",
    "webhook_endpoints",
)
LINKS = (
    ("student", "students/{}/results", "results"),
    ("student", "students/{}/assessment-results", "assessment_results"),
    ("class", "classes/{}/line-items", "line_items"),
    ("support", "supports/{}/sessions", "sessions"),
    ("support", "supports/{}/verdicts", "verdicts"),
    ("sync_run", "sync-runs/{}/quarantine", "quarantine"),
    ("sync_run", "sync-runs/{}/changes", "changes"),
    ("webhook_endpoint", "webhook-endpoints/{}/deliveries", "deliveries"),
)
ROWS = {
    "student": "students",
    "person": "staff",
    "school": "schools",
    "class": "classes",
    "concern": "concerns",
    "support": "supports",
    "session": "sessions",
    "score": "scores",
    "verdict": "verdicts",
    "decision": "decisions",
    "sync_run": "sync-runs",
    "webhook_endpoint": "webhook-endpoints",
}
"""The path of each row that REST reads by its id."""
CHANGED: dict[str, set[str]] = {"sis_sources": {"due", "pulled_until", "full_at", "paused_at", "created_at"}}
"""Instants that REST cuts off to seconds."""


def rest_picks(resource: type[Resource[Any]]) -> Picks:
    """Returns the members of a resource that REST shows without `expand`."""
    picks: list[Pick] = []
    for member in CATALOG.members(resource).values():
        name = member.shown_as("rest")
        if name is None:
            continue
        if isinstance(member, FieldMember | ReferenceMember | ValueMember):
            picks.append(Pick(name, member.name))
        elif isinstance(member, OneMember | ManyMember) and member.inline:
            picks.append(Pick(name, member.name, rest_picks(member.target)))
        elif isinstance(member, OneMember) and member.expression is not None:
            picks.append(Pick(name, member.name))
    return tuple(picks)


def within(theirs: Any, ours: Any) -> Any:
    """Returns a copy of `ours` that has only those members of objects that `theirs` has.

    A member that `ours` lacks gets the value `<lost>` in the copy.
    """
    if isinstance(theirs, dict) and isinstance(ours, dict):
        return {name: within(value, ours[name]) if name in ours else "<lost>" for name, value in theirs.items()}
    if isinstance(theirs, list) and isinstance(ours, list) and len(theirs) == len(ours):
        return [within(one, other) for one, other in zip(theirs, ours, strict=True)]
    return ours


@needs(Can.OPERATE)
async def _disclosed(work: Work, since: UUID) -> tuple[set[Any], set[str]]:
    rows = await work.db.scalars(
        select(Disclosure).where(Disclosure.district_id == work.district_id, Disclosure.id > since)
    )
    disclosures = list(rows)
    return {one for row in disclosures for one in row.student_ids}, {kind for row in disclosures for kind in row.kinds}


async def _ours(town: Town, principal: Principal, root: Root) -> tuple[Any, set[Any], set[str]]:
    async with town.unit(principal) as work:
        (answer,) = await read(work, CATALOG, (root,), REST_STYLE)
        if answer.errors:
            assert [type(one.error) for one in answer.errors] == [Forbidden]
            return "403", set(), set()
        return orjson.loads(answer.text), set(work.disclosed.students), set(work.disclosed.kinds)


@pytest.mark.parametrize("reach", ["district", "school", "caseload"])
async def test_every_list_and_row_is_as_rest_shows_it(app: FastAPI, north: Town, reach: str) -> None:
    """Every list and row that the engine reads equals REST's answer: items, values, disclosed students and kinds.

    The test runs for a caller who may see the district, a school, or a caseload.
    """
    district = await fill_district(north)
    asks, principal = await _caller(app, north, reach)
    for name in LISTS:
        listing = CATALOG.listings[name]
        picks = rest_picks(listing.resource)
        page = Page((Rows("items", picks), Next("next")), 200)
        root = ListRoot("", name, page, ()) if listing.paged else ListRoot("", name, None, picks)
        ours, students, kinds = await _ours(north, principal, root)
        before = new_id()
        answer = await asks.get(f"/v1/{name.replace('_', '-')}", **({"limit": 200} if listing.paged else {}))
        if answer.status_code == 403:
            assert (ours, name) == ("403", name)
            continue
        theirs, items = answer.json(), ours["items"] if listing.paged else ours
        for one in (*theirs["items"], *items):
            for gone in CHANGED.get(name, ()):
                one.pop(gone, None)
        assert (normal(within(theirs["items"], items)), name) == (normal(theirs["items"]), name)
        if reach == "district":
            async with north.house() as work:
                assert ((students, kinds), name) == (await _disclosed(work, before), name)
    for get, path, member in LINKS:
        resource = CATALOG.gets[get]
        target = CATALOG.members(resource)[member].target  # type: ignore[attr-defined]  # these members are links
        prefix = ids.PREFIXES[str(declaration(resource).kind)]
        for row_id in [one for one in district.shown.values() if one.startswith(f"{prefix}_")]:
            page = Page((Rows("items", rest_picks(target)),), 200)
            pick = Pick("page", member, page=page)
            _, uuid = ids.parse_any_id(row_id)
            ours, students, _ = await _ours(north, principal, RowRoot("", resource, uuid, (pick,)))
            answer = await asks.get(f"/v1/{path.format(row_id)}", limit=200)
            if answer.status_code in (403, 404):
                assert ours == ("403" if answer.status_code == 403 else None)
                continue
            items = answer.json()["items"]
            assert normal(within(items, ours["page"]["items"])) == normal(items), (path, member)


@pytest.mark.parametrize("reach", ["district", "school", "caseload"])
async def test_every_row_is_as_rest_shows_it(app: FastAPI, north: Town, south: Town, reach: str) -> None:
    """Every row that the engine reads has the same values and logged disclosures as in REST.

    Where REST answers 403 or 404, the engine returns no row.
    """
    district, other = await fill_district(north), await fill_district(south)
    asks, principal = await _caller(app, north, reach)
    seen = set()
    for get, path in ROWS.items():
        resource = CATALOG.gets[get]
        prefix = ids.PREFIXES[str(declaration(resource).kind)]
        shown = [*district.shown.values(), *other.shown.values()]
        for row_id in {one for one in shown if one.startswith(f"{prefix}_")}:
            picks = rest_picks(resource)
            if get == "session":
                picks = (*picks, Pick("changes", "changes", rest_picks(SessionChangeResource)))
            ours, students, kinds = await _ours(
                north, principal, RowRoot("", resource, ids.parse_any_id(row_id)[1], picks)
            )
            before = new_id()
            answer = await asks.get(f"/v1/{path}/{row_id}")
            seen.add((get, answer.status_code))
            if answer.status_code in (403, 404):
                assert (ours, get) == ("403" if answer.status_code == 403 else None, get)
                continue
            theirs = answer.json()
            assert (normal(within(theirs, ours)), get) == (normal(theirs), get)
            async with north.house() as work:
                assert ((students, kinds), get) == (await _disclosed(work, before), get)
    assert {(get, 404) for get in ROWS if get not in ("person", "school", "class")} <= seen or reach == "caseload"
    assert {get for get, status in seen if status == 200} >= {"student", "concern", "support", "score", "session"}


async def _caller(app: FastAPI, town: Town, reach: str) -> tuple[Caller, Principal]:
    everything = town.client()
    if reach == "school":
        schools = (town.schools[0],)
        return caller(app, town, schools=schools), town.client(schools=schools)
    if reach == "caseload":
        teacher = await bound_to_person(town.engine, town.settings.keyring, everything, "sis:sis:administrator-1")
        return caller(app, town, act_for="sis:sis:administrator-1"), teacher
    return caller(app, town), everything
