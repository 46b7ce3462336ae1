"""Writes about students while syncs move these students to other schools.

Checks after each sync that every copied column has the student's present schools.
"""

import asyncio
import random
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from fastapi import FastAPI

from tests.records.copies import rows_out_of_step
from tests.records.writers import Writers, shown_students
from tests.sis.roster_zip import LENIENT, Export, ask, sync
from tests.town import Town


@dataclass
class Outcome:
    """The outcome of a race between syncs and other writers.

    * `out_of_step`: for each table, the number of rows whose copy of the student's schools is wrong.
    * `deadlocks`: the number of deadlocks.
    * `syncs`: the number of syncs, keyed by state.
    * `written`: the number of commands that the writers sent, keyed by command and result.
    * `put_off`: the number of answers after which a writer had to repeat the request.
    """

    out_of_step: Counter[str] = field(default_factory=Counter)
    deadlocks: int = 0
    syncs: Counter[str] = field(default_factory=Counter)
    written: Counter[str] = field(default_factory=Counter)
    put_off: Counter[str] = field(default_factory=Counter)


async def race(
    town: Town,
    app: FastAPI,
    folder: Path,
    *,
    writers: int,
    moved: int,
    syncs: int,
    seed: int = 0,
    pause: float = 0.0,
    of: type[Writers] = Writers,
) -> Outcome:
    """Lets writers write about students while syncs move the students to the other school and back; returns what
    happened.
    """
    outcome, names = Outcome(), [f"s{number}" for number in range(moved)]
    await sync(town, Export(), folder)
    students = await shown_students(town, *names)
    group = of(town, app, students, random.Random(seed), pause)
    await group.prepare()
    before = await deadlocks(town)
    tasks = [asyncio.create_task(group.write()) for _ in range(writers)]
    try:
        for number in range(syncs):
            export = moved_export(*names) if number % 2 == 0 else Export()
            for _ in range(writers):
                group.wrote.clear()
                await group.wrote.wait()
            try:
                outcome.syncs[(await sync(town, export, folder, limits=LENIENT)).state] += 1
            except Exception as error:
                outcome.syncs[type(error).__name__] += 1
            outcome.out_of_step.update(await rows_out_of_step(town))
    finally:
        group.stop.set()
        await asyncio.gather(*tasks)
    outcome.out_of_step.update(await rows_out_of_step(town))
    outcome.deadlocks = await deadlocks(town) - before
    outcome.written, outcome.put_off = group.written, group.put_off
    return outcome


def moved_export(*sourced_ids: str) -> Export:
    """Returns a roster export in which these students have moved to the other school."""
    export = Export()
    for sourced_id in sourced_ids:
        row = export.row("users", sourced_id)
        row["orgSourcedIds"] = "south" if row["orgSourcedIds"] == "north" else "north"
    return export


async def deadlocks(town: Town) -> int:
    """Returns how many deadlocks the database has had."""
    await ask(town, "SELECT pg_stat_clear_snapshot()")
    ((count,),) = await ask(town, "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()")
    return int(count)
