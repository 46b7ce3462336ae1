"""Serves in REST, as a CSV file, the rows that a sync run refused."""

from fastapi import APIRouter, Response
from fastapi.responses import PlainTextResponse

from app.rest.door import OpenWork, requires, row_id
from app.rest.route import Route
from app.sis.runs import quarantine


class CsvResponse(PlainTextResponse):
    """A response in CSV."""

    media_type = "text/csv"


router = APIRouter(prefix="/v1", tags=["sync"], route_class=Route)


@router.get(
    "/sync-runs/{run}/quarantine.csv",
    operation_id="get_quarantine_csv",
    response_class=CsvResponse,
    **requires(quarantine.quarantine_csv),
)
async def get_quarantine_csv(work: OpenWork, run: str) -> Response:
    """Returns, as CSV, the rows that a run refused, for the clerk who corrects them in the SIS."""
    sheet = await quarantine.quarantine_csv(work, row_id("run", run))
    return CsvResponse(sheet)
