"""Owns the reads of sync runs: what each did, and the rows that it could not take. Never a refused row's value."""

from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import select

from app.access.permission import Can
from app.access.work import Work, needs
from app.core.errors import NotFound
from app.core.page import Keyset, Page
from app.roster.lookup import by_id
from app.roster.models import Source
from app.sis.models import SisQuarantine, SisRun
from app.sis.weigh import FIRST, Counts, Refusal, Report


@dataclass(frozen=True, slots=True)
class RunOfSource:
    """A run, with the name of its source."""

    run: SisRun
    source: str


@needs(Can.READ_SYNC)
async def runs(work: Work, keyset: Keyset) -> Page[RunOfSource]:
    """A page of runs, newest first."""
    query = select(SisRun).where(SisRun.district_id == work.district_id)
    if keyset.after is not None:
        query = query.where(SisRun.id < keyset.after_id())
    rows = (await work.db.scalars(query.order_by(SisRun.id.desc()).limit(keyset.limit + 1))).all()
    page = keyset.cut(rows, lambda row: (str(row.id),))
    names = await _sources(work)
    return Page([RunOfSource(row, names[row.source_id]) for row in page.rows], page.next)


@needs(Can.READ_SYNC)
async def run(work: Work, run_id: UUID) -> RunOfSource:
    """One run; raises `NotFound`."""
    row = await work.db.scalar(select(SisRun).where(SisRun.district_id == work.district_id, SisRun.id == run_id))
    if row is None:
        raise NotFound("run")
    return RunOfSource(row, (await _sources(work))[row.source_id])


@needs(Can.READ_SYNC)
async def read_report(work: Work, run_id: UUID) -> Report:
    """What a run said when it ended, and what became of it since; raises `NotFound`."""
    row = (await run(work, run_id)).run
    refused = await work.db.scalars(
        select(SisQuarantine)
        .where(SisQuarantine.district_id == work.district_id, SisQuarantine.run_id == run_id)
        .order_by(SisQuarantine.kind, SisQuarantine.row_number)
        .limit(FIRST)
    )
    return Report(
        run_id,
        state=row.state,
        sentence=row.sentence,
        exit_code=0,
        began_at=row.began_at,
        ended_at=row.ended_at,
        kinds={name: Counts(**counts) for name, counts in row.counts.items()},
        refusals=[Refusal(one.file, one.row_number, one.field, one.code) for one in refused],
        warnings=list(row.warnings),
        not_taken=list(row.not_taken),
        held_because=list(row.held_because),
        plan=row.plan,
    )


@needs(Can.READ_SYNC)
async def quarantine(work: Work, keyset: Keyset, run_id: UUID) -> Page[SisQuarantine]:
    """A page of the rows that a run could not take, by their place."""
    query = select(SisQuarantine).where(SisQuarantine.district_id == work.district_id, SisQuarantine.run_id == run_id)
    page: Page[SisQuarantine] = await by_id(work, keyset, query, SisQuarantine.id)
    return page


async def _sources(work: Work) -> dict[UUID, str]:
    rows = await work.db.execute(select(Source.id, Source.name).where(Source.district_id == work.district_id))
    return {row.id: row.name for row in rows}
