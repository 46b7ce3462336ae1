"""Serves information about the caller in REST.

The route is written by hand, because the caller is not a resource of the district.
"""

from datetime import date
from typing import Literal

from fastapi import APIRouter, Request
from pydantic import Field

from app.access.permission import Can
from app.core import ids
from app.requests.caller import describe_caller
from app.rest.door import OpenWork, Services, requires
from app.rest.pages import Shape
from app.rest.route import Route

router = APIRouter(prefix="/v1", tags=["me"], route_class=Route)


class Named(Shape):
    """The id and the name of the client or the district."""

    id: str
    name: str


class Me(Shape):
    """The caller: its client, the person that it acts for, the students that it may see, and its permissions."""

    client: Named = Field(description="The client whose token this is.")
    district: Named = Field(description="The district that the token is for.")
    time_zone: str = Field(description="The IANA time zone in which the district's days begin.")
    today: date = Field(description="The district's day, by its time zone or by a sandbox's test clock.")
    person: str | None = Field(description="The person that the request acts for, if it names one.")
    reach: Literal["district", "schools", "caseload"] = Field(
        description="The part of the district whose records the caller can see."
    )
    schools: list[str] = Field(description="The schools to which the reach is limited; none means no such limit.")
    caseload: int | None = Field(
        description="The number of students on the caseload, those of teams included, where that is the reach."
    )
    teams: list[str] = Field(description="The teams of the person, whose students the caller sees too.")
    scopes: list[str] = Field(description="What the caller may do, as scopes: those of the client and of the person.")
    secured_areas: list[str] = Field(description="The codes of the secured areas that the caller can see.")
    operations: list[str] = Field(
        description="The ids of the operations of this contract for which the scopes suffice: a screen shows their "
        "buttons. Whether an operation is possible now depends on the row as well."
    )


@router.get("/me", operation_id="get_me", **requires())
async def get_me(work: OpenWork, request: Request) -> Me:
    """Returns the caller: client, district, the person that it acts for, which students it may see, and its scopes.

    The operations that these scopes allow are listed too.
    """
    caller = await describe_caller(work)
    services: Services = request.app.state.services
    return Me(
        client=Named(
            id="" if caller.client_id is None else ids.format_id("client", caller.client_id), name=caller.client_name
        ),
        district=Named(id=ids.format_id("district", caller.district.district_id), name=caller.district.name),
        time_zone=caller.district.time_zone,
        today=caller.today,
        person=None if caller.person_id is None else ids.format_id("person", caller.person_id),
        reach=caller.reach.value,
        schools=[ids.format_id("org", school) for school in caller.school_ids],
        caseload=caller.caseload,
        teams=[ids.format_id("team", team) for team in caller.team_ids],
        scopes=list(caller.scopes),
        secured_areas=list(caller.secured_areas),
        operations=[name for name, needed in services.operations.items() if needed <= work.principal.scopes],
    )


def operations_of(routers: list[APIRouter]) -> dict[str, frozenset[Can]]:
    """Returns the scopes that each operation of these routers requires, keyed and sorted by operation id."""
    routes = [route for router in routers for route in router.routes if isinstance(route, Route)]
    scopes_by_operation = {str(route.operation_id): frozenset(route.stated_scopes) for route in routes}
    return dict(sorted(scopes_by_operation.items()))
