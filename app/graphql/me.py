"""Defines the query `me`, which returns information about the caller."""

from datetime import date
from enum import StrEnum
from typing import Any

import strawberry

from app.access.permission import Can
from app.core import ids
from app.core.text import camel
from app.graphql.door import Info
from app.graphql.types import NEEDS
from app.requests.caller import describe_caller


@strawberry.enum(description="The part of the district whose records a caller can see.")
class Reach(StrEnum):
    """The set of students whose records a caller can see: the whole district, some schools, or a caseload."""

    DISTRICT = "district"
    SCHOOLS = "schools"
    CASELOAD = "caseload"


@strawberry.type(description="The caller: who it is, which person it acts for, and what it can reach and do.")
class Me:
    """The caller: its client, the person that it acts for, the students that it may see, and its permissions."""

    client_id: strawberry.ID | None
    client_name: str
    district_id: strawberry.ID
    district_name: str
    time_zone: str = strawberry.field(description="The IANA time zone in which the district's days begin.")
    today: date = strawberry.field(description="The district's day, by its time zone or by a sandbox's test clock.")
    person_id: strawberry.ID | None = strawberry.field(description="The person that the request acts for, if any.")
    reach: Reach
    school_ids: list[strawberry.ID] = strawberry.field(
        description="The schools to which the reach is limited; none means no such limit."
    )
    caseload: int | None = strawberry.field(
        description="The number of students on the caseload, those of teams included, where that is the reach."
    )
    team_ids: list[strawberry.ID] = strawberry.field(
        description="The teams of the person, whose students the caller sees too."
    )
    scopes: list[str] = strawberry.field(description="What the caller may do: the client and the person both may.")
    secured_areas: list[str] = strawberry.field(description="The codes of the secured areas that the caller can see.")
    queries: list[str] = strawberry.field(description="The queries for which the scopes suffice.")
    mutations: list[str] = strawberry.field(
        description="The mutations for which the scopes suffice: a screen shows their buttons."
    )


async def read_caller(info: Info) -> Me:
    """Returns the caller; requires no permission."""
    caller = await describe_caller(info.context.work)
    client_id, person_id = caller.client_id, caller.person_id
    return Me(
        client_id=None if client_id is None else strawberry.ID(ids.format_id("client", client_id)),
        client_name=caller.client_name,
        district_id=strawberry.ID(ids.format_id("district", caller.district.district_id)),
        district_name=caller.district.name,
        time_zone=caller.district.time_zone,
        today=caller.today,
        person_id=None if person_id is None else strawberry.ID(ids.format_id("person", person_id)),
        reach=Reach(caller.reach.value),
        school_ids=[strawberry.ID(ids.format_id("org", school)) for school in caller.school_ids],
        caseload=caller.caseload,
        team_ids=[strawberry.ID(ids.format_id("team", team)) for team in caller.team_ids],
        scopes=list(caller.scopes),
        secured_areas=list(caller.secured_areas),
        queries=_allowed(info.schema.query, info.context.work.principal.scopes),
        mutations=_allowed(info.schema.mutation, info.context.work.principal.scopes),
    )


@strawberry.type
class MeQueries:
    """The query `me`."""

    me: Me = strawberry.field(resolver=read_caller, description="The caller.\n\nNeeds: no permission.")


def _allowed(root: Any, scopes: frozenset[Can]) -> list[str]:
    """Returns the names of the fields of `root`, such as the query type, that a caller with these scopes may use."""
    names = []
    for field in root.__strawberry_definition__.fields:
        if field.metadata.get(NEEDS, frozenset()) <= scopes:
            python_name: str = field.python_name
            names.append(field.graphql_name or camel(python_name))
    return sorted(names)
