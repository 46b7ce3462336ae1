"""Owns sync runs in REST: shapes and routes, no rule. Over 250 lines: runs, reports and answers share shapes."""

from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from fastapi import APIRouter, Request, Response
from fastapi.responses import PlainTextResponse
from pydantic import Field

from app.core import ids
from app.rest.door import After, Limit, Opened, StudentPath, asks, row_id
from app.rest.pages import Input, Items, Shape, paged, place
from app.rest.route import Route
from app.roster.queries import find_staff, find_student
from app.sis import models
from app.sis.runs import approval, pull, queries
from app.sis.scheduler.report_text import next_steps, render_report

router = APIRouter(prefix="/v1", tags=["sync"], route_class=Route)


class SyncRun(Shape):
    """One sync: what it did, or why it left everything as it was."""

    id: str
    source: str
    state: str = Field(
        description="pending, running, applied, held, approved, discarded, failed, dry, or skipped (nothing new)."
    )
    mode: str | None = Field(description="full or delta, where it is known; rekey for a map of new sourcedIds.")
    asked_by: str | None = Field(description="Who asked for it; `schedule` for the schedule.")
    sentence: str = Field(description="In plain words.")
    began_at: datetime
    ended_at: datetime | None
    counts: dict[str, Any] = Field(description="By kind.")
    warnings: list[Any]


class Approval(Input):
    """The plan that was read, and how much of it is wanted."""

    plan: str = Field(max_length=64, description="The `plan` that the report shows: it is refused if it is another.")
    without_removals: bool = Field(default=False, description="Nobody and nothing is removed.")


class NewRun(Input):
    """A run that is asked for."""

    source: str = Field(max_length=64, description="A source's id.")
    mode: Literal["full", "delta"] | None = Field(
        default=None, description="Without it, the source's schedule for full runs says which."
    )
    dry: bool = Field(default=False, description="Plan and report, and write nothing.")


class WeighedRule(Shape):
    """One rule of the guard against what was found: held above the share `limit` and the floor `rows`."""

    rule: str = Field(description="empty, removed, changed, refused, shrunk or rekeyed.")
    what: str
    count: int
    of: int
    limit: float
    rows: int
    held: bool
    sentence: str


class SyncChange(Shape):
    """A row that a run changed; never how it was."""

    id: str
    kind: str
    row: str | None = Field(description="Its id, where faces show it by one.")
    action: str = Field(description="update, restore, remove (marked as deleted), absent (came no more) or rekey.")


class QuarantinedRow(Shape):
    """A row that was not taken: its place and why, never what it says."""

    file: str
    row: int = Field(description="The header is row 1.")
    field: str
    code: str


class RekeyPlan(Shape):
    """Who would go, and which of them are the same as people who would come under another sourcedId.

    Of a map that was given, the people whom it names.
    """

    of: str = Field(description="The held run whose people these are.")
    by: str = Field(description="What they are matched by: identifier, email, or map for one that was given.")
    gone: int = Field(description="People who would go.")
    came: int = Field(description="People who would come.")
    matched: int = Field(description="Who go on under their new sourcedId once this is approved.")
    ambiguous: int = Field(description="Of those who would go: cannot be told apart, and stay as they are.")
    unmatched: int = Field(description="Of those who would go: nobody who would come is the same.")
    roles: int = Field(default=0, description="Roles of OneRoster 1.2 that go on with their people.")


class SyncReport(SyncRun):
    """A run with what a person needs to answer it."""

    held_because: list[str] = Field(description="The guard's reasons, a sentence each.")
    plan: str | None = Field(description="What an approval names; null where no plan waits.")
    rekey: RekeyPlan | None = Field(description="The map of sourcedIds that waits, in numbers.")
    not_taken: list[str] = Field(description="Files that came and that this version does not take.")
    repaired: dict[str, int] = Field(
        description="Records, by table, that were in other schools than their student, and that the sync put right."
    )
    weighed: list[WeighedRule] = Field(description="The guard's limits against what was found.")
    first_quarantined: list[QuarantinedRow]
    next: list[str] = Field(description="What a person may do about it.")


class SyncStep(Shape):
    """What one sync did to the person, or to an enrollment."""

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


class StaffSyncHistory(Shape):
    """Everything that syncs did to one person who is no student, newest first."""

    person: str
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


@router.get("/sync-runs/{run}/changes", operation_id="list_sync_changes", **asks(queries.run, queries.changes))
async def list_sync_changes(
    work: Opened, request: Request, response: Response, run: str, after: After = None, limit: Limit = None
) -> Items[SyncChange]:
    """Which rows a run changed, removed or restored, and how; those within the caller's reach."""
    found = await queries.run(work, row_id("run", run))
    page = await queries.changes(work, place(work, "sync-changes", {"run": found.run.id}, after, limit), found.run.id)
    items, then = paged(request, response, page, _change)
    return Items(items=items, next=then)


@router.get("/sync-runs/{run}/report", operation_id="get_sync_report", **asks(queries.run, queries.read_report))
async def get_sync_report(work: Opened, request: Request, run: str) -> SyncReport:
    """What a run did or would do, and its plan where it is held. As text/plain where that is asked for."""
    found = await queries.run(work, row_id("run", run))
    report = await queries.read_report(work, found.run.id)
    if "text/plain" in request.headers.get("accept", ""):
        return PlainTextResponse(render_report(report))  # type: ignore[return-value]  # FastAPI sends a response as it is
    return SyncReport(
        **_run(found).model_dump(),
        held_because=report.held_because,
        plan=report.plan and report.plan["digest"],
        rekey=_rekey(report.plan),
        not_taken=report.not_taken,
        repaired=report.repaired,
        weighed=[WeighedRule(**one) for one in report.weighed],
        next=next_steps(report),
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
        steps=[_step(step) for step in steps],
    )


@router.get(
    "/staff/{person}/sync-history", operation_id="get_staff_sync_history", **asks(find_staff, queries.history_of)
)
async def get_staff_sync_history(work: Opened, person: str) -> StaffSyncHistory:
    """What every sync did to a person who is no student, and to the person's enrollments."""
    found = await find_staff(work, person)  # a student's history stays behind the student's own path
    of, steps = await queries.history_of(work, ids.show("person", found.id))
    return StaffSyncHistory(
        person=ids.show("person", of.id),
        departed=of.removed_at is not None,
        steps=[_step(step) for step in steps],
    )


@router.post("/sync-runs/{run}/approve", operation_id="approve_sync_run", **asks(approval.approve, queries.run))
async def approve_sync_run(work: Opened, run: str, body: Approval) -> SyncRun:
    """Approves a held run; it is applied shortly after, unless the roster has changed since."""
    run_id = row_id("run", run)
    await approval.approve(work, run_id, body.plan, body.without_removals)
    return _run(await queries.run(work, run_id))


@router.post("/sync-runs", status_code=202, operation_id="ask_for_sync", **asks(pull.request_run, queries.run))
async def ask_for_sync(work: Opened, response: Response, asked: NewRun) -> SyncRun:
    """Asks for a sync of a source; the worker carries it out. 409 while one waits or runs."""
    source_id = ids.read("source", asked.source, "/source")
    run = await pull.request_run(work, source_id, asked.mode, dry=asked.dry, pointer="/source")
    return await asked_for(work, response, run)


@router.post(
    "/sync-runs/{run}/undo", status_code=202, operation_id="undo_sync_run", **asks(pull.request_undo, queries.run)
)
async def undo_sync_run(work: Opened, response: Response, run: str) -> SyncRun:
    """Asks for an applied run to be taken back, as a run of its own; 409 where a later one changed the same rows."""
    return await asked_for(work, response, await pull.request_undo(work, row_id("run", run)))


async def asked_for(work: Opened, response: Response, run: models.SisRun) -> SyncRun:
    """What is said of a run that was asked for, and where it can be looked at."""
    response.headers["Location"] = f"/v1/sync-runs/{ids.show('run', run.id)}"
    return _run(await queries.run(work, run.id))


@router.post("/sync-runs/{run}/discard", operation_id="discard_sync_run", **asks(approval.discard, queries.run))
async def discard_sync_run(work: Opened, run: str) -> SyncRun:
    """Discards a held run; the roster stays as it is."""
    run_id = row_id("run", run)
    await approval.discard(work, run_id)
    return _run(await queries.run(work, run_id))


def _run(found: queries.RunOfSource) -> SyncRun:
    return SyncRun(
        id=ids.show("run", found.run.id),
        source=found.source,
        state=found.run.state,
        mode=found.run.mode,
        asked_by=found.run.asked_by,
        sentence=found.sentence,
        began_at=found.run.began_at,
        ended_at=found.run.ended_at,
        counts=found.run.counts,
        warnings=found.run.warnings,
    )


def _step(step: queries.HistoryEntry) -> SyncStep:
    return SyncStep(
        run=ids.show("run", step.run.run.id),
        source=step.run.source,
        at=step.run.run.ended_at or step.run.run.began_at,
        kind=step.kind,
        action=step.action,
        class_id=step.class_id and ids.show("class", step.class_id),
        sentence=step.sentence,
    )


def _rekey(plan: dict[str, Any] | None) -> RekeyPlan | None:
    if plan is None or "rekey" not in plan:
        return None
    return RekeyPlan(**{**plan["rekey"], "of": ids.show("run", UUID(plan["rekey"]["of"]))})


def _quarantined(row: models.SisQuarantine) -> QuarantinedRow:
    return QuarantinedRow(file=row.file, row=row.row_number, field=row.field, code=row.code)


def _change(found: queries.ChangeOfRun) -> SyncChange:
    return SyncChange(id=str(found.id), kind=found.kind, row=found.row and ids.show(*found.row), action=found.action)
