"""Reads sources and runs: their results, changes and quarantine. Returns no secret."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import select

from app.access.permission import Can
from app.access.work import Work, needs
from app.core.clock import now
from app.core.errors import NotFound
from app.core.page import Keyset, Page
from app.roster.lookup import page_by_id
from app.roster.models import Enrollment, Person, Source
from app.sis.engine.report import FIRST, Counts, Refusal, Report
from app.sis.engine.run import LENGTH
from app.sis.kinds import BY_NAME, SCORE
from app.sis.models import SisChange, SisQuarantine, SisRun, SisSource
from app.sis.rules import RunState
from app.sis.sources.service import ConfiguredSource

NON_STUDENT_KINDS = (
    "org",
    "academic_session",
    "course",
    "class",
    "category",
    "line_item",
    "score_scale",
    "assessment_line_item",
)
"""The kinds whose rows are not about a student."""
KINDS_WITH_IDS = ("org", "academic_session", "course", "class")
"""The kinds in `NON_STUDENT_KINDS` whose rows have public ids."""
KIND_ORDER = (*BY_NAME, SCORE.name)
"""The order of the kinds in a report."""


@dataclass(frozen=True, slots=True)
class RunOfSource:
    """A run together with the name of its source."""

    run: SisRun
    source: str

    @property
    def when(self) -> datetime:
        """Returns the time at which the run ended, or, for an unfinished run, the time at which it began."""
        return self.run.ended_at or self.run.began_at

    @property
    def sentence(self) -> str:
        """Returns a sentence that describes the run.

        If the lease of a running run has ended, the sentence says since when the worker has not renewed the lease.
        """
        run = self.run
        if run.state != RunState.RUNNING or run.leased_until is None or run.leased_until > now():
            return run.sentence
        return (
            f"The process that runs this sync was last heard of at {run.leased_until - LENGTH:%H:%M:%S} UTC: it was "
            "killed, is frozen, or cannot reach the database. No other worker has claimed the sync yet: is one running?"
        )


@needs(Can.READ_SYNC)
async def runs(work: Work, keyset: Keyset) -> Page[RunOfSource]:
    """Returns a page of runs, newest first."""
    query = select(SisRun).where(SisRun.district_id == work.district_id)
    if keyset.after is not None:
        query = query.where(SisRun.id < keyset.after_id())
    rows = (await work.db.scalars(query.order_by(SisRun.id.desc()).limit(keyset.limit + 1))).all()
    page = keyset.cut(rows, lambda row: (str(row.id),))
    names = await source_names(work)
    return Page([RunOfSource(row, names[row.source_id]) for row in page.rows], page.next)


@needs(Can.READ_SYNC)
async def run(work: Work, run_id: UUID) -> RunOfSource:
    """Returns a run; raises `NotFound`."""
    row = await work.db.scalar(select(SisRun).where(SisRun.district_id == work.district_id, SisRun.id == run_id))
    if row is None:
        raise NotFound("run")
    return RunOfSource(row, (await source_names(work))[row.source_id])


@needs(Can.READ_SYNC)
async def read_report(work: Work, run_id: UUID) -> Report:
    """Returns the report of a run, with the state that the run has now; raises `NotFound`."""
    run_of_source = await run(work, run_id)
    row = run_of_source.run
    refused = await work.db.scalars(
        select(SisQuarantine)
        .where(SisQuarantine.district_id == work.district_id, SisQuarantine.run_id == run_id)
        .order_by(SisQuarantine.kind, SisQuarantine.row_number)
        .limit(FIRST)
    )
    return Report(
        run_id,
        state=RunState(row.state),
        sentence=run_of_source.sentence,
        exit_code=_exit_code(row),
        began_at=row.began_at,
        ended_at=row.ended_at,
        # jsonb keeps no order, so the kinds are sorted as in `KINDS`.
        kinds={name: Counts(**row.counts[name]) for name in sorted(row.counts, key=KIND_ORDER.index)},
        refusals=[
            Refusal(item.file, item.row_number, item.field, item.code, item.sourced_id, str(item.id), item.acknowledged)
            for item in refused
        ],
        warnings=list(row.warnings),
        not_taken=list(row.not_taken),
        repaired=dict(row.repaired),
        held_because=list(row.held_because),
        # Before a requested map of sourcedIds is planned, `plan` has only its parameters.
        plan=row.plan if row.plan and "digest" in row.plan else None,
        mode=row.mode,
        weighed=list(row.weighed),
        taken=row.taken,
        pulled_at=row.pulled_at,
        rekeys=list(row.rekeys),
        listed=row.listed,
    )


def _exit_code(run: SisRun) -> int:
    """Returns the exit code that the command line gives for a run in its current state."""
    if run.state in (RunState.HELD, RunState.APPROVED, RunState.FAILED_TO_APPLY):
        return 4
    return run.exit_code or 0


@needs(Can.READ_SYNC)
async def quarantine(work: Work, keyset: Keyset, run_id: UUID) -> Page[SisQuarantine]:
    """Returns a page of the rows that a run put into quarantine."""
    query = select(SisQuarantine).where(SisQuarantine.district_id == work.district_id, SisQuarantine.run_id == run_id)
    page: Page[SisQuarantine] = await page_by_id(work, keyset, query, SisQuarantine.id)
    return page


@dataclass(frozen=True, slots=True)
class ChangeOfRun:
    """A row that a run changed: its kind of record, what was done to it, and its public id if it has one."""

    id: UUID
    kind: str
    action: str
    row: tuple[str, UUID] | None


@needs(Can.READ_SYNC)
async def changes(work: Work, keyset: Keyset, run_id: UUID) -> Page[ChangeOfRun]:
    """Returns a page of the rows that a run updated, restored or removed.

    Rows of people whom the caller may not see are left out.
    """
    of_run = (SisChange.district_id == work.district_id, SisChange.run_id == run_id)
    query = select(SisChange.id, SisChange.kind, SisChange.action, SisChange.row_id).where(*of_run)
    if keyset.after is not None:
        query = query.where(SisChange.id > keyset.after_id())
    rows = (await work.db.execute(query.order_by(SisChange.id).limit(keyset.limit + 1))).all()
    page = keyset.cut(rows, lambda row: (str(row.id),))
    ids_of = {name: [row.row_id for row in page.rows if row.kind == name] for name in ("person", "enrollment")}
    # Row-level security hides the people outside the caller's reach.
    people = await work.db.execute(
        select(Person.id, Person.is_student).where(
            Person.district_id == work.district_id, Person.id.in_(ids_of["person"])
        )
    )
    enrolled = await work.db.scalars(
        select(Enrollment.id).where(Enrollment.district_id == work.district_id, Enrollment.id.in_(ids_of["enrollment"]))
    )
    visible = {row.id: ("student" if row.is_student else "person", row.id) for row in people}
    work.disclose("sync", (row_id for kind, row_id in visible.values() if kind == "student"))
    visible |= {enrollment_id: ("enrollment", enrollment_id) for enrollment_id in enrolled}
    changes_of_run = [
        ChangeOfRun(row.id, row.kind, row.action, visible.get(row.row_id) or _visible_id(row.kind, row.row_id))
        for row in page.rows
        if row.kind in NON_STUDENT_KINDS or row.row_id in visible
    ]
    return Page(changes_of_run, page.next)


def _visible_id(kind: str, row_id: UUID) -> tuple[str, UUID] | None:
    return (kind, row_id) if kind in KINDS_WITH_IDS else None


@needs(Can.READ_SYNC)
async def sources(work: Work, keyset: Keyset) -> Page[ConfiguredSource]:
    """Returns a page of sources, oldest first. Sources without settings are left out."""
    query = select(SisSource).where(SisSource.district_id == work.district_id)
    page: Page[SisSource] = await page_by_id(work, keyset, query, SisSource.id)
    return Page(await _with_sources(work, page.rows), page.next)


@needs(Can.READ_SYNC)
async def all_sources(work: Work) -> list[ConfiguredSource]:
    """Returns all sources except those without settings. A district has only a few."""
    query = select(SisSource).where(SisSource.district_id == work.district_id).order_by(SisSource.id)
    return await _with_sources(work, (await work.db.scalars(query)).all())


@needs(Can.READ_SYNC)
async def _with_sources(work: Work, rows: Sequence[SisSource]) -> list[ConfiguredSource]:
    sources_of_rows = await work.db.scalars(
        select(Source).where(Source.district_id == work.district_id, Source.id.in_([row.id for row in rows]))
    )
    sources_by_id = {source.id: source for source in sources_of_rows}
    return [ConfiguredSource(sources_by_id[row.id], row) for row in rows]


@needs(Can.READ_SYNC)
async def source_names(work: Work) -> dict[UUID, str]:
    """Returns the names of the district's sources, keyed by the source's id."""
    rows = await work.db.execute(select(Source.id, Source.name).where(Source.district_id == work.district_id))
    return {row.id: row.name for row in rows}
