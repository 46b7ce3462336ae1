"""Serves in REST the rows that a sync run refused, with the command that acknowledges them."""

from uuid import UUID

from fastapi import APIRouter, Request, Response
from fastapi.responses import PlainTextResponse
from pydantic import Field

from app.rest.door import After, Limit, OpenWork, requires, row_id
from app.rest.pages import Input, Items, Shape, page_keyset, to_page
from app.rest.route import Route
from app.sis import models
from app.sis.engine.report import Refusal
from app.sis.runs import quarantine, queries


class CsvResponse(PlainTextResponse):
    """A response in CSV."""

    media_type = "text/csv"


router = APIRouter(prefix="/v1", tags=["sync"], route_class=Route)


class QuarantinedRow(Shape):
    """A row that was refused: its place and the reason, never its content."""

    id: str = Field(description="The id by which the row is acknowledged.")
    file: str = Field(description="The file of the zip, or the collection of the OneRoster service.")
    row: int = Field(description="The row's number; the header is row 1.")
    sourced_id: str | None = Field(description="The row's sourcedId, if it has one that can be read.")
    field: str
    code: str = Field(description="The fault; docs/sync.md explains each code.")
    acknowledged: bool = Field(description="Whether a person has acknowledged the row as it is.")

    @classmethod
    def of_refusal(cls, row: Refusal) -> "QuarantinedRow":
        """Returns the response model of a refused row."""
        return cls(
            id=str(row.id),
            file=row.file,
            row=row.row,
            sourced_id=row.sourced_id,
            field=row.field,
            code=row.code,
            acknowledged=row.acknowledged,
        )


class Acknowledgement(Input):
    """The quarantined rows to acknowledge."""

    rows: list[UUID] | None = Field(
        default=None, max_length=1000, description="The ids of the rows; without them, all rows of the run."
    )


class AcknowledgedRows(Shape):
    """The number of rows that were acknowledged."""

    acknowledged: int = Field(description="Rows that were not acknowledged before.")


@router.get("/sync-runs/{run}/quarantine", operation_id="list_quarantine", **requires(queries.run, queries.quarantine))
async def list_quarantine(
    work: OpenWork, request: Request, response: Response, run: str, after: After = None, limit: Limit = None
) -> Items[QuarantinedRow]:
    """Lists the rows that a run refused."""
    source_run = await queries.run(work, row_id("run", run))
    keyset = page_keyset(work, "quarantine", {"run": source_run.run.id}, after, limit)
    page = await queries.quarantine(work, keyset, source_run.run.id)
    items, next_cursor = to_page(request, response, page, _quarantined)
    return Items(items=items, next=next_cursor)


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


@router.post(
    "/sync-runs/{run}/quarantine/acknowledge",
    operation_id="acknowledge_quarantine",
    **requires(quarantine.acknowledge_rows),
)
async def acknowledge_quarantine(work: OpenWork, run: str, body: Acknowledgement) -> AcknowledgedRows:
    """Acknowledges refused rows: later runs do not count them until their content or their fault changes."""
    return AcknowledgedRows(acknowledged=await quarantine.acknowledge_rows(work, row_id("run", run), body.rows))


def _quarantined(row: models.SisQuarantine) -> QuarantinedRow:
    return QuarantinedRow(
        id=str(row.id),
        file=row.file,
        row=row.row_number,
        sourced_id=row.sourced_id,
        field=row.field,
        code=row.code,
        acknowledged=row.acknowledged,
    )
