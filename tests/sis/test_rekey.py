"""Tests maps from old sourcedIds to new ones. A map is planned from a held run, listed, applied after approval, and
undone.
"""

from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from app.core.errors import Conflict, Invalid
from app.sis.engine.report import Report
from app.sis.runs.approval import approve, discard, execute_answer
from app.sis.runs.history import history_of
from app.sis.runs.rekey import list_pairs, plan_rekey, read_pairs
from app.sis.runs.undo import undo
from app.sis.scheduler.report_text import render_rekeys
from tests.sis.roster_zip import STUDENTS, Export, ask, fingerprint, row_id, sync
from tests.town import Town

PEOPLE = STUDENTS + 2


def _quiet(_doing: str, _done: int, _of: int) -> None:
    """Ignores the progress."""


def _rekeyed(export: Export) -> Export:
    """Gives every person in every file of a delivery another sourcedId."""
    for row in export.rows["users"] + export.rows["demographics"]:
        row["sourcedId"] = f"new-{row['sourcedId']}"
    for row in export.rows["enrollments"]:
        row["userSourcedId"] = f"new-{row['userSourcedId']}"
    return export


async def _held(town: Town, folder: Path, export: Export | None = None) -> tuple[Export, Report]:
    await sync(town, Export(), folder)
    after = export or _rekeyed(Export())
    report = await sync(town, after, folder)
    assert report.state == "held"
    assert any("come back under another sourcedId" in one for one in report.held_because)
    return after, report


async def _plan(town: Town, run_id: UUID, match: str = "identifier", pairs: Any = ()) -> Report:
    return await plan_rekey(town.worker_engine, town.settings.keyring, town.district_id, run_id, match, pairs)


async def _approved(town: Town, report: Report) -> Report:
    assert report.plan is not None
    async with town.unit() as work:
        await approve(work, report.run_id, report.plan["digest"], False)
    return await execute_answer(town.worker_engine, town.settings.keyring, town.district_id, report.run_id, _quiet)


async def _states(town: Town) -> list[str]:
    return [row[0] for row in await ask(town, "SELECT state FROM sis_run WHERE district_id = :district ORDER BY id")]


async def test_people_go_on_under_their_new_ids(north: Town, tmp_path: Path) -> None:
    """After people got new sourcedIds, they have the same rows and history, and the next run changes nothing."""
    export, held = await _held(north, tmp_path)
    before = await row_id(north, "person", "s3")
    planned = await _plan(north, held.run_id)
    assert planned.plan is not None
    counts = planned.plan["rekey"]
    assert (counts["gone"], counts["matched"], counts["ambiguous"], counts["unmatched"]) == (PEOPLE, PEOPLE, 0, 0)
    assert await _states(north) == ["applied", "held", "held"], "the held run waits beside its map"
    assert await row_id(north, "person", "s3") == before, "nothing is changed before it is approved"
    done = await _approved(north, planned)
    assert (done.state, done.exit_code) == ("applied", 0)
    assert await _states(north) == ["applied", "discarded", "applied"]
    assert await row_id(north, "person", "new-s3") == before
    repeated = await sync(north, export, tmp_path)
    assert (repeated.state, repeated.kinds["person"].changes, repeated.total("absent")) == ("applied", 0, 0)
    living = (
        "SELECT count(*) FROM person WHERE district_id = :district AND removed_at IS NULL AND arrived_in IS NOT NULL"
    )
    assert await ask(north, living) == [(PEOPLE,)]
    async with north.unit() as work:
        _, steps = await history_of(work, "sis:csv:new-s3")
    assert [step.action for step in steps if step.kind == "person"] == ["rekey", "create"]
    assert await ask(north, "SELECT count(*) FROM pg_class WHERE relname LIKE '%' || :run", run=planned.run_id.hex) == [
        (0,)
    ]


async def test_a_report_names_the_first_of_many_people(north: Town, tmp_path: Path) -> None:
    """If everybody has another id, the text of the report names twenty people and the number of the others."""
    _, held = await _held(north, tmp_path)
    lines = render_rekeys(held)
    assert sum(line.startswith("Likely the same person") for line in lines) == 20
    assert f"… and {PEOPLE - 20} more: `aimline sync report --json` has all of them." in lines
    assert len(held.planned_sentences()) < 40


async def test_a_map_can_be_taken_back(north: Town, tmp_path: Path) -> None:
    """After a change of sourcedIds is undone, the roster is the same as before, to the byte."""
    _, held = await _held(north, tmp_path)
    before = await row_id(north, "person", "s3")
    done = await _approved(north, await _plan(north, held.run_id))
    undone = await undo(north.worker_engine, north.settings.keyring, north.district_id, done.run_id, _quiet)
    assert undone.state == "applied"
    assert await row_id(north, "person", "s3") == before
    repeated = await sync(north, Export(), tmp_path)
    assert (repeated.state, repeated.total("changes")) == ("applied", 0)
    changes = (
        "SELECT run_id, count(*) FROM sis_change WHERE district_id = :district AND action = 'rekey' GROUP BY run_id"
    )
    assert {tuple(row) for row in await ask(north, changes)} == {(done.run_id, PEOPLE), (undone.run_id, PEOPLE)}


async def test_who_cannot_be_told_apart_is_counted_and_left(north: Town, tmp_path: Path) -> None:
    """People who cannot be matched with certainty are counted, and stay unchanged."""
    export = _rekeyed(Export())
    export.row("users", "new-s1")["identifier"] = "id-s2"
    export.row("users", "new-s5")["identifier"] = ""
    export.row("users", "new-s7")["role"] = "aide"
    stays = export.row("users", "new-s9") | {"sourcedId": "s9"}
    export.rows["users"].append(stays)
    _, held = await _held(north, tmp_path, export)
    planned = await _plan(north, held.run_id)
    assert planned.plan is not None
    counts = planned.plan["rekey"]
    assert counts == {
        **{"of": str(held.run_id), "by": "identifier", "gone": PEOPLE - 1, "came": PEOPLE},
        **{"matched": PEOPLE - 5, "ambiguous": 2, "unmatched": 2},
    }
    async with north.house() as work:
        made = dict(await list_pairs(work, planned.run_id))
    assert made["s3"] == "new-s3"
    assert not {"s1", "s2", "s5", "s7", "s9"} & made.keys()
    done = await _approved(north, planned)
    assert done.state == "applied"
    assert await row_id(north, "person", "s2") is not None


async def test_a_file_says_who_is_who(north: Town, tmp_path: Path) -> None:
    """From a file with old and new sourcedIds, only the pairs that fit the held run are used.

    A pair is left out if one of its sourcedIds occurs in another pair too.
    """
    _, held = await _held(north, tmp_path)
    file = tmp_path / "map.csv"
    file.write_text("old,new\ns1,new-s1\ns2,new-s2\ns2,new-s4\ns3,nobody\n\ns5 , new-s5\n")
    planned = await _plan(north, held.run_id, str(file), read_pairs(file))
    async with north.house() as work:
        assert await list_pairs(work, planned.run_id) == [("s1", "new-s1"), ("s5", "new-s5")]
    async with north.unit() as work:
        await discard(work, planned.run_id)
    await execute_answer(north.worker_engine, north.settings.keyring, north.district_id, planned.run_id, _quiet)
    assert await row_id(north, "person", "new-s1") is None
    assert await _states(north) == ["applied", "held", "discarded"]


@pytest.mark.parametrize("text", ["a,b,c\n", "a\n", "a,\n", '"a,b\n', "\xff"])
def test_a_file_that_is_no_map_is_refused(tmp_path: Path, text: str) -> None:
    """A file that is not a list of pairs of an old and a new sourcedId is refused."""
    file = tmp_path / "map.csv"
    file.write_text(text, encoding="latin-1")
    with pytest.raises(Invalid) as refused:
        read_pairs(file)
    assert refused.value.violations[0].code == "rekey.file"


async def test_only_a_held_run_with_people_can_be_rekeyed(north: Town, tmp_path: Path) -> None:
    """New sourcedIds can be planned only for a run that waits for approval and contains people. The field by which
    people are matched must be in the delivery.
    """
    applied = await sync(north, Export(), tmp_path)
    with pytest.raises(Conflict) as refused:
        await _plan(north, applied.run_id)
    assert refused.value.code == "run.not_held"
    held = await sync(north, _rekeyed(Export()), tmp_path)
    with pytest.raises(Conflict) as refused:
        await _plan(north, held.run_id, "birth_date")
    assert refused.value.code == "rekey.match"


async def test_a_map_that_no_longer_fits_is_refused(north: Town, tmp_path: Path) -> None:
    """An approved map of sourcedIds changes nothing if it differs from the map that was shown for approval.

    The plan is discarded with exit code 6.
    """
    _, held = await _held(north, tmp_path)
    planned = await _plan(north, held.run_id)
    other = """UPDATE staging.kept_rekey SET new = 'other'
        WHERE district_id = :district AND run_id = :run AND kind = 'person' AND old = 's1'"""
    await ask(north, other, run=planned.run_id)
    before = await fingerprint(north)
    done = await _approved(north, planned)
    assert (done.state, done.exit_code) == ("discarded", 6)
    assert await fingerprint(north) == before
    assert await row_id(north, "person", "s1") is not None
