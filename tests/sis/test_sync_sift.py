"""Tests that a row which is skipped as unchanged would also be unchanged after its conversion."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from app.settings import Settings
from app.sis.engine import report as reporting
from app.sis.engine.intake import convert
from app.sis.engine.stage import Stage
from app.sis.kinds import Kind
from app.sis.rules import RunState
from tests.sis.gradebook_zip import Delivered
from tests.sis.roster_zip import LENIENT, ask, sync
from tests.town import Town

Planned = list[tuple[str, dict[str, Any]]]


def _crooked() -> Delivered:
    """Returns a delivery in which nearly every row differs from `Delivered()`, in its meaning or only in its
    spelling.
    """
    export = Delivered()
    users = {
        "s0": {"givenName": " Given s0 ", "enabledUser": "TRUE"},  # in looks only
        "s1": {"grades": "03", "orgSourcedIds": " south"},
        "s2": {"grades": "4"},
        "s3": {"status": "tobedeleted"},
        "s4": {"status": " Active ", "middleName": "  "},
        "s5": {"role": "Student", "username": ""},
        "s6": {"orgSourcedIds": "north,south"},
        "s7": {"orgSourcedIds": "south,nowhere"},  # the school it has, and one that nobody knows
        "s8": {"enabledUser": "perhaps"},
        "s9": {"familyName": "Changed"},
        "s10": {"sourcedId": "s10-new"},
        "t-north": {"role": "aide"},
    }
    enrollments = {
        "e11": {"primary": "0"},  # as good as nothing
        "e12": {"beginDate": "2026-13-45"},
        "e13": {"endDate": ""},
        "e14": {"classSourcedId": "class-south"},
        "e15": {"userSourcedId": "nobody"},
        "e16": {"status": "asleep"},
        "e17": {"role": ""},
        "e18": {"sourcedId": "e18-new"},
        "e19": {"sourcedId": ""},
    }
    results = {
        "r-quiz-s0": {"score": "70.0"},  # the same number
        "r-quiz-s1": {"score": "71.5"},
        "r-essay-s0": {"scoreDate": "2026-09-09T10:00:00Z"},  # the same day
        "r-essay-s1": {"score": "many"},
    }
    others = {"class-south": {"courseSourcedId": "none", "termSourcedIds": "y27,fall"}}
    for name, cells in (("users", users), ("enrollments", enrollments), ("results", results), ("classes", others)):
        for sourced_id, values in cells.items():
            export.row(name, sourced_id).update(values)
    export.row("demographics", "s20").update(asian="yes", birthDate="")
    export.row("lineItems", "quiz-north").update(dueDate="2026-09-08T20:00:00Z")  # the same instant
    export.without("users", "s21")
    export.without("enrollments", "e22")
    return export


async def _plan(
    town: Town, export: Delivered, folder: Path, patch: pytest.MonkeyPatch, *, sift: bool
) -> tuple[Planned, dict[str, Any], int]:
    """Returns three results of a dry run: the plan, the report, and the number of sifted kinds of record.

    The plan is returned without ids, because new rows get other ids in each run. A kind is sifted if its unchanged rows
    were left out before the conversion. Without `sift`, no kind is sifted.
    """
    plans: Planned = []
    sifted: set[str] = set()
    planned = reporting.count_planned

    async def watched(stage: Stage, kind: Kind) -> dict[str, int]:
        refs = "".join(f" - '{ref.column}'" for ref in kind.refs)
        rows = await stage.rows(
            f"SELECT (to_jsonb(p) - 'id' - 'run_id'{refs})::text AS row FROM {stage.of_run('plan', kind.name)} AS p "
            "ORDER BY 1"
        )
        plans.extend((kind.name, row["row"]) for row in rows)
        sifted.update(stage.sifted)
        return await planned(stage, kind)

    async def never(*_: Any) -> None:
        return None

    with patch.context() as patched:
        patched.setattr(reporting, "count_planned", watched)
        if not sift:
            patched.setattr(convert, "_sift", never)
        report = await sync(town, export, folder, dry=True, limits=LENIENT)
    shown = {name: value for name, value in report.as_json().items() if name in ("kinds", "refusals", "warnings")}
    for refusal in shown["refusals"]:
        del refusal["id"]  # it is of one run
    return plans, shown, len(sifted)


async def test_sifted_or_read_whole_the_plan_is_the_same(
    north: Town, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A plan is the same whether unchanged rows were skipped or read."""
    await sync(north, Delivered(), tmp_path, limits=LENIENT)
    await ask(
        north,
        """UPDATE person SET pinned = '{family_name}', family_name = 'Pinned'
           WHERE district_id = :district AND username = 's9'""",
    )
    read_whole = await _plan(north, _crooked(), tmp_path, monkeypatch, sift=False)
    sifted = await _plan(north, _crooked(), tmp_path, monkeypatch, sift=True)
    assert read_whole[2] == 0
    assert sifted[2] >= 6  # all but the kinds that refer to themselves
    assert sifted[:2] == read_whole[:2]
    assert {"create", "update", "remove", "absent", "refuse"} <= {
        action for action in ("create", "update", "remove", "absent", "refuse") if f'"{action}"' in str(sifted[0])
    }


@pytest.mark.parametrize("differs", [False, True])
async def test_a_repeated_row_is_found_although_it_is_as_it_was(
    north: Town, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, differs: bool
) -> None:
    """A repeated row is counted as repeated, even if it equals the stored row."""
    await sync(north, Delivered(), tmp_path, limits=LENIENT)
    export = Delivered()
    repeated = dict(export.row("enrollments", "e3"), **({"endDate": "2027-01-01"} if differs else {}))
    export.rows["enrollments"].append(repeated)
    read_whole = await _plan(north, export, tmp_path, monkeypatch, sift=False)
    sifted = await _plan(north, export, tmp_path, monkeypatch, sift=True)
    assert sifted[:2] == read_whole[:2]
    assert sifted[1]["kinds"]["enrollment"]["quarantined"] == (2 if differs else 0)


async def test_unchanged_rows_are_compared_by_parallel_workers(
    north: Town, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The sync compares delivered rows with stored rows by a join that PostgreSQL can run in parallel processes.

    Earlier, a subquery around the table of delivered rows prevented parallel plans, and a sync without changes took
    nearly twice as long.
    """
    await sync(north, Delivered(), tmp_path, limits=LENIENT)
    plans: dict[str, str] = {}
    insert_parallel = Stage.insert_parallel

    async def explained(stage: Stage, name: str, kind: str, columns: Sequence[str], query: str) -> int:
        # The tables of this test are small.
        for setting in ("min_parallel_table_scan_size", "min_parallel_index_scan_size", "parallel_setup_cost"):
            await stage.driver.execute(f"SET LOCAL {setting} = 0")
        await stage.driver.execute("SET LOCAL parallel_tuple_cost = 0")
        plan = await stage.driver.fetch(f"EXPLAIN (COSTS OFF) {stage._spelled_out(query)}")
        plans[kind] = "\n".join(line for (line,) in plan)
        return await insert_parallel(stage, name, kind, columns, query)

    with monkeypatch.context() as patched:
        patched.setattr(Stage, "insert_parallel", explained)
        await sync(north, Delivered(), tmp_path, dry=True, limits=LENIENT)
    # A table that PostgreSQL has analyzed may look too small to share, so one of the four is enough: the queries have
    # the same form, and none of them could be shared around such a subquery.
    large = ("person", "enrollment", "demographics", "result")
    assert any("Parallel Hash Full Join" in plans[kind] for kind in large), plans


async def test_a_server_with_little_shared_memory_compares_without_parallel_workers(
    north: Town, tmp_path: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A sync succeeds where parallel workers get too little shared memory, as in a container with its default of 64 MB.

    A function of the test raises PostgreSQL's error for too little memory while parallel workers are allowed.
    """
    await sync(north, Delivered(), tmp_path, limits=LENIENT)
    insert_parallel, kinds = Stage.insert_parallel, []

    async def starved(stage: Stage, name: str, kind: str, columns: Sequence[str], query: str) -> int:
        kinds.append(kind)
        query = f"SELECT * FROM ({query}) AS x WHERE public.has_enough_memory()"
        return await insert_parallel(stage, name, kind, columns, query)

    owner = await asyncpg.connect(settings.url_of("owner"))
    try:
        await owner.execute(
            """CREATE FUNCTION public.has_enough_memory() RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN
                   IF current_setting('max_parallel_workers_per_gather')::int > 0 THEN
                       RAISE 'could not resize shared memory segment' USING ERRCODE = 'disk_full';
                   END IF;
                   RETURN true; END $$;
               GRANT EXECUTE ON FUNCTION public.has_enough_memory() TO PUBLIC"""
        )
        with monkeypatch.context() as patched:
            patched.setattr(Stage, "insert_parallel", starved)
            report = await sync(north, _crooked(), tmp_path, dry=True, limits=LENIENT)
    finally:
        await owner.execute("DROP FUNCTION public.has_enough_memory()")
        await owner.close()
    assert "result" in kinds
    assert (report.state, report.kinds["enrollment"].updated > 0) == (RunState.DRY, True)
