"""Serves sync runs in REST."""

from datetime import datetime
from typing import Any
from uuid import UUID

from fastapi import APIRouter, Request, Response
from fastapi.responses import PlainTextResponse
from pydantic import Field

from app.core import ids
from app.rest.door import OpenWork, StudentPath, requires, row_id
from app.rest.pages import Shape
from app.rest.resources import SHAPES
from app.rest.route import Route
from app.roster.queries import find_staff, find_student
from app.sis import models
from app.sis.engine.report import Refusal
from app.sis.runs import history, queries
from app.sis.runs.resource import QuarantinedResource, RunResource
from app.sis.scheduler.report_text import next_steps, render_report

router = APIRouter(prefix="/v1", tags=["sync"], route_class=Route)
RUN, QUARANTINED = SHAPES.of(RunResource), SHAPES.of(QuarantinedResource)


class WeighedRule(Shape):
    """One limit on what a sync may change, with the number that was compared with it.

    The run is held, that is waits for approval, if the share `count` / `of` is above `limit` and more than `rows` rows
    are affected.
    """

    rule: str = Field(description="empty, removed, changed, refused, shrunk, rekeyed, reused or contradicted.")
    what: str
    count: int
    of: int
    limit: float
    rows: int
    held: bool
    sentence: str


class LikelyRekey(Shape):
    """A person of the roster who probably has another sourcedId in the SIS now."""

    old: str = Field(description="The known sourcedId.")
    new: str | None = Field(
        description="The sourcedId that the person has now; null if the old one was given to somebody else, and the "
        "source does not have the person any more."
    )
    by: str = Field(
        description="identifier, name and birth date, name and sourcedId, email or username (these with the given "
        "name); for a sourcedId that is now another person's, the fields that differ."
    )
    set_aside: bool = Field(
        description="Whether the known person stays and the delivered row waits, because there are records about "
        "the known person."
    )
    reused: bool = Field(default=False, description="Whether the old sourcedId is now another person's.")


class RekeyPlan(Shape):
    """How many people of a held run (one that waits for approval) are matched with a new sourcedId.

    If the caller gave a map, only the people in the map are counted. Otherwise all people that the held run would
    remove or create are counted.
    """

    of: str = Field(description="The id of the held run whose people these are.")
    by: str = Field(description="How they are matched: by identifier, email, or map for a map that was given.")
    gone: int = Field(description="People that the held run would remove.")
    came: int = Field(description="People that the held run would create.")
    matched: int = Field(description="People who continue under their new sourcedId once the plan is approved.")
    ambiguous: int = Field(description="Removed people with more than one possible match; they stay as they are.")
    unmatched: int = Field(description="Removed people without a match.")
    roles: int = Field(default=0, description="Roles of OneRoster 1.2 that move to the new sourcedIds of their people.")


class SyncReport(RUN):  # type: ignore[valid-type,misc]  # made at run time
    """A run with everything that somebody needs to approve or discard its plan."""

    held_because: list[str] = Field(description="The guard's reasons, one sentence each.")
    plan: str | None = Field(description="The plan's digest, which an approval names; null where no plan is waiting.")
    rekey: RekeyPlan | None = Field(description="The pending map of sourcedIds, in numbers.")
    not_taken: list[str] = Field(description="Files of the delivery that this version does not read.")
    repaired: dict[str, int] = Field(
        description="Records, by table, that had other schools than their student; the sync corrected them."
    )
    weighed: list[WeighedRule] = Field(
        description="Every limit of the guard, with the number that it was compared with."
    )
    rekeys: list[LikelyRekey] = Field(
        description="People who likely have another sourcedId now, and whose sourcedId may be another person's."
    )
    exit_code: int = Field(description="The exit code of the command line for the run in its state; 4 while held.")
    first_quarantined: list[QUARANTINED] = Field(description="The first rows that were refused.")  # type: ignore[valid-type]  # made at run time
    next: list[str] = Field(description="The operations by which a person can decide about the run.")


class SyncStep(Shape):
    """What one sync did to a person or an enrollment."""

    run: str
    source: str
    at: datetime
    kind: str = Field(description="person or enrollment.")
    action: str = Field(description="create, update, restore, remove (marked as deleted) or absent (no longer sent).")
    class_id: str | None = Field(description="The class of an enrollment.")
    sentence: str = Field(description="The step in one sentence.")


class SyncHistory(Shape):
    """Everything that syncs did to one student, newest first."""

    student: str
    departed: bool
    steps: list[SyncStep]


class StaffSyncHistory(Shape):
    """Everything that syncs did to one person who is not a student, newest first."""

    person: str
    departed: bool
    steps: list[SyncStep]


AS_TEXT = {200: {"content": {"text/plain": {"schema": {"type": "string"}}}}}


@router.get(
    "/sync-runs/{run}/report",
    operation_id="get_sync_report",
    **requires(queries.run, queries.read_report, answers=AS_TEXT),
)
async def get_sync_report(work: OpenWork, request: Request, run: str) -> SyncReport:
    """Returns what a run did or would do. If the run is held, waiting for approval, its plan is included.

    Clients that accept text/plain get the report as text.
    """
    source_run = await queries.run(work, row_id("run", run))
    report = await queries.read_report(work, source_run.run.id)
    if "text/plain" in request.headers.get("accept", ""):
        return PlainTextResponse(render_report(report))  # type: ignore[return-value]  # FastAPI sends a response unchanged
    return SyncReport(
        **_run(source_run),
        held_because=report.held_because,
        plan=report.plan and report.plan["digest"],
        rekey=_rekey(report.plan),
        not_taken=report.not_taken,
        repaired=report.repaired,
        weighed=[WeighedRule(**item) for item in report.weighed],
        next=next_steps(report),
        rekeys=[LikelyRekey(**pair) for pair in report.rekeys],
        exit_code=report.exit_code,
        first_quarantined=[_refused(item) for item in report.refusals],
    )


@router.get(
    "/students/{student}/sync-history", operation_id="get_sync_history", **requires(find_student, history.history_of)
)
async def get_sync_history(work: OpenWork, student: StudentPath) -> SyncHistory:
    """Returns what every sync did to a student and the student's enrollments.

    Shows why the student is listed or not.
    """
    await find_student(work, student)  # answers 404 for a student out of reach, whatever else the caller lacks
    person, steps = await history.history_of(work, student)
    return SyncHistory(
        student=ids.format_id("student", person.id),
        departed=person.removed_at is not None,
        steps=[_step(step) for step in steps],
    )


@router.get(
    "/staff/{person}/sync-history", operation_id="get_staff_sync_history", **requires(find_staff, history.history_of)
)
async def get_staff_sync_history(work: OpenWork, person: str) -> StaffSyncHistory:
    """Returns what every sync did to a person who is not a student, and to the person's enrollments."""
    member = await find_staff(work, person)  # refuses students, whose history has its path under /students
    subject, steps = await history.history_of(work, ids.format_id("person", member.id))
    return StaffSyncHistory(
        person=ids.format_id("person", subject.id),
        departed=subject.removed_at is not None,
        steps=[_step(step) for step in steps],
    )


async def accepted_run(work: OpenWork, response: Response, run: models.SisRun) -> Shape:
    """Returns a run that was just requested, and sets the Location header to its address."""
    response.headers["Location"] = f"/v1/sync-runs/{ids.format_id('run', run.id)}"
    return RUN(**_run(await queries.run(work, run.id)))


def _run(source_run: queries.RunOfSource) -> dict[str, Any]:
    return {
        "id": ids.format_id("run", source_run.run.id),
        "source": source_run.source,
        "state": source_run.run.state,
        "mode": source_run.run.mode,
        "asked_by": source_run.run.asked_by,
        "sentence": source_run.sentence,
        "began_at": source_run.run.began_at,
        "ended_at": source_run.run.ended_at,
        "counts": source_run.run.counts,
        "warnings": source_run.run.warnings,
        "listed": source_run.run.listed,
    }


def _step(step: history.HistoryEntry) -> SyncStep:
    return SyncStep(
        run=ids.format_id("run", step.run.run.id),
        source=step.run.source,
        at=step.run.run.ended_at or step.run.run.began_at,
        kind=step.kind,
        action=step.action,
        class_id=step.class_id and ids.format_id("class", step.class_id),
        sentence=step.sentence,
    )


def _rekey(plan: dict[str, Any] | None) -> RekeyPlan | None:
    if plan is None or "rekey" not in plan:
        return None
    return RekeyPlan(**{**plan["rekey"], "of": ids.format_id("run", UUID(plan["rekey"]["of"]))})


def _refused(row: Refusal) -> Shape:
    return QUARANTINED(
        id=str(row.id),
        file=row.file,
        row=row.row,
        sourced_id=row.sourced_id,
        field=row.field,
        code=row.code,
        acknowledged=row.acknowledged,
    )
