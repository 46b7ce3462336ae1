"""Tests that a GraphQL document gives the same JSON, errors and disclosures as the selection that it is compiled to.

Five callers of one district send random documents. The selection of each document is also read directly. Lists are read
page by page.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date, datetime
from random import Random
from typing import Any

import orjson
import pytest
from graphql import GraphQLObjectType
from sqlalchemy import update

from app.access.permission import Can
from app.access.principal import Principal
from app.access.work import Work, needs
from app.catalog import CATALOG
from app.concern.service import NewConcern, raise_concern
from app.core import ids
from app.core.clock import now
from app.core.errors import AimlineError, NotFound
from app.core.ids import new_id
from app.graphql.budget import Budget
from app.graphql.door import OperationContext
from app.graphql.json_text import parse
from app.graphql.limits import Limits
from app.graphql.request import Operation
from app.graphql.schema import execute, preparation
from app.group.inputs import NewGroupSession
from app.group.service import form_group
from app.group.sessions import record_group_sessions
from app.incident.service import NewIncident, record_incidents
from app.resources.declare import declaration
from app.resources.run import read, resolve_filters
from app.resources.select import GRAPHQL_STYLE, ListRoot, RowRoot
from app.response.service import record_sessions
from app.roster.models import Org, Person
from app.support.session import NewSession
from app.team.caseload import bound_to_person
from app.team.rules import TeamPurpose
from app.team.scopes import NewTeamScope, add_team_scope
from app.team.service import NewTeam, NewTeamMember, add_team_member, form_team
from tests.faces.graphql_face import here
from tests.faces.test_graphql_read import in_the_loop
from tests.resources.reads import SDL, Draw, Read, shown
from tests.rooms.test_groups import group_of
from tests.rooms.test_loop import BEGINS
from tests.rooms.test_support_reviewed import mentored
from tests.rooms.verdict_town import classmates
from tests.town import ALL_SCOPES, Town, lay

SEEDS = 4
READS = 50
INSTANT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d")
FEW = frozenset({"roster:read", "concern:read", "support:read"})


@dataclass
class Filled:
    """A district with every kind of row, its callers, and the values that random reads use as arguments."""

    town: Town
    callers: dict[str, Principal]
    values: dict[str, list[Any]]


@pytest.fixture
async def filled(north: Town) -> Filled:
    """Fills a district: five students, three with judged supports, one at four schools, and a concern in a secured
    area.
    """
    made = {name: await in_the_loop(north, name) for name in ("amy", "ben", "cy")}
    mates = await classmates(north, 2)
    more = [new_id() for _ in range(2)]
    of = {"district_id": north.district_id, "type": "school"}
    async with north.house() as work:
        await lay(work, *(Org(**of, id=one, name="School") for one in more))
        await _attend(work, north, {"cy": [*north.schools, *more], "mate0": north.schools})
    async with north.unit() as work:
        for area in ("sel", "math"):
            for name in ("amy", mates[0]):
                await raise_concern(
                    work, NewConcern(ids.format_id("student", north.students[name]), area, 'He said "no"\n\\ é\t☂')
                )
        support = ids.parse_id("support", made["amy"]["support"])
        await record_sessions(
            work,
            support,
            [
                NewSession(held_on=BEGINS, attended=True),
                NewSession(held_on=BEGINS, number=2, attended=False, lost_because="absent"),
                NewSession(held_on=BEGINS.fromordinal(BEGINS.toordinal() + 7), attended=True, delivered_minutes=30),
            ],
        )
    await mentored(north)
    groups = await _work_together(north)
    await _disrupt(north)
    everything = north.client()
    teacher = await bound_to_person(north.engine, north.settings.keyring, everything, "sis:sis:teacher-1")
    callers = {
        "all": everything,
        "few scopes": north.client(FEW),
        "one school": north.client(schools=(north.schools[0],)),
        "no secured area": north.client(ALL_SCOPES - {"area:sel"}),
        "caseload": replace(teacher, scopes=everything.scopes),
    }
    nobody = ids.format_id("student", new_id())
    students = [ids.format_id("student", one) for one in north.students.values()]
    values: dict[str, list[Any]] = {
        "student_id": [*students, nobody, "sis:sis:ben-1", "sis:sis:no-one", "stu_nonsense"],
        "staff_id": [ids.format_id("person", one) for one in north.staff.values()],
        "school_id": [ids.format_id("org", one) for one in (*north.schools, *more)],
        "class_id": [ids.format_id("class", one) for one in north.classes],
        "support_id": [*(one["support"] for one in made.values()), "sup_nonsense"],
        "area": ["sel", "math", "ela", "ela.fluency", "nothing"],
        "measure": ["orf", "sel-screener", ids.format_id("measure", north.measures["orf"])],
        "level": [1, 2, 99],
        "since": [BEGINS, date(2020, 1, 1)],
        "until": [date(2099, 1, 1), BEGINS],
        "on": [date(2099, 1, 1), BEGINS],
        "review_by": [date(2099, 1, 1), BEGINS],
        "playbook_number": [0, 1, 2, 99],
        "grade": ["03", "04"],
        "code": ["repeated-reading", "nothing"],
        "about_id": [*(one[kind] for one in made.values() for kind in ("concern", "support")), "con_nonsense"],
        "shared_reference": ["event-7", "event-8"],
        "family_name": [f"Family{north.canary}", "Nobody"],
    }
    for kind in ("concern", "support", "score", "verdict", "decision"):
        values[f"{kind}_id"] = [*(one[kind] for one in made.values()), ids.format_id(kind, new_id())]
    for kind, one in groups.items():
        values[f"{kind}_id"] = [one, ids.format_id(kind, new_id())]
    for kind in ("session", "meeting", "meeting_series"):
        values[f"{kind.removeprefix('meeting_')}_id"] = [ids.format_id(kind, new_id())]
    return Filled(north, callers, values)


async def _work_together(town: Town) -> dict[str, str]:
    """Forms a team that serves a student, and a group with one lesson; returns their public ids."""
    async with town.unit() as work:
        school = ids.format_id("org", town.schools[0])
        team = await form_team(work, NewTeam("Grade 3", TeamPurpose.GRADE, school))
        await add_team_member(work, team.id, NewTeamMember("sis:sis:teacher-1"))
        await add_team_scope(work, team.id, NewTeamScope(student="sis:sis:amy-1"))
        group = await form_group(work, group_of(town, "amy"))
        await record_group_sessions(work, group.id, [NewGroupSession(held_on=BEGINS)])
        return {"team": ids.format_id("team", team.id), "group": ids.format_id("group", group.id)}


async def _disrupt(town: Town) -> None:
    """Records a disruption in which three students were involved, and a separate incident of one student."""
    names = ("amy", "ben", "cy")
    involved = [NewIncident(f"sis:sis:{name}-1", now(), "disruption", shared_reference="event-7") for name in names]
    async with town.unit() as work:
        alone = NewIncident("sis:sis:amy-1", now(), "bullying")
        await record_incidents(work, [*involved, alone], positions=range(4))


@needs(Can.SYNC_ROSTER)
async def _attend(work: Work, town: Town, schools: Mapping[str, list[Any]]) -> None:
    for name, at in schools.items():
        person = (Person.district_id == work.district_id, Person.id == town.students[name])
        await work.db.execute(update(Person).where(*person).values(school_ids=at))


@dataclass
class Seen:
    """The result of a read: the JSON, the errors and the disclosures.

    The read was made through a GraphQL document, or directly by the resource engine.
    """

    data: Any
    errors: set[tuple[tuple[Any, ...], str]]
    students: set[Any]
    kinds: set[str]
    cursor: str | None = None


async def by_document(town: Town, principal: Principal, text: str, key: str) -> Seen:
    """Executes a GraphQL document as the GraphQL API would. Returns the result of the document's only field, `key`."""
    async with town.unit(principal) as work:
        operation = Operation(f"{{ {text} }}", None, None)
        prepared = preparation(Limits(cost=10**9, depth=30)).prepare(operation, "POST")
        result = await execute(
            OperationContext(work, prepared, Budget(10**9), here(town.engine, town.settings)), operation
        )
        errors = set()
        for error in result.errors or []:
            assert isinstance(error.original_error, AimlineError), error
            errors.add((tuple(error.path or ()), error.original_error.code))
        data = parse(result.data or {}).get(key)
        return Seen(normal(data), errors, set(work.disclosed.students), set(work.disclosed.kinds), _end(data))


async def by_engine(town: Town, principal: Principal, one: Read, after: str | None) -> Seen:
    """Returns the result of the read `one` by the resource engine. A page begins after the cursor `after`."""
    async with town.unit(principal) as work:
        page = None if one.page is None else replace(one.page, after=after)
        if one.listing is not None:
            try:
                filters = await resolve_filters(
                    work, one.listing.by_face("graphql"), one.given, pointers=False, listing=one.listing
                )
            except NotFound:
                return Seen(EMPTY, set(), set(), set())
            except AimlineError as error:
                return Seen(None, {((one.key,), error.code)}, set(), set())
            root: ListRoot | RowRoot = ListRoot(one.key, one.listing.name, page, one.picks, filters)
        else:
            assert one.resource is not None
            facts = declaration(one.resource)
            try:
                row_id = (
                    await facts.locate(work, one.row_id, None)
                    if facts.locate is not None
                    else ids.parse_id(str(facts.kind), one.row_id)
                )
            except (NotFound, AimlineError) as error:
                codes = set() if error.code in ("not_found", "invalid") else {((one.key,), error.code)}
                return Seen(None, codes, set(), set())
            root = RowRoot(one.key, one.resource, row_id, one.picks)
        (answer,) = await read(work, CATALOG, (root,), GRAPHQL_STYLE)
        data = orjson.loads(answer.text)
        errors = {((one.key, *error.path), error.error.code) for error in answer.errors}
        return Seen(normal(data), errors, set(work.disclosed.students), set(work.disclosed.kinds), _end(data))


EMPTY = {
    "edges": [],
    "pageInfo": {"hasNextPage": False, "hasPreviousPage": False, "startCursor": None, "endCursor": None},
}


def normal(value: Any, key: str = "") -> Any:
    """Returns JSON in which all instants have the same form, and all cursors are replaced by the same text."""
    if isinstance(value, dict):
        return {name: normal(one, name) for name, one in value.items()}
    if isinstance(value, list):
        return [normal(one, key) for one in value]
    if isinstance(value, str) and key.lower().endswith("cursor"):
        return "a cursor"
    if isinstance(value, str) and INSTANT.match(value):
        return datetime.fromisoformat(value)
    return value


def _end(data: Any) -> str | None:
    info = data.get("pageInfo") if isinstance(data, dict) else None
    return info["endCursor"] if isinstance(info, dict) and info["hasNextPage"] else None


@pytest.mark.parametrize("seed", range(SEEDS))
async def test_both_ways_read_the_same(filled: Filled, seed: int) -> None:
    """Random reads by each caller give the same result through GraphQL and directly through the resource engine.

    The data, the errors (by place and code), and the disclosed students and kinds are compared.
    """
    random = Random(seed)
    for _ in range(READS):
        name = random.choice(list(filled.callers))
        draw = Draw(random, filled.values)
        one = draw.read()
        ours = theirs = None
        for _ in range(6):
            text = one.text
            if theirs is not None:
                text = text.replace("first: ", f'after: "{theirs.cursor}", first: ', 1)
            after: str | None = None if ours is None else ours.cursor
            theirs = await by_document(filled.town, filled.callers[name], text, one.key)
            ours = await by_engine(filled.town, filled.callers[name], one, after)
            assert (ours.data, name, text) == (theirs.data, name, text)
            assert (ours.errors, name, text) == (theirs.errors, name, text)
            # A name that the resolvers look up before they refuse is in their log, and is not looked up here.
            draw.widened = draw.widened or ours.data is None
            assert (ours.kinds <= theirs.kinds) if draw.widened else (ours.kinds == theirs.kinds), (name, text)
            assert ours.students <= theirs.students, (name, text)
            assert draw.widened or ours.students == theirs.students, (name, text)
            assert (ours.cursor is None) == (theirs.cursor is None)
            if ours.cursor is None:
                break


def test_every_field_of_the_sdl_is_declared() -> None:
    """Every field of a resource in the GraphQL schema is declared by the resource."""
    missing = []
    for resource in CATALOG.resources:
        type_ = SDL.type_map.get(declaration(resource).name)
        if isinstance(type_, GraphQLObjectType):
            members = shown(CATALOG.members(resource))
            missing += [f"{type_.name}.{name}" for name in type_.fields if name not in members]
    assert missing == []
