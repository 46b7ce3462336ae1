"""Owns sync runs in REST: shapes and routes, no rule."""

from datetime import datetime
from typing import Any

from fastapi import APIRouter, Request, Response
from pydantic import Field

from app.core import ids
from app.rest.door import After, Limit, Opened, StudentPath, asks, row_id
from app.rest.pages import Input, Items, Shape, paged, place
from app.roster.queries import find_student
from app.sis import answer, models, queries

router = APIRouter(prefix="/v1", tags=["sync"])


class SyncRun(Shape):
    """One sync: what it did, or why it left everything as it was."""

    id: str
    source: str
    state: str = Field(description="running, applied, held, approved, discarded, failed or dry.")
    sentence: str = Field(description="In plain words.")
    began_at: datetime
    ended_at: datetime | None
    counts: dict[str, Any] = Field(description="By kind.")
    warnings: list[Any]


class Approval(Input):
    """The plan that was read, and how much of it is wanted."""

    plan: str = Field(max_length=64, description="The `plan` that the report shows: it is refused if it is another.")
    without_removals: bool = Field(default=False, description="Nobody and nothing is removed.")


class QuarantinedRow(Shape):
    """A row that was not taken: its place and why, never what it says."""

    file: str
    row: int = Field(description="The header is row 1.")
    field: str
    code: str


class SyncReport(SyncRun):
    """A run with what a person needs to answer it."""

    held_because: list[str] = Field(description="The guard's reasons, a sentence each.")
    plan: str | None = Field(description="What an approval names; null where no plan waits.")
    not_taken: list[str] = Field(description="Files that came and that this version does not take.")
    first_quarantined: list[QuarantinedRow]


class SyncStep(Shape):
    """What one sync did to the student, or to an enrollment."""

    run: str
    source: str
    at: datetime
    kind: str = Field(description="person or enrollment.")
    action: str = Field(description="create, update, restore, remove (marked as deleted) or absent (came no more).")
    class_id: str | None = Field(description="Of an enrollment.")
    sentence: str = Field(description="In plain words.")


class SyncHistory(Shape):
    """Everything that syncs did to one student, newest first."""

    student: str
    departed: bool
    steps: list[SyncStep]


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


@router.get("/sync-runs/{run}/report", operation_id="get_sync_report", **asks(queries.run, queries.read_report))
async def get_sync_report(work: Opened, run: str) -> SyncReport:
    """What a run did or would do, and its plan where it is held."""
    found = await queries.run(work, row_id("run", run))
    report = await queries.read_report(work, found.run.id)
    return SyncReport(
        **_run(found).model_dump(),
        held_because=report.held_because,
        plan=report.plan and report.plan["digest"],
        not_taken=report.not_taken,
        first_quarantined=[
            QuarantinedRow(file=one.file, row=one.row, field=one.field, code=one.code) for one in report.refusals
        ],
    )


@router.get(
    "/students/{student}/sync-history", operation_id="get_sync_history", **asks(find_student, queries.history_of)
)
async def get_sync_history(work: Opened, student: StudentPath) -> SyncHistory:
    """What every sync did to a student and the student's enrollments: why somebody is there, or is not."""
    await find_student(work, student)  # who is out of reach is not there, whatever else is lacking
    person, steps = await queries.history_of(work, student)
    return SyncHistory(
        student=ids.show("student", person.id),
        departed=person.removed_at is not None,
        steps=[
            SyncStep(
                run=ids.show("run", step.run.run.id),
                source=step.run.source,
                at=step.run.run.ended_at or step.run.run.began_at,
                kind=step.kind,
                action=step.action,
                class_id=step.class_id and ids.show("class", step.class_id),
                sentence=step.sentence,
            )
            for step in steps
        ],
    )


@router.post("/sync-runs/{run}/approve", operation_id="approve_sync_run", **asks(answer.approve, queries.run))
async def approve_sync_run(work: Opened, run: str, body: Approval) -> SyncRun:
    """Approves a held run; it is applied shortly after, unless the roster has changed since."""
    run_id = row_id("run", run)
    await answer.approve(work, run_id, body.plan, body.without_removals)
    return _run(await queries.run(work, run_id))


@router.post("/sync-runs/{run}/discard", operation_id="discard_sync_run", **asks(answer.discard, queries.run))
async def discard_sync_run(work: Opened, run: str) -> SyncRun:
    """Discards a held run; the roster stays as it is."""
    run_id = row_id("run", run)
    await answer.discard(work, run_id)
    return _run(await queries.run(work, run_id))


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
