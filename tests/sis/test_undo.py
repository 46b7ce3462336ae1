"""Tests the undo of a run. An undo is a run of its own, after which the roster is as before.

The undo is refused if a later run depends on the run.
"""

from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from app.core.errors import Conflict
from app.sis.engine.report import Report
from app.sis.runs.undo import undo
from tests.sis.roster_zip import LENIENT, STUDENTS, Export, ask, row_id, sync
from tests.town import Town

TABLES = ("org", "academic_session", "course", "class", "person", "enrollment", "demographics", "school_membership")


async def _undo(town: Town, run_id: UUID) -> Report:
    return await undo(
        town.worker_engine, town.settings.keyring, town.district_id, run_id, lambda _doing, _done, _of: None
    )


async def _living(town: Town) -> dict[str, list[Any]]:
    """Returns the values of all roster rows that are not removed or ended, keyed by table."""
    return {
        table: await ask(
            town,
            f"SELECT to_jsonb(t) - 'updated_at' FROM {table} t WHERE t.district_id = :district "
            f"AND {'t.ends_on' if table == 'school_membership' else 't.removed_at'} IS NULL ORDER BY t::text",
        )
        for table in TABLES
    }


async def test_an_undone_run_leaves_the_roster_as_it_was(north: Town, tmp_path: Path) -> None:
    """An undo is a separate run. It reverts the rows that a run has created, changed, moved, removed or restored."""
    export = Export()
    export.rows["users"].append({**export.row("users", "s1"), "sourcedId": "back", "identifier": "b", "email": ""})
    await sync(north, export, tmp_path)
    (back,) = export.without("users", "back")
    await sync(north, export, tmp_path)
    before = await _living(north)
    gone = await ask(
        north,
        "SELECT to_jsonb(p) - 'updated_at' FROM person p WHERE district_id = :district AND removed_at IS NOT NULL",
    )
    export.rows["users"].append({**back, "givenName": "Returned"})
    export.rows["users"].append({**export.row("users", "s1"), "sourcedId": "new", "identifier": "n", "email": ""})
    export.row("users", "s3")["givenName"] = "Changed"
    export.row("users", "s5")["orgSourcedIds"] = "north"
    for name, sourced_id in (("users", "s7"), ("enrollments", "e7"), ("demographics", "s7")):
        export.without(name, sourced_id)
    run = await sync(north, export, tmp_path)
    assert (run.state, run.total("changes")) == ("applied", 7)
    assert await _living(north) != before
    undone = await _undo(north, run.run_id)
    assert (undone.state, undone.exit_code, undone.total("changes")) == ("applied", 0, 7)
    assert "is undone. 7 changes were made." in undone.sentence
    assert await _living(north) == before
    repeated = await ask(
        north,
        "SELECT to_jsonb(p) - 'updated_at' FROM person p WHERE district_id = :district AND removed_at IS NOT NULL",
    )
    assert gone[0] in repeated, "who had come back is away since the same day"
    log = await ask(
        north,
        "SELECT kind, action, count(*) FROM sis_change WHERE district_id = :district AND run_id = :run "
        "GROUP BY kind, action ORDER BY kind, action",
        run=undone.run_id,
    )
    assert log == [
        ("demographics", "restore", 1),
        ("enrollment", "restore", 1),
        ("person", "remove", 2),
        ("person", "restore", 1),
        ("person", "update", 2),
    ]


async def test_an_undone_run_comes_again_with_the_same_people(north: Town, tmp_path: Path) -> None:
    """If the first sync of a district is undone, no row of it remains. A new sync gives the rows the same ids as
    before.
    """
    first = await sync(north, Export(), tmp_path)
    student = await row_id(north, "person", "s3")
    assert (await _undo(north, first.run_id)).total("changes") == first.total("changes")
    left = await ask(
        north,
        "SELECT count(*) FROM person WHERE district_id = :district AND arrived_in IS NOT NULL AND removed_at IS NULL",
    )
    assert left == [(0,)]
    repeated = await sync(north, Export(), tmp_path, limits=LENIENT)
    assert (repeated.state, repeated.kinds["person"].restored) == ("applied", STUDENTS + 2)
    assert await row_id(north, "person", "s3") == student


async def test_a_run_on_which_a_later_one_builds_is_not_undone(north: Town, tmp_path: Path) -> None:
    """A run whose rows were changed by a later run can be undone only after the later run.

    Until then, the error states how many rows of each kind were changed.
    """
    export = Export()
    await sync(north, export, tmp_path)
    export.row("users", "s3")["givenName"] = "First"
    export.rows["users"].append({**export.row("users", "s1"), "sourcedId": "new", "identifier": "n", "email": ""})
    first = await sync(north, export, tmp_path)
    export.row("users", "s3")["givenName"] = "Second"
    export.rows["enrollments"].append({**export.row("enrollments", "e1"), "sourcedId": "en", "userSourcedId": "new"})
    second = await sync(north, export, tmp_path)
    with pytest.raises(Conflict) as refused:
        await _undo(north, first.run_id)
    assert refused.value.code == "run.changed_since"
    assert "people: 1, enrollments: 1." in refused.value.detail
    await _undo(north, second.run_id)
    assert (await _undo(north, first.run_id)).state == "applied"
    names = await ask(
        north,
        "SELECT given_name FROM person WHERE district_id = :district AND id = :id",
        id=await row_id(north, "person", "s3"),
    )
    assert names == [("Given s3",)]


async def test_only_an_applied_run_is_undone_and_once(north: Town, tmp_path: Path) -> None:
    """Only an applied run can be undone, and only once."""
    export = Export()
    dry = await sync(north, export, tmp_path, dry=True)
    run = await sync(north, export, tmp_path)
    undone = await _undo(north, run.run_id)
    for run_id, code in (
        (dry.run_id, "run.not_applied"),
        (run.run_id, "run.undone"),
        (undone.run_id, "run.not_applied"),
    ):
        with pytest.raises(Conflict) as refused:
            await _undo(north, run_id)
        assert refused.value.code == code


async def test_an_undo_names_kinds_as_the_run_did_and_counts_one_as_one(north: Town, tmp_path: Path) -> None:
    """The report of an undo names the same files as the report of the run, and says `1 change` for one change."""
    export = Export()
    await sync(north, export, tmp_path)
    export.row("users", "s3")["givenName"] = "Changed"
    run = await sync(north, export, tmp_path)
    assert run.sentence == "1 change was made."
    undone = await _undo(north, run.run_id)
    assert undone.sentence.endswith(" is undone. 1 change was made.")
    names = {kind: counts.file for kind, counts in run.kinds.items() if counts.file}
    assert names["person"] == "users.csv"
    assert {kind: undone.kinds[kind].file for kind in names} == names
    export.row("users", "s3").update(givenName="Changed", enabledUser="perhaps")
    bad = await sync(north, export, tmp_path)
    assert bad.sentence.endswith("1 row could not be taken and is in quarantine."), bad.sentence
