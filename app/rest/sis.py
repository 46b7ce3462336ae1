"""Owns sync runs in REST: shapes and routes, no rule."""

from datetime import datetime
from typing import Any

from fastapi import APIRouter, Request, Response
from pydantic import Field

from app.core import ids
from app.rest.door import After, Limit, Opened, asks, row_id
from app.rest.pages import Items, Shape, paged, place
from app.sis import models, queries

router = APIRouter(prefix="/v1", tags=["sync"])


class SyncRun(Shape):
    """One sync: what it did, or why it left everything as it was."""

    id: str
    source: str
    state: str = Field(description="running, applied, held, failed or dry.")
    sentence: str = Field(description="In plain words.")
    began_at: datetime
    ended_at: datetime | None
    counts: dict[str, Any] = Field(description="By kind.")
    warnings: list[Any]


class QuarantinedRow(Shape):
    """A row that was not taken: its place and why, never what it says."""

    file: str
    row: int = Field(description="The header is row 1.")
    field: str
    code: str


@router.get("/sync-runs", operation_id="list_sync_runs", **asks(queries.runs))
async def list_sync_runs(
    work: Opened, request: Request, response: Response, after: After = None, limit: Limit = None
) -> Items[SyncRun]:
    """The district's sync runs, newest first."""
    page = await queries.runs(work, place(work, "sync-runs", {}, after, limit))
    items, then = paged(request, response, page, _run)
    return Items(items=items, next=then)


@router.get("/sync-runs/{run}", operation_id="get_sync_run", **asks(queries.run))
async def get_sync_run(work: Opened, run: str) -> SyncRun:
    """One sync run."""
    return _run(await queries.run(work, row_id("run", run)))


@router.get("/sync-runs/{run}/quarantine", operation_id="list_quarantine", **asks(queries.run, queries.quarantine))
async def list_quarantine(
    work: Opened, request: Request, response: Response, run: str, after: After = None, limit: Limit = None
) -> Items[QuarantinedRow]:
    """The rows that a run could not take."""
    found = await queries.run(work, row_id("run", run))
    keyset = place(work, "quarantine", {"run": found.run.id}, after, limit)
    page = await queries.quarantine(work, keyset, found.run.id)
    items, then = paged(request, response, page, _quarantined)
    return Items(items=items, next=then)


def _run(found: queries.RunOfSource) -> SyncRun:
    return SyncRun(
        id=ids.show("run", found.run.id),
        source=found.source,
        state=found.run.state,
        sentence=found.run.sentence,
        began_at=found.run.began_at,
        ended_at=found.run.ended_at,
        counts=found.run.counts,
        warnings=found.run.warnings,
    )


def _quarantined(row: models.SisQuarantine) -> QuarantinedRow:
    return QuarantinedRow(file=row.file, row=row.row_number, field=row.field, code=row.code)
