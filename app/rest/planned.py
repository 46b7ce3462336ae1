"""Serves a CSV file in REST: the list of what a sync run would change."""

from collections.abc import Iterable
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, Literal, cast

from fastapi import APIRouter, Query, Request, Response

from app.rest.admission import token_of
from app.rest.door import OpenWork, Services, requires, row_id
from app.rest.quarantine import CsvResponse, CsvStream
from app.rest.route import Route
from app.sis.kinds import BY_NAME
from app.sis.rules import PlannedAction
from app.sis.runs import queries
from app.sis.runs.plans import changes as planned


def choice_of(values: Iterable[str]) -> Any:
    """Returns the type of a parameter that takes one of these values."""
    return cast(Any, Literal)[tuple(str(value) for value in values)]


router = APIRouter(prefix="/v1", tags=["sync"], route_class=Route)
if TYPE_CHECKING:
    Kind = str | None
    Action = str | None
else:  # The contract lists the choices, as it does for the derived list.
    Kind = Annotated[choice_of(BY_NAME) | None, Query(description="Only rows of this kind.")]
    Action = Annotated[choice_of(PlannedAction) | None, Query(description="Only this action.")]
School = Annotated[
    str | None,
    Query(
        max_length=200,
        description="Only rows that concern this school: an id, or an external id `sis:<source>:<sourcedId>`.",
    ),
]


@router.get(
    "/sync-runs/{run}/planned-changes.csv",
    operation_id="get_planned_changes_csv",
    response_class=CsvResponse,
    **requires(queries.run, planned.planned_changes),
)
async def get_planned_changes_csv(
    work: OpenWork, request: Request, run: str, kind: Kind = None, action: Action = None, school: School = None
) -> Response:
    """Returns, as CSV, the changes that a dry run, or a run that waits for approval, would make.

    There is one line for each field, with the values before and after.
    """
    run_id = (await queries.run(work, row_id("run", run))).run.id
    school_id = None if school is None else await planned.locate_school(work, school, "/school")
    chosen = planned.ChangeFilter(kind, action, school_id)
    services: Services = request.app.state.services
    # The rows are read in separate transactions. Each logs the records that it shows before they are sent.
    admission = services.admission
    requester = admission.identify(token_of(request.scope), request.client.host if request.client else None)
    lines = planned.csv_of_changes(
        services.engine,
        work.principal,
        services.keyring,
        work.operation,
        run_id,
        chosen,
        partial(admission.run_in_turn, requester),
    )
    return CsvStream(lines)
