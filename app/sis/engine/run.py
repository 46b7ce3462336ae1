"""Owns a run's row: how it begins, is taken up, concludes and ends, and what that means for its source.

Also the two locks of a district's syncs, which fence one off from the next. Never stages, plans or applies.
Over 250 lines: whose a run is, and until when, is read together.
"""

from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import delete, func, select, text, update

from app.access.models import District
from app.access.permission import Can
from app.access.work import Work, needs
from app.core.clock import now, today_in
from app.core.errors import Conflict
from app.events.catalogue import SYNC_APPLIED, SYNC_FAILED, SYNC_HELD, EventType, Happened
from app.events.outbox import record
from app.sis.engine.plan import kept_tables
from app.sis.engine.report import Report
from app.sis.engine.student_events import count_events
from app.sis.guard import GuardLimits
from app.sis.kinds import MAY_BE_LEFT_OUT
from app.sis.models import SisRun, SisSource, SisUpload
from app.sis.port import AlreadyRunning, Superseded
from app.sis.settings import limits_of
from app.sis.sources import write_schedule

BROKE_OFF = "The sync broke off. The roster is as it was."
EVENTS: dict[str, EventType] = {"applied": SYNC_APPLIED, "held": SYNC_HELD, "failed": SYNC_FAILED}
LOCK = 0x41494D53  # the first half of the lock that a sync holds; the second is the district's
APPLIES = LOCK + 1  # and of the one that the transaction holds which writes
LENGTH = timedelta(minutes=2)
"""A run's lease: a worker renews it; whether one that was begun by hand goes on, its lock says when the lease ends."""
EXITS = {"refused": 5, "inconsistent": 6, "held": 4, "quarantined": 3, "done": 0}


@dataclass(frozen=True, slots=True)
class RunRequest:
    """A run that was asked for before it begins: its row, and the number of the attempt that may carry it out.

    `mode` is full or delta; without it what came says so.
    """

    run_id: UUID | None = None
    attempt: int = 0
    mode: str | None = None


def lock_of(district_id: UUID) -> int:
    """The second half of the district's advisory locks."""
    return int.from_bytes(district_id.bytes[-4:], signed=True)


@needs(Can.READ_SYNC)
async def is_syncing(work: Work) -> bool:
    """Whether somebody holds the district's sync lock; asks without touching it."""
    held = """SELECT EXISTS (SELECT FROM pg_locks AS l JOIN pg_database AS d ON d.oid = l.database
        WHERE d.datname = current_database() AND l.locktype = 'advisory' AND l.objsubid = 2 AND l.granted
          AND l.classid::bigint = :lock AND l.objid::bigint = :key)"""
    names = {"lock": LOCK, "key": lock_of(work.district_id) % (1 << 32)}
    return bool(await work.db.scalar(text(held), names))


@needs(Can.SYNC_ROSTER)
async def lock_district_writes(work: Work) -> None:
    """Waits until no other transaction writes a sync of the district, and lets none until this one has ended.

    The lock of the run may be lost with its connection, while the run goes on fetching: this one is the writer's own.
    """
    await work.db.execute(select(func.pg_advisory_xact_lock(APPLIES, lock_of(work.district_id))))


@needs(Can.SYNC_ROSTER)
async def require_current_attempt(work: Work, run_id: UUID, attempt: int) -> None:
    """Raises `Superseded` where the run is no longer this attempt's; `end` looks again. Takes no lock on the row,
    so that its lease can be renewed meanwhile."""
    mine = (SisRun.id == run_id, SisRun.state == "running", SisRun.attempts == attempt)
    if await work.db.scalar(select(SisRun.id).where(SisRun.district_id == work.district_id, *mine)) is None:
        raise _superseded()


def _superseded() -> Superseded:
    return Superseded("The run was ended or taken up by another meanwhile: nothing of it is applied. Run it again.")


@needs(Can.SYNC_ROSTER)
async def limits_in_force(work: Work, source_id: UUID) -> GuardLimits:
    """The limits that hold for a source today; the house's where it has no settings."""
    here = (SisSource.district_id == work.district_id) & (SisSource.id == source_id)
    row = await work.db.scalar(select(SisSource).where(here))
    zone = await work.db.scalar(select(District.time_zone).where(District.district_id == work.district_id))
    return limits_of(row.limits, row.rollover, today_in(str(zone))) if row else GuardLimits()


@needs(Can.SYNC_ROSTER)
async def kinds_left_out(work: Work, source_id: UUID) -> frozenset[str]:
    """The kinds that a source's settings leave out: of those nothing is taken, and nothing is missed."""
    here = (SisSource.district_id == work.district_id) & (SisSource.id == source_id)
    names = await work.db.scalar(select(SisSource.left_out).where(here)) or ()
    return frozenset(MAY_BE_LEFT_OUT[name] for name in names if name in MAY_BE_LEFT_OUT)


@needs(Can.SYNC_ROSTER)
async def begin(
    work: Work, report: Report, source_id: UUID, dry: bool, undoes: UUID | None = None, asked: RunRequest = RunRequest()
) -> None:
    """Writes the run's row, or takes up the one that was asked for. A run that a crash left open is ended.

    Raises `Conflict` where another worker has taken the run up meanwhile, `AlreadyRunning` while another applies.
    """
    if not await work.db.scalar(select(func.pg_try_advisory_xact_lock(APPLIES, lock_of(work.district_id)))):
        raise AlreadyRunning("Another sync of this district is being applied. Try again when it has ended.")
    of = SisRun.district_id == work.district_id
    broken = await work.db.execute(
        update(SisRun)
        .where(of, SisRun.state == "running", SisRun.id != report.run_id)
        .values(state="failed", ended_at=now(), leased_until=None, sentence=BROKE_OFF)
        .returning(SisRun.id, SisRun.dry)
    )
    for row in broken.all():
        if not row.dry:
            record(work, Happened(SYNC_FAILED, row.id, 1, {}, counts={}))
    if asked.run_id is not None:
        mine = (of, SisRun.id == asked.run_id, SisRun.state == "pending", SisRun.attempts == asked.attempt)
        runs = {"state": "running", "began_at": report.began_at, "sentence": "The sync is running.", "mode": asked.mode}
        if await work.db.scalar(update(SisRun).where(*mine).values(runs).returning(SisRun.id)) is None:
            raise Conflict("The run was taken up by another worker.", code="run.taken_up")
        return
    work.db.add(
        SisRun(
            district_id=work.district_id,
            id=report.run_id,
            source_id=source_id,
            state="running",
            dry=dry,
            began_at=report.began_at,
            counts={},
            warnings=[],
            sentence="The sync is running.",
            undoes=undoes,
            mode=report.mode,
            leased_until=func.now() + LENGTH,
        )
    )
    await work.db.flush()


def pluralize(count: int, one: str, more: str) -> str:
    """A number and its noun: `1 change`, `2 changes`."""
    return f"{count:,} {one if count == 1 else more}"


def conclude(report: Report, dry: bool) -> None:
    """State, exit code and sentence of a run that came to its end."""
    changes, refused = report.total("changes"), report.total("quarantined")
    rows = pluralize(refused, "row could not be taken and is", "rows could not be taken and are")
    left = f" {rows} in quarantine." if refused else ""
    if repaired := sum(report.repaired.values()):
        moved = pluralize(repaired, "record was", "records were")
        left += f" {moved} in another school than their student, and {'is' if repaired == 1 else 'are'} put right."
    report.ended_at = now()
    report.exit_code = EXITS["quarantined" if refused else "done"]
    if report.held_because:
        report.state = "dry" if dry else "held"
        report.exit_code = EXITS["held"]
        verb = "would be held" if dry else "is held, and the roster is as it was"
        report.sentence = f"The sync {verb}: {' '.join(report.held_because)}"
    elif dry:
        report.state = "dry"
        report.sentence = f"Nothing was written. The sync would make {pluralize(changes, 'change', 'changes')}.{left}"
    else:
        report.state = "applied"
        done = f"{pluralize(changes, 'change was', 'changes were')} made." if changes else "Nothing has changed."
        report.sentence = f"{done}{left}"


@needs(Can.SYNC_ROSTER)
async def end(work: Work, report: Report, *, of: Collection[str] = ("running",), attempt: int | None = None) -> None:
    """Ends the run's row, with its event where there is news for the district. It takes the place of held runs.

    A dry run is no news, also where it fails: it changes nothing, and nobody was waiting for it but who asked.
    Once it is applied, what the source has is known up to when the run was read: a delta begins from there. Raises
    `Superseded` where the run's state is none of `of`, or another attempt is at it: then nothing of it may stay.
    """
    mine = (
        SisRun.id == report.run_id,
        SisRun.state.in_(of),
        *([SisRun.attempts == attempt] if attempt is not None else []),
    )
    ended = await work.db.execute(
        update(SisRun)
        .where(SisRun.district_id == work.district_id, *mine)
        .values(
            state=report.state,
            ended_at=report.ended_at,
            counts={name: asdict(counts) for name, counts in report.kinds.items()},
            warnings=report.warnings,
            sentence=report.sentence,
            held_because=report.held_because,
            not_taken=report.not_taken,
            plan=report.plan,
            mode=report.mode,
            weighed=report.weighed,
            taken=report.taken,
            pulled_at=report.pulled_at,
            repaired=report.repaired,
            leased_until=None,
        )
        .returning(SisRun.source_id, SisRun.dry)
    )
    row = ended.one_or_none()
    if row is None:
        raise _superseded()
    await _drop_uploads(work)
    if row.dry:
        return
    source_id: UUID = row.source_id
    # A map of sourcedIds that waits leaves the plan that it was made from, for whoever decides otherwise.
    if report.state == "applied" or (report.state == "held" and report.mode != "rekey"):
        await _discard_replaced_plans(work, report.run_id, source_id)
    if report.state in ("applied", "held", "failed") and report.mode != "rekey":
        # A delta with rows in quarantine moves no watermark: the next asks for those rows again.
        again = report.mode == "delta" and report.total("quarantined") > 0
        await update_watermarks(work, source_id, report.state == "applied" and not again, report.mode, report.pulled_at)
    quiet = report.state == "applied" and not report.total("changes")
    if report.state in EVENTS and not quiet:
        record(work, Happened(EVENTS[report.state], report.run_id, 1, {}, counts=count_events(report)))


@needs(Can.SYNC_ROSTER)
async def update_watermarks(
    work: Work, source_id: UUID, applied: bool, mode: str | None, pulled_at: datetime | None, *, undone: bool = False
) -> None:
    """Notes at the source that a run came to its end; an undone one leaves the next no delta to begin from."""
    here = (SisSource.district_id == work.district_id) & (SisSource.id == source_id)
    row = await work.db.scalar(select(SisSource).where(here))
    if row is None:
        return
    if undone:
        row.pulled_until = row.full_at = None
    elif applied and pulled_at is not None:
        row.pulled_until = max(pulled_at, row.pulled_until or pulled_at)
        if mode == "full":
            row.full_at = max(pulled_at, row.full_at or pulled_at)
    await write_schedule(work, row, now(), keep_due=True)
    await work.db.flush()


async def _drop_uploads(work: Work) -> None:
    """Drops the zips that were sent for runs that have ended, however they ended."""
    waits = ("pending", "running")
    over = select(SisRun.id).where(SisRun.district_id == work.district_id, SisRun.state.not_in(waits))
    here = (SisUpload.district_id == work.district_id, SisUpload.run_id.in_(over))
    await work.db.execute(delete(SisUpload).where(*here).execution_options(synchronize_session=False))


async def _discard_replaced_plans(work: Work, run_id: UUID, source_id: UUID) -> None:
    """Discards the other plans of the source that wait: what they compared with is history."""
    of = SisRun.district_id == work.district_id
    waiting = await work.db.execute(
        select(SisRun.id, SisRun.plan).where(
            of, SisRun.source_id == source_id, SisRun.id != run_id, SisRun.state.in_(("held", "approved"))
        )
    )
    for held_id, plan in waiting.all():
        gone = {"state": "discarded", "sentence": "A later sync took its place. The roster is as it was.", "plan": None}
        await work.db.execute(update(SisRun).where(of, SisRun.id == held_id).values(gone))
        await drop_kept_plan(work, held_id, plan)


@needs(Can.SYNC_ROSTER)
async def drop_kept_plan(work: Work, run_id: UUID, plan: Mapping[str, Any] | None) -> None:
    """Drops the tables that keep a run's plan."""
    if plan and "rekey" in plan:
        tables = ", ".join(f"staging.rekey_{kind}_{run_id.hex}" for kind in ("person", "role"))
        await work.db.execute(text(f"DROP TABLE IF EXISTS {tables}"))
    if plan and plan["files"]:
        await work.db.execute(text(f"DROP TABLE IF EXISTS {', '.join(kept_tables(run_id, plan))}"))
