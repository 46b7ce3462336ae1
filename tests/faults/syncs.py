"""Runs seeded schedules of faults during a sync: a worker is killed, or PostgreSQL stopped, between two stages.

After each fault, the database must equal the state before the sync or the state after it. The run must then complete,
and a further run of the same files must change nothing. The expected state after the sync comes from a second district
without faults. Meanwhile, other requests write about the students through both APIs; in the end, each record must have
its student's schools.
"""

import asyncio
import random
import signal
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID

from sqlalchemy import text

from app.access.permission import Can
from app.access.work import Work, needs
from app.core.address import Allowed
from app.main import build
from app.sis.runs.pull import request_run
from app.sis.sources import service as sources
from app.sis.sources.settings import SourceSettings
from tests.faults.machine import Machine, Process
from tests.records.copies import rows_out_of_step
from tests.records.writers import Writers, shown_students
from tests.sis.roster_zip import Export, ask, sync
from tests.town import Town, found_town

SANDBOX = Allowed(sandbox=True)
SOURCE = "csv"
FAULTS, WRITERS = 2, 2
MAX_STAGES = 26  # a run logs some 22: beyond its last stage a fault comes after its end
ENDINGS = (signal.SIGINT, signal.SIGQUIT)
"""The signals that stop PostgreSQL.

SIGKILL of the postmaster alone is not among them: its backends then abort without a log, and PostgreSQL 18 may refuse
to start for the file of an unlogged table ("could not create file: File exists"). See docs/decisions.md, 13.
"""
OPEN = ("pending", "running")
LOOKS = 600  # at a run that completes, ten a second
DONE = ("syncs.ended", "syncs.refused", "syncs.retried", "syncs.failed")

CONTENT = {
    "org": "SELECT e.sourced_id, t.name, t.removed_at IS NULL FROM org t {alias}",
    "class": "SELECT e.sourced_id, t.title, t.removed_at IS NULL FROM class t {alias}",
    "person": "SELECT e.sourced_id, t.given_name, t.role, cardinality(t.school_ids), t.removed_at IS NULL "
    "FROM person t {alias}",
    "enrollment": "SELECT t.sourced_id, t.role, t.begins_on, t.ends_on, t.removed_at IS NULL FROM enrollment t "
    "JOIN source s ON s.district_id = t.district_id AND s.id = t.source_id "
    "WHERE t.district_id = :district AND s.name = :source",
    "school_membership": "SELECT e.sourced_id, t.begins_on, t.ends_on FROM school_membership t "
    "JOIN external_id e ON e.district_id = :district AND e.kind = 'person' AND e.row_id = t.person_id "
    "JOIN source s ON s.district_id = :district AND s.id = e.source_id "
    "WHERE t.district_id = :district AND s.name = :source",
}
ALIAS = (
    "JOIN external_id e ON e.district_id = :district AND e.kind = '{kind}' AND e.row_id = t.id "
    "JOIN source s ON s.district_id = :district AND s.id = e.source_id "
    "WHERE t.district_id = :district AND s.name = :source"
)


@dataclass
class Outcome:
    """The result of one schedule of faults.

    * `steps` are the faults and other steps that were executed.
    * `unchanged` counts the faults after which the roster was in its state before the sync. `applied` counts the faults
      after which it was in its state after the sync.
    * `out_of_step`: for each table, the number of rows whose copy of the student's schools is wrong.
    * `written`: the number of commands that other requests sent meanwhile, keyed by command and result.
    """

    seed: int
    steps: list[str] = field(default_factory=list)
    unchanged: int = 0
    applied: int = 0
    out_of_step: Counter[str] = field(default_factory=Counter)
    written: Counter[str] = field(default_factory=Counter)


async def content(town: Town) -> dict[str, list[Any]]:
    """Returns the roster's rows with the source's ids in place of the district's own ids.

    Two districts with the same roster have the same content.
    """
    rows_by_table = {}
    for kind, sql in CONTENT.items():
        rows = await ask(town, sql.format(alias=ALIAS.format(kind=kind)), source=SOURCE)
        rows_by_table[kind] = sorted(str(tuple(row)) for row in rows)
    return rows_by_table


def _changed(dice: random.Random) -> Export:
    """Returns the next day's delivery, in which some rows have changed, some are gone and some are new."""
    export = Export()
    numbers = dice.sample(range(40), 6)
    for number in numbers[:2]:
        export.row("users", f"s{number}")["givenName"] = "Renamed"
    export.without("users", *(f"s{number}" for number in numbers[2:4]))
    for name in ("enrollments", "demographics"):
        prefix = "e" if name == "enrollments" else "s"
        export.without(name, *(f"{prefix}{number}" for number in numbers[2:4]))
    moved = export.row("users", f"s{numbers[4]}")
    moved["orgSourcedIds"] = "south" if moved["orgSourcedIds"] == "north" else "north"
    export.rows["users"].append({**export.row("users", f"s{numbers[5]}"), "sourcedId": "new", "username": "new"})
    return export


async def play(machine: Machine, seed: int, folder: Path, *, faults: int = FAULTS) -> Outcome:
    """Runs the schedule of a seed and checks the result; raises `AssertionError` with the seed and its steps."""
    dice, outcome, built = random.Random(seed), Outcome(seed), build(machine.settings)
    north = await found_town("north", machine.engine, machine.worker_engine, machine.settings)
    twin = await found_town("south", machine.engine, machine.worker_engine, machine.settings)
    zip_file = folder / f"roster-{seed}.zip"
    source_id = await _source(north, zip_file)
    for town in (north, twin):
        assert (await sync(town, Export(), folder)).state == "applied"
    students = await shown_students(north, *(f"s{number}" for number in range(40)))
    writers = Writers(north, built, students, random.Random(seed), pause=0.02)
    before = await content(north)
    next_day = _changed(dice)
    assert (await sync(twin, next_day, folder)).state == "applied"
    after = await content(twin)
    assert before != after
    next_day.write(zip_file)
    run_id = await _request_run(north, source_id)
    writing = [asyncio.create_task(writers.write()) for _ in range(WRITERS)]
    try:
        for _ in range(faults):
            if await _state(north, run_id) not in OPEN:
                break  # the fault before came after the commit
            await _fault(machine, north, dice, outcome)
            now = await content(north)
            assert now in (before, after), f"seed {seed}: {', '.join(outcome.steps)}: between"
            outcome.unchanged += now == before
            outcome.applied += now == after
            outcome.out_of_step.update(await rows_out_of_step(north))
        await _completes(machine, north, run_id, after, outcome)
        writers.stop.set()
        await asyncio.gather(*writing)
        outcome.out_of_step.update(await rows_out_of_step(north))
        outcome.written = writers.written
        assert not outcome.out_of_step, f"seed {seed}: {', '.join(outcome.steps)}: {outcome.out_of_step}"
        repeated = await sync(north, next_day, folder)
        assert (repeated.state, repeated.total("changes")) == ("applied", 0), f"seed {seed}: {repeated.sentence}"
    finally:
        writers.stop.set()
        await asyncio.gather(*writing)
        await built.state.services.engine.dispose()
        machine.end_all()
    return outcome


async def _source(town: Town, path: Path) -> UUID:
    async with town.unit() as work:
        new = SourceSettings(kind="oneroster-csv", url=str(path))
        return (await sources.register_source(work, SOURCE, new, SANDBOX, local=True)).source.id


async def _request_run(town: Town, source_id: UUID) -> UUID:
    async with town.unit() as work:
        return (await request_run(work, source_id)).id


async def _fault(machine: Machine, town: Town, dice: random.Random, outcome: Outcome) -> None:
    """Lets a worker execute the run, and kills it or the server between two stages."""
    stages = dice.randrange(MAX_STAGES)
    ending = dice.choice(ENDINGS) if dice.random() < 0.3 else None
    worker = machine.start("app.worker")
    came = await _stage(worker, stages)
    if ending is not None:
        await machine.restart_server(ending)
    worker.kill()
    outcome.steps.append(f"{'worker killed' if ending is None else f'server ended by {ending.name}'} at {came}")
    await machine.sessions_end("aimline worker", "aimline worker jobs")
    async with town.house() as work:
        await _time_goes_by(work)


async def _stage(worker: Process, number: int) -> str:
    """Waits until a run has completed `number` stages or has ended. Returns how far the run has come."""
    await worker.until("syncs.begun")
    for _ in range(number):
        if await worker.until("syncs.stage", *DONE) in DONE:
            return "the end"
    return f"stage {number}"


async def _state(town: Town, run_id: UUID) -> str:
    ((state,),) = await ask(town, "SELECT state FROM sis_run WHERE district_id = :district AND id = :run", run=run_id)
    return str(state)


@needs(Can.SYNC_ROSTER)
async def _time_goes_by(work: Work) -> None:
    """Ends the leases of the run and of the district, and the wait before the next attempt, as if time had passed."""
    for sql in (
        "UPDATE sis_run SET leased_until = now() WHERE district_id = :district AND leased_until > now()",
        "UPDATE sis_run SET due = now() WHERE district_id = :district AND state = 'pending' AND due > now()",
        "UPDATE sis_lease SET leased_until = now() WHERE district_id = :district AND leased_until > now()",
    ):
        await work.db.execute(text(sql), {"district": work.district_id})


async def _completes(machine: Machine, town: Town, run_id: UUID, after: dict[str, list[Any]], outcome: Outcome) -> None:
    """Checks that an interrupted run is executed again and applied."""
    worker = machine.start("app.worker")
    state = await _state(town, run_id)
    for _ in range(LOOKS):
        if state not in OPEN:
            break
        await asyncio.sleep(0.1)
        state = await _state(town, run_id)
    worker.kill()
    await machine.sessions_end("aimline worker", "aimline worker jobs")
    async with town.house() as work:
        await _time_goes_by(work)  # the worker may not have given back its lease yet
    where = f"seed {outcome.seed}: {', '.join(outcome.steps)}"
    assert state == "applied", f"{where}: {state}"
    assert await content(town) == after, where
