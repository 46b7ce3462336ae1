"""Owns what is answered to a held run: approve its plan, or discard it; carries the answer out. Never plans anew.

A face only marks the answer, since it reaches no staging; the worker, or the command line at once, carries it out.
"""

from uuid import UUID

import asyncpg
from sqlalchemy import select, text, update
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine

from app.access.directory import NOBODY
from app.access.permission import Can
from app.access.principal import house_principal
from app.access.work import Work, needs, unit
from app.core.clock import now
from app.core.crypto import Keyring
from app.core.db import lay_binding
from app.core.errors import Conflict, NotFound
from app.sis.apply import apply_all
from app.sis.kinds import AlreadyRunning, Progress, SourceInconsistent
from app.sis.models import SisRun
from app.sis.plan import digest, kept_deliveries, leave_removals
from app.sis.queries import read_report
from app.sis.queries import run as find_run
from app.sis.service import EXITS, MANY, alone, conclude, drop_kept, end, open_stage, refresh_statistics
from app.sis.weigh import Report

KEPT_SIZE = 64 << 20  # bytes: how large a plan is taken for, whose files are no longer there
DISTRICTS = 16  # in one look


class RosterChanged(SourceInconsistent):
    """The plan that was approved no longer fits the roster."""

    code = "run.roster_changed"


@needs(Can.APPROVE_SYNC)
async def approve(work: Work, run_id: UUID, plan: str, without_removals: bool) -> None:
    """Marks a held run as approved. `plan` is the digest that the report shows.

    Raises `NotFound`, and `Conflict` where the run is not held or its plan is another than the one that was read.
    """
    run = await _held(work, run_id)
    if run.plan is None or run.plan["digest"] != plan:
        raise Conflict(
            "The plan is not the one that was read. Read the report again and name its plan.", code="run.plan_changed"
        )
    await _answer(work, run_id, "approved", "Approved; it will be applied shortly.", without_removals)


@needs(Can.APPROVE_SYNC)
async def discard(work: Work, run_id: UUID) -> None:
    """Discards a held run. Raises `NotFound`, and `Conflict` where the run is not held."""
    await _held(work, run_id)
    await _answer(work, run_id, "discarded", "Discarded. The roster is as it was.", False)


@needs(Can.APPROVE_SYNC)
async def _held(work: Work, run_id: UUID) -> SisRun:
    run = await work.db.scalar(select(SisRun).where(SisRun.district_id == work.district_id, SisRun.id == run_id))
    if run is None:
        raise NotFound("run")
    if run.state != "held":
        raise Conflict(f"The run is {run.state}: only one that is held can be answered.", code="run.not_held")
    return run


@needs(Can.APPROVE_SYNC)
async def _answer(work: Work, run_id: UUID, state: str, sentence: str, without_removals: bool) -> None:
    answer = {"verb": state, "by": work.principal.name, "at": now().isoformat(), "without_removals": without_removals}
    marked = await work.db.scalar(
        update(SisRun)
        .where(SisRun.district_id == work.district_id, SisRun.id == run_id, SisRun.state == "held")
        .values(state=state, sentence=sentence, answer=answer)
        .returning(SisRun.id)
    )
    if marked is None:
        raise Conflict("The run was answered meanwhile.", code="run.not_held")


async def carry_out_approved(engine: AsyncEngine, keyring: Keyring) -> int:
    """Carries out what was answered in some districts; how many runs that were. A district that syncs is left for
    the next call."""
    async with engine.connect() as connection:
        await lay_binding(connection, NOBODY)
        found = await connection.scalars(text("SELECT app.districts_with_syncs_answered(:most)"), {"most": DISTRICTS})
        districts = [UUID(str(district)) for district in found]
        await connection.rollback()
    done = 0
    for district_id in districts:
        async with unit(engine, house_principal(district_id, "sync"), keyring, "sync answers") as work:
            waiting = await _answered(work)
        for run_id in waiting:
            try:
                await carry_out(engine, keyring, district_id, run_id, lambda _doing, _done, _of: None)
            except AlreadyRunning:
                break
            done += 1
    return done


@needs(Can.SYNC_ROSTER)
async def _answered(work: Work) -> list[UUID]:
    rows = await work.db.scalars(
        select(SisRun.id)
        .where(
            SisRun.district_id == work.district_id,
            (SisRun.state == "approved") | ((SisRun.state == "discarded") & SisRun.plan.is_not(None)),
        )
        .order_by(SisRun.id)
    )
    return list(rows)


async def carry_out(
    engine: AsyncEngine, keyring: Keyring, district_id: UUID, run_id: UUID, progress: Progress
) -> Report:
    """Applies an approved run's plan whole, or drops a discarded one's; the report says what became of it.

    A plan that no longer fits the roster is discarded. Raises `AlreadyRunning` while the district syncs. Whatever
    else is raised, the roster is as it was and the answer stands.
    """
    principal = house_principal(district_id, "sync")
    async with alone(engine, district_id):
        try:
            async with unit(engine, principal, keyring, "sync answer") as work:
                report = await _carry_out(work, run_id, progress)
        except (SourceInconsistent, DBAPIError, asyncpg.UndefinedTableError) as error:
            if isinstance(error, DBAPIError) and getattr(error.orig, "sqlstate", "") != "42P01":
                raise
            async with unit(engine, principal, keyring, "sync answer") as work:
                report = await _give_up(work, run_id)
        if report.state == "applied" and report.total("changes") >= MANY:
            async with unit(engine, principal, keyring, "sync statistics") as work:
                await refresh_statistics(work)
    return report


@needs(Can.SYNC_ROSTER)
async def _carry_out(work: Work, run_id: UUID, progress: Progress) -> Report:
    run = (await find_run(work, run_id)).run
    report = await read_report(work, run_id)
    if run.plan is None or run.state not in ("approved", "discarded"):
        return report
    if run.state == "approved":
        deliveries = kept_deliveries(run.plan)
        stage = await open_stage(work, run_id, run.source_id, KEPT_SIZE)
        if await digest(stage, deliveries) != run.plan["digest"]:
            raise RosterChanged("The roster has changed since the plan was made.")
        if run.answer and run.answer["without_removals"]:
            await leave_removals(stage, deliveries)
            for counts in report.kinds.values():
                counts.unchanged += counts.removed
                counts.removed = counts.absent = 0
        await apply_all(stage, deliveries, progress)
        await stage.drop()
        because, report.held_because = report.held_because, []
        conclude(report, dry=False)
        report.held_because = because
    await drop_kept(work, run_id, run.plan)
    report.plan = None
    await end(work, report)
    return report


@needs(Can.SYNC_ROSTER)
async def _give_up(work: Work, run_id: UUID) -> Report:
    plan, report = (await find_run(work, run_id)).run.plan, await read_report(work, run_id)
    report.state, report.exit_code = "discarded", EXITS["inconsistent"]
    report.sentence = "The roster has changed since the plan was made: it is discarded. Run the sync again."
    await drop_kept(work, run_id, plan)
    report.plan = None
    await end(work, report)
    return report
