"""Serves in REST the rows that a sync run refused as a CSV file."""

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
    """Returns the rows that a run refused as CSV, for the clerk of the SIS who corrects them."""
    sheet = await quarantine.quarantine_csv(work, row_id("run", run))
    return CsvResponse(sheet)
