"""Tests the before-images: the values that rows had before a run changed them.

They expire, and they are erased with a person. Without them, the run can no longer be undone.
"""

import asyncio
from datetime import timedelta
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any
from uuid import UUID

import pytest

from app.access.permission import Can
from app.access.work import Work, needs
from app.core import ids
from app.core.errors import Conflict
from app.core.ids import new_id
from app.sis.runs.undo import undo
from app.sis.scheduler import retention
from tests.processes import aimline
from tests.sis.roster_zip import LENIENT, Export, ask, row_id, sync
from tests.town import Town, maintain


async def _undo(town: Town, run_id: UUID) -> Any:
    keyring = town.settings.keyring
    return await undo(town.worker_engine, keyring, town.district_id, run_id, lambda _doing, _done, _of: None)


async def _changed(town: Town, folder: Path, name: str) -> UUID:
    """Runs a sync that changes the given names of two students and the end of one enrollment. Returns the run's id."""
    export = Export()
    for student in ("s3", "s4"):
        export.row("users", student)["givenName"] = name
    export.row("enrollments", "e3")["endDate"] = f"2027-06-{10 + len(name)}"
    report = await sync(town, export, folder, limits=LENIENT)
    assert report.state == "applied"
    return report.run_id


async def _age(town: Town, run_id: UUID, days: int) -> UUID:
    """Changes the ids and times of a run and its changes, as if they were `days` days older."""
    old = UUID(int=new_id().int - ((days * 86_400_000) << 80))
    await ask(
        town,
        """INSERT INTO sis_run (district_id, id, source_id, state, dry, began_at, ended_at, counts, warnings, sentence,
                                held_because, not_taken, repaired)
           SELECT r.district_id, :old, r.source_id, r.state, r.dry, r.began_at - make_interval(days => :days),
                  r.ended_at - make_interval(days => :days), r.counts, r.warnings, r.sentence, r.held_because,
                  r.not_taken, r.repaired
           FROM sis_run AS r WHERE r.district_id = :district AND r.id = :run""",
        run=run_id,
        old=old,
        days=days,
    )
    await ask(
        town,
        """INSERT INTO sis_change (district_id, id, run_id, kind, row_id, action, before)
           SELECT c.district_id, gen_random_uuid(), :old, c.kind, c.row_id, c.action, c.before
           FROM sis_change AS c WHERE c.district_id = :district AND c.run_id = :run""",
        run=run_id,
        old=old,
    )
    return old


async def _kept(town: Town, run_id: UUID) -> tuple[int, int]:
    """Returns the number of entries in a run's log, and how many of them still have the values from before the run."""
    rows = await ask(
        town,
        "SELECT count(*), count(before) FROM sis_change WHERE district_id = :district AND run_id = :run",
        run=run_id,
    )
    return tuple(rows[0])


async def test_old_names_do_not_stay_for_ever(north: Town, tmp_path: Path) -> None:
    """Maintenance deletes before-images (values from before a change) that are older than a year.

    Younger before-images, and all entries of the change log, are kept.
    """
    await sync(north, Export(), tmp_path)
    young = await _changed(north, tmp_path, "New")
    old = await _age(north, young, 366)
    assert (await _kept(north, young), await _kept(north, old)) == ((3, 3), (3, 3))
    await maintain(north)
    assert (await _kept(north, young), await _kept(north, old)) == ((3, 3), (3, 0))
    with pytest.raises(Conflict) as refused:
        await _undo(north, old)
    assert refused.value.code == "run.expired"
    assert "have expired" in refused.value.detail
    await maintain(north, timedelta(0))
    assert await _kept(north, young) == (3, 0), "the setting says how long"


async def test_batches_are_bounded(north: Town, tmp_path: Path) -> None:
    """Old before-images (values from before a change) are deleted in small transactions, the oldest first."""
    await sync(north, Export(), tmp_path)
    young = await _changed(north, tmp_path, "New")
    older, oldest = await _age(north, young, 400), await _age(north, young, 800)
    async with north.house() as work:
        assert await retention.expire_changes(work, most=4) == 4
    assert (await _kept(north, oldest), await _kept(north, older)) == ((3, 0), (3, 2))


@needs(Can.SYNC_ROSTER)
async def _erase(work: Work, person_id: UUID) -> int:
    return await retention.erase_person(work, person_id)


async def test_erasure_reaches_what_rows_were_before(north: Town, south: Town, tmp_path: Path) -> None:
    """If a person is erased, the before-images (earlier values) of that person's rows are deleted.

    The before-images of other people stay. The run that changed the rows can then no longer be undone.
    """
    for town in (north, south):
        await sync(town, Export(), tmp_path)
    run_id, other = await _changed(north, tmp_path, "New"), await _changed(south, tmp_path, "New")
    erased = await row_id(north, "person", "s3")
    async with north.house() as work:
        assert await _erase(work, erased) == 2
    left = await ask(
        north,
        "SELECT row_id FROM sis_change WHERE district_id = :district AND run_id = :run AND before IS NOT NULL",
        run=run_id,
    )
    assert left == [(await row_id(north, "person", "s4"),)]
    before_images = await ask(
        north, "SELECT count(*) FROM sis_change WHERE district_id = :district AND before::text LIKE '%s3%'"
    )
    assert (before_images, await _kept(south, other)) == ([(0,)], (3, 3))
    with pytest.raises(Conflict) as refused:
        await _undo(north, run_id)
    assert refused.value.code == "run.expired"


@pytest.mark.parametrize("by_external_id", [False, True])
async def test_an_operator_erases_a_person(north: Town, tmp_path: Path, by_external_id: bool) -> None:
    """An operator erases a person by the public id or an external id, which the command's own example uses.

    Another name is refused in a sentence.
    """
    await sync(north, Export(), tmp_path)
    run_id = await _changed(north, tmp_path, "New")
    public = ids.format_id("student", await row_id(north, "person", "s3"))

    async def forget(name: str) -> CompletedProcess[str]:
        return await asyncio.to_thread(aimline, north.settings, "sis", "forget", name, "--district", north.slug)

    for wrong in (ids.format_id("run", run_id), "sis:csv:nobody", "sis:other:s3", "sis:csv", "nonsense"):
        refused = await forget(wrong)
        assert (refused.returncode, refused.stdout, refused.stderr) == (2, "", "There is no such person.\n"), wrong
    assert await _kept(north, run_id) == (3, 3)
    done = await forget("sis:csv:s3" if by_external_id else public)
    assert (done.returncode, done.stdout) == (0, "2 rows are no longer kept as before.\n"), done.stderr
    assert await _kept(north, run_id) == (3, 1)
