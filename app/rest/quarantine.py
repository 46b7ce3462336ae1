"""Serves in REST, as a CSV file, the rows that a sync run refused. Defines the responses in CSV."""

from collections.abc import AsyncIterator
from typing import Any

from fastapi import APIRouter, Response
from fastapi.responses import PlainTextResponse
from starlette.responses import StreamingResponse

from app.core.csv_file import BOM
from app.rest.door import OpenWork, requires, row_id
from app.rest.route import Route
from app.sis.runs import quarantine


class CsvResponse(PlainTextResponse):
    """A response in CSV: a text or bytes in UTF-8, sent after a byte order mark."""

    media_type = "text/csv"

    def render(self, content: Any) -> bytes:
        """Returns the body of the response: a byte order mark and the text in UTF-8."""
        return BOM.encode() + bytes(super().render(content))


class CsvStream(StreamingResponse):
    """A response in CSV that is sent in parts, after a byte order mark."""

    media_type = CsvResponse.media_type

    def __init__(self, parts: AsyncIterator[str]) -> None:
        super().__init__(_marked(parts))


async def _marked(parts: AsyncIterator[str]) -> AsyncIterator[str]:
    yield BOM
    async for part in parts:
        yield part


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
