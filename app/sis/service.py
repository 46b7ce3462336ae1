"""Runs the steps of a sync: takes the lock, creates the run, plans, checks the limits, applies, and reports.

It is independent of the format of a source. This file exceeds 250 lines so that the whole course of a run is in one
place.
"""

# only our own names are formatted into statements; values are bound

import asyncio
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any
from uuid import UUID

import structlog
from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncEngine

from app.access.models import District
from app.access.permission import Can
from app.access.principal import Principal, system_principal
from app.access.work import Work, needs, unit
from app.agenda.departures import follow_teams
from app.core.clock import now
from app.core.crypto import Keyring
from app.core.disk_space import is_database_full, is_full
from app.core.errors import Conflict, NotFound, StorageFull
from app.core.ids import new_id
from app.events.outbox import record_of_students
from app.group.movers import follow_supports
from app.roster.lookup import today_of
from app.roster.models import Source as RosterSource
from app.signal.progress import mark_due
from app.sis.engine import report as reporting
from app.sis.engine.apply import apply_all, students_of_results
from app.sis.engine.intake.grades import with_text_scores
from app.sis.engine.intake.load import drop_raw
from app.sis.engine.lease import district_sync_lease
from app.sis.engine.plan import keep_plan
from app.sis.engine.report import Report
from app.sis.engine.review.changes import list_changes
from app.sis.engine.review.people import review_people, set_aside_people
from app.sis.engine.review.planning import name_all_quarantined, plan_kinds
from app.sis.engine.review.schools import keep_in_schools, keep_schools
from app.sis.engine.review.scope import SourceScope, scope_of
from app.sis.engine.run import (
    EXITS,
    RunRequest,
    begin,
    conclude,
    end,
    kinds_left_out,
    limits_in_force,
    lock_district_writes,
    require_current_claim,
)
from app.sis.engine.scores.delivery import import_scores
from app.sis.engine.scores.mapping import follow_results
from app.sis.engine.stage import Stage
from app.sis.guard import GuardLimits
from app.sis.guard import weigh as weigh_plan
from app.sis.kinds import BY_NAME, KINDS, SCORE
from app.sis.models import SisRun
from app.sis.oneroster_csv.archive import open_zip
from app.sis.oneroster_csv.scores import open_scores
from app.sis.port import (
    NothingNew,
    OpenedSource,
    Opener,
    Progress,
    RosterBusy,
    SourceInconsistent,
    SourceRefused,
)
from app.sis.rules import RunState

ROSTER_CSV, SCORES_CSV = "oneroster-csv", "scores-csv"
WHOLE = SourceScope()  # all schools and all users
KEPT_SIZE = 64 << 20  # bytes; the assumed size of a kept plan, whose files no longer exist
log = structlog.get_logger()


async def sync_csv(
    engine: AsyncEngine,
    keyring: Keyring,
    district_id: UUID,
    file: Path,
    source_name: str,
    dry: bool,
    progress: Progress,
    limits: GuardLimits | None = None,
    leave_out: Collection[str] = (),
    scope: SourceScope = WHOLE,
) -> Report:
    """Syncs a district's roster from a OneRoster CSV zip on this machine. Parameters and errors are those of `sync`."""

    @asynccontextmanager
    async def opener() -> AsyncIterator[OpenedSource]:
        with open_zip(file, leave_out) as source:
            yield source

    return await sync(
        engine, keyring, district_id, opener, source_name, dry, progress, limits, leave_out=leave_out, scope=scope
    )


async def sync_scores(
    engine: AsyncEngine,
    keyring: Keyring,
    district_id: UUID,
    file: Path,
    source_name: str,
    dry: bool,
    progress: Progress,
    scope: SourceScope = WHOLE,
) -> Report:
    """Imports a CSV file of scores on this machine. The parameters and the errors are those of `sync`."""

    @asynccontextmanager
    async def opener() -> AsyncIterator[OpenedSource]:
        with open_scores(file) as source:
            yield source

    return await sync(engine, keyring, district_id, opener, source_name, dry, progress, kind=SCORES_CSV, scope=scope)


async def sync(
    engine: AsyncEngine,
    keyring: Keyring,
    district_id: UUID,
    opener: Opener,
    source_name: str,
    dry: bool,
    progress: Progress,
    limits: GuardLimits | None = None,
    request: RunRequest = RunRequest(),
    leave_out: Collection[str] = (),
    kind: str = ROSTER_CSV,
    scope: SourceScope = WHOLE,
) -> Report:
    """Syncs a district from the source that `opener` opens, as role `worker`, and returns the report.

    No transaction is open while the source is fetched. `limits` replace the source's own limits on changes. `leave_out`
    adds kinds of record to those that the source's settings leave out. `scope` restricts the run more than the settings
    do. `kind` is the kind of the source. With `dry`, nothing is applied. If the source is refused, the report's state
    is `failed`; if the source has nothing new, it is `skipped`.

    Raises `AlreadyRunning` while another sync of the district runs, and `Superseded` if another one has begun after
    this run lost its lease. Raises `NotFound` for an unknown district, `Conflict` if a source of scores is to deliver a
    roster or the other way around, and `StorageFull` if a disk is full. After any error the roster is unchanged.
    """
    principal = system_principal(district_id, "sync")

    async with district_sync_lease(engine, keyring, district_id):
        report = Report(request.run_id or new_id(), began_at=now(), mode=request.mode)
        async with unit(engine, principal, keyring, "sync begins") as work:
            source_id = await _open_run(work, report, source_name, kind, dry, request)
        try:
            async with opener() as source:
                async with unit(engine, principal, keyring, "sync") as work:
                    await lock_district_writes(work)
                    await require_current_claim(work, report.run_id, request.claim_number)
                    effective = limits or await limits_in_force(work, source_id)
                    narrowed = (await scope_of(work, source_id)).narrowed(scope)
                    await _stage_and_apply(
                        work, report, source_id, source, dry, progress, effective, leave_out, narrowed
                    )
                    await end(work, report, claim_number=request.claim_number)
            if report.state == RunState.APPLIED and report.overturned:
                async with unit(engine, principal, keyring, "sync statistics") as work:
                    await refresh_statistics(work, report.overturned)
        except NothingNew as error:
            report.state, report.sentence, report.exit_code = RunState.SKIPPED, error.detail, EXITS["done"]
            report.ended_at = now()
            async with unit(engine, principal, keyring, "sync skipped") as work:
                await end(work, report, claim_number=request.claim_number)
        except (SourceRefused, SourceInconsistent) as error:
            if isinstance(error, RosterBusy) and request.run_id is not None:
                raise  # the worker attempts the run again
            exit_name = "refused" if isinstance(error, SourceRefused) else "inconsistent"
            report.sentence, report.exit_code = f"{error.detail} Nothing was changed.", EXITS[exit_name]
            await _fail(engine, principal, keyring, report, request.claim_number)
        except (Exception, asyncio.CancelledError) as error:
            interrupted = isinstance(error, asyncio.CancelledError)
            if interrupted and request.run_id is not None:
                raise  # the worker is ending; another worker will execute the run
            storage_error = _storage_error(error)
            if request.run_id is not None:  # the worker decides whether it is attempted again
                if storage_error is not None:
                    log.error("syncs.disk_full", run=str(report.run_id), detail=storage_error.detail)
                    raise storage_error from error
                raise
            report.sentence = f"The sync {'was interrupted' if interrupted else 'broke off'}. Nothing was changed."
            if storage_error is not None:
                report.sentence = f"{storage_error.detail} Nothing was changed."
                log.error("syncs.disk_full", run=str(report.run_id), detail=storage_error.detail)
            with suppress(Exception):
                await _fail(engine, principal, keyring, report, request.claim_number)
            if storage_error is not None:
                raise storage_error from None
            raise
    return report


class _RehearsalEnds(Exception):
    """Raised at the end of a rehearsal (a run that is only tried), to roll back its transaction."""


async def rehearse(
    engine: AsyncEngine, keyring: Keyring, district_id: UUID, source_id: UUID, source: OpenedSource
) -> Report:
    """Plans the changes of a run from a source that is already open, rolls everything back, and returns the report.

    Takes no lease, so a rehearsal does not wait for a run, and a run does not wait for a rehearsal. Raises
    `SourceRefused`.
    """
    report = Report(new_id(), began_at=now())
    with suppress(_RehearsalEnds):
        async with unit(engine, system_principal(district_id, "sync"), keyring, "sync rehearsal") as work:
            await _rehearse(work, report, source_id, source)
            raise _RehearsalEnds
    return report


@needs(Can.SYNC_ROSTER)
async def _rehearse(work: Work, report: Report, source_id: UUID, source: OpenedSource) -> None:
    # Quarantined rows refer to a run's row. The row that is created here is rolled back together with them.
    run = SisRun(
        district_id=work.district_id,
        id=report.run_id,
        source_id=source_id,
        state=RunState.DRY,
        dry=True,
        began_at=report.began_at,
        counts={},
        warnings=[],
        sentence="",
    )
    work.db.add(run)
    await work.db.flush()
    limits, scope = await limits_in_force(work, source_id), await scope_of(work, source_id)
    await _stage_and_apply(work, report, source_id, source, True, lambda _step, _done, _of: None, limits, (), scope)


def _storage_error(error: BaseException) -> StorageFull | None:
    """Returns the error to report instead of `error` if a disk was full, otherwise None."""
    if is_database_full(error):
        return StorageFull("The disk of the PostgreSQL server is full: make room there, then run the sync again.")
    if is_full(error):
        return StorageFull(
            "The disk for temporary files of the machine that runs the sync is full: make room there, or set TMPDIR "
            "to a larger one, then run the sync again."
        )
    return None


@needs(Can.SYNC_ROSTER)
async def refresh_statistics(work: Work, kinds: Sequence[str]) -> None:
    """Makes PostgreSQL analyze the tables of these kinds of record again, so that it plans queries well.

    After a first load the tables are queried long before autovacuum would do this.
    """
    tables = ", ".join(sorted({*(BY_NAME[name].table for name in kinds), "external_id", "school_membership"}))
    await work.db.execute(text(f"ANALYZE {tables}"))


@needs(Can.SYNC_ROSTER)
async def _open_run(work: Work, report: Report, source_name: str, kind: str, dry: bool, request: RunRequest) -> UUID:
    """Creates the row of the run, and returns the id of its source. If the source is new, creates the source too."""
    district = await work.db.scalar(select(District.district_id).where(District.district_id == work.district_id))
    if district is None:
        raise NotFound("district")
    is_source = (RosterSource.district_id == work.district_id) & (RosterSource.name == source_name)
    source = (await work.db.execute(select(RosterSource.id, RosterSource.kind).where(is_source))).one_or_none()
    if source is not None and (source.kind == SCORES_CSV) != (kind == SCORES_CSV):
        raise Conflict(f"The source {source_name} is of the kind {source.kind}.", code="source.kind")
    source_id: UUID = new_id() if source is None else source.id
    if source is None:
        work.db.add(
            RosterSource(
                district_id=work.district_id,
                id=source_id,
                name=source_name,
                kind=kind,
                created_at=now(),
            )
        )
        await work.db.flush()
    await begin(work, report, source_id, dry, request=request)
    return source_id


@needs(Can.SYNC_ROSTER)
async def _stage_and_apply(
    work: Work,
    report: Report,
    source_id: UUID,
    source: OpenedSource,
    dry: bool,
    progress: Progress,
    limits: GuardLimits,
    leave_out: Collection[str],
    scope: SourceScope,
) -> None:
    """Plans the changes that the source's data require, and applies the plan unless it exceeds a limit and is held.

    `leave_out` has the kinds of record that are not imported. With `dry`, nothing is applied.
    """
    report.warnings += source.warnings
    report.not_taken += source.not_taken
    left_out = await kinds_left_out(work, source_id, leave_out)
    report.failed = sorted(getattr(source, "failed", ()))
    report.partial = list(getattr(source, "partial", ()))
    deliveries = {name: with_text_scores(each) for name, each in source.deliveries.items() if name not in left_out}
    is_full = bool(source.deliveries) and all(delivery.complete for delivery in source.deliveries.values())
    report.mode = getattr(source, "mode", None) or report.mode or ("full" if is_full else "delta")
    report.taken, report.pulled_at = getattr(source, "taken", None), getattr(source, "as_of", None) or report.began_at
    largest = max((delivery.size for delivery in deliveries.values()), default=0)
    stage = await open_stage(work, report.run_id, source_id, largest)
    if SCORE.name in deliveries:
        await import_scores(work, stage, deliveries[SCORE.name], report, dry, progress, limits, scope)
        await clear_stage(stage)
        return
    await plan_kinds(stage, deliveries, report, progress, scope)
    report.warnings += stage.notes
    forbidden, absent = (frozenset(getattr(source, name, ())) - left_out for name in ("forbidden", "absent"))
    reporting.keep_unread(report, forbidden, absent)
    progress("weighing the plan", 0, 0)
    await keep_schools(stage, report.kinds, deliveries)
    await keep_in_schools(stage, report.kinds, deliveries)
    await name_all_quarantined(stage, deliveries, report)
    review = await review_people(stage, report, deliveries)
    silent = left_out | set(report.failed)
    planned_kinds = [reporting.planned_kind(kind, report.kinds[kind.name], deliveries, silent) for kind in KINDS]
    people = report.kinds["person"].known
    shrunk = await reporting.find_shrunk_groups(stage, report.kinds)
    results = weigh_plan(planned_kinds, shrunk, review.rekeyed, people, limits, review.contradicted, len(review.reused))
    report.weighed = [asdict(result) for result in results]
    report.held_because += [result.sentence for result in results if result.held]
    rekeys = await set_aside_people(stage, review, report, deliveries, results)
    report.rekeys = [pair.as_json() for pair in rekeys]
    report.refusals += await reporting.first_refusals(stage)
    if not dry and not report.held_because:
        report.repaired = await apply_all(stage, deliveries, progress)
        report.warnings += await follow_results_and_signals(work, stage)
    conclude(report, dry)
    if report.state in (RunState.HELD, RunState.DRY):
        report.listed, notes = await list_changes(stage, deliveries, rekeys)
        report.warnings += notes
    if report.state == RunState.HELD:
        report.plan = await keep_plan(stage, deliveries)
    await clear_stage(stage)


@needs(Can.SYNC_ROSTER)
async def follow_results_and_signals(work: Work, stage: Stage) -> list[str]:
    """Updates the scores that come from results in the gradebook, and requests new signals for some students.

    A signal suggests to a team that a student needs attention. New signals are requested for the students whose results
    this run has changed. Returns the warnings for the report.
    """
    warnings = await follow_results(work, stage)
    await mark_due(work, await students_of_results(stage))
    return warnings


@needs(Can.SYNC_ROSTER)
async def open_stage(work: Work, run_id: UUID, source_id: UUID, largest: int) -> Stage:
    """Returns the object through which a run uses its staging tables, in this transaction.

    `largest` is the size in bytes of the run's largest file. It decides how much memory a statement may use.
    """
    driver: Any = (await (await work.db.connection()).get_raw_connection()).driver_connection
    # Hash joins of a large delivery must fit in memory, and a small delivery needs little. Staged rows have no
    # statistics, and with row-level security the planner expects one or two of them, so it would choose nested loops
    # even for a million rows. Nested loops are therefore off.
    memory = min(max(4 * largest >> 20, 16), 256)
    for setting in (f"work_mem = '{memory}MB'", "default_statistics_target = 10", "enable_nestloop = off"):
        await driver.execute(f"SET LOCAL {setting}")
    emit, supports = partial(record_of_students, work), partial(follow_supports, work)
    teams = partial(follow_teams, work)
    return Stage(driver, work.district_id, source_id, run_id, now(), await today_of(work), emit, supports, teams)


async def clear_stage(stage: Stage) -> None:
    """Deletes the staged rows of a run, except a plan or a map of old to new sourcedIds that waits for approval."""
    await stage.clear()
    await drop_raw(stage)


async def _fail(engine: AsyncEngine, principal: Principal, keyring: Keyring, report: Report, claim_number: int) -> None:
    """Records that a run has failed, after its transaction was rolled back. The counts in its report are deleted."""
    report.state, report.ended_at = RunState.FAILED, now()
    report.kinds.clear()
    report.refusals.clear()
    async with unit(engine, principal, keyring, "sync failed") as work:
        await end(work, report, claim_number=claim_number)
