"""Serves the intervention library in REST as a CSV file."""

from fastapi import APIRouter, Response

from app.intervention.transfer import export_interventions
from app.rest.door import OpenWork, requires
from app.rest.quarantine import CsvResponse
from app.rest.route import Route

router = APIRouter(prefix="/v1", tags=["playbook"], route_class=Route)


@router.get(
    "/interventions.csv",
    operation_id="get_interventions_csv",
    response_class=CsvResponse,
    **requires(export_interventions),
)
async def get_interventions_csv(work: OpenWork) -> Response:
    """Returns the published entries of the intervention library as CSV, in the form that the import accepts."""
    return CsvResponse(await export_interventions(work))
