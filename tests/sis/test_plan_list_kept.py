"""Tests the limits of the lists of planned changes: how long they are kept, how many lists, and how many rows.

Also tests that a person who is erased is in no list.
"""

from datetime import timedelta
from pathlib import Path
from uuid import UUID

import pytest

from app.access.permission import Can
from app.access.work import Work, needs
from app.sis.engine.review import changes
from app.sis.scheduler import retention
from tests.sis.roster_zip import Export, ask, row_id, sync
from tests.town import Town

TABLES = ("sis_planned_change", "sis_planned_value")


async def _listed(town: Town) -> dict[UUID, int]:
    rows = await ask(
        town, "SELECT run_id, count(*) FROM sis_planned_change WHERE district_id = :district GROUP BY run_id"
    )
    return {row[0]: row[1] for row in rows}


async def _expire(town: Town, kept: timedelta = retention.LISTS_KEPT, most: int = 7) -> int:
    deleted = 0
    while True:
        async with town.house() as work:
            rows = await retention.expire_lists(work, kept, most)
        if not rows:
            return deleted
        deleted += rows


async def test_a_list_is_deleted_when_it_is_old_and_not_before(north: Town, tmp_path: Path) -> None:
    """A list is deleted in batches when it is old. The list of a run that waits for approval stays as long as it
    waits.
    """
    dry = await sync(north, Export(), tmp_path, dry=True)
    await sync(north, Export(), tmp_path)
    export = Export()
    export.without("enrollments", *(f"e{n}" for n in range(24)))
    held = await sync(north, export, tmp_path)
    assert held.state == "held"
    assert await _expire(north) == 0
    await _expire(north, timedelta(0))
    assert list(await _listed(north)) == [held.run_id]
    rows = await ask(north, "SELECT listed FROM sis_run WHERE district_id = :district AND id = :run", run=dry.run_id)
    assert rows == [(0,)]


async def test_only_the_newest_lists_of_a_source_are_kept(
    north: Town, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only the newest lists of planned changes of a source are stored, however many runs make a plan."""
    monkeypatch.setattr(retention, "LISTS_OF_SOURCE", 2)
    runs = [(await sync(north, Export(), tmp_path, dry=True)).run_id for _ in range(3)]
    await _expire(north, most=1000)
    assert set(await _listed(north)) == set(runs[1:])


async def test_a_list_has_its_bound_and_says_so(north: Town, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The list of planned changes has only the first rows of each kind. The report states the total number."""
    monkeypatch.setattr(changes, "MOST_LISTED", 5)
    report = await sync(north, Export(), tmp_path, dry=True)
    assert "The list of changes has the first 5 of 42 people, removals first." in report.warnings
    rows = await ask(
        north,
        "SELECT count(*) FROM sis_planned_change WHERE district_id = :district AND run_id = :run AND kind = 'person'",
        run=report.run_id,
    )
    assert rows == [(5,)]


async def test_a_person_who_is_forgotten_is_in_no_list(north: Town, tmp_path: Path) -> None:
    """A person who was erased is in no list of planned changes, neither as digests nor as plain text."""
    await sync(north, Export(), tmp_path)
    export = Export()
    export.row("users", "s3")["givenName"] = "Secret"
    export.row("demographics", "s3")["birthDate"] = "2017-01-01"
    await sync(north, export, tmp_path, dry=True)

    @needs(Can.SYNC_ROSTER)
    async def forget(work: Work) -> int:
        return await retention.erase_person(work, await row_id(north, "person", "s3"))

    async with north.house() as work:
        assert await forget(work) == 2
    for table in TABLES:
        assert await ask(north, f"SELECT count(*) FROM {table} WHERE district_id = :district") == [(0,)]
