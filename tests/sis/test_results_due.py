"""Tests that after a sync, signals are computed again for exactly those students whose results in the gradebook
changed.
"""

from pathlib import Path
from typing import Any

import pytest

from app.sis import service
from app.sis.engine.apply import students_of_results
from app.sis.engine.stage import Stage
from app.sis.runs.approval import approve, execute_answer
from app.sis.runs.undo import undo
from tests.sis.gradebook_zip import Delivered
from tests.sis.roster_zip import LENIENT, ask, row_id, sync
from tests.town import Town


async def test_the_students_of_new_changed_and_removed_results_are_looked_at(
    north: Town, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a sync, signals are computed for the students of new, changed, removed and restored results only.

    If the run plans no change of a result, no statement is executed to find these students.
    """
    usernames: list[set[str]] = []
    joined: list[bool] = []

    async def watched(stage: Stage) -> set[object]:
        rows, statements = Stage.rows, list[str]()

        async def noted(stage: Stage, sql: str) -> list[object]:
            statements.append(sql)
            return await rows(stage, sql)

        with monkeypatch.context() as patched:
            patched.setattr(Stage, "rows", noted)
            students = await students_of_results(stage)
        people = await rows(stage, "SELECT id, username FROM person WHERE district_id = :district")
        usernames.append({row["username"] for row in people if row["id"] in students})
        joined.append(bool(statements))
        return set(students)

    monkeypatch.setattr(service, "students_of_results", watched)
    await sync(north, Delivered(), tmp_path, limits=LENIENT)
    await sync(north, Delivered(), tmp_path, limits=LENIENT)
    export = Delivered()
    export.row("results", "r-quiz-s0").update(score="12")
    export.row("results", "r-quiz-s3").update(sourcedId="r-quiz-s3-new")
    export.without("results", "r-essay-s1")
    await sync(north, export, tmp_path, limits=LENIENT)
    await sync(north, Delivered(), tmp_path, limits=LENIENT)
    everybody = {f"s{n}" for n in range(4)}
    assert usernames == [everybody, set(), {"s0", "s1", "s3"}, {"s0", "s1", "s3"}]
    assert joined == [True, False, True, True]
    due = await ask(north, "SELECT count(*) FROM signal_due WHERE district_id = :district")
    assert due[0][0] == len(everybody)


async def test_an_approved_plan_and_an_undo_have_their_students_looked_at(north: Town, tmp_path: Path) -> None:
    """Approving a held plan, and undoing it, marks its students' signals as due to be computed again."""
    export = Delivered()
    for n in range(30):
        export.rows["results"].append({**export.row("results", "r-quiz-s0"), "sourcedId": f"more{n}"})
    await sync(north, export, tmp_path)
    export.without("results", *(f"more{n}" for n in range(30)))
    held = await sync(north, export, tmp_path)
    assert held.plan is not None
    due = f"SELECT marked_at FROM signal_due WHERE district_id = :district AND student_id = '{await _student(north)}'"
    before = await ask(north, due)
    async with north.unit() as work:
        await approve(work, held.run_id, held.plan["digest"], False)
    place = (north.worker_engine, north.settings.keyring, north.district_id, held.run_id, _quiet)
    assert (await execute_answer(*place)).state == "applied"
    approved = await ask(north, due)
    assert approved > before
    assert (await undo(*place)).kinds["result"].restored == 30
    assert await ask(north, due) > approved


async def _student(town: Town) -> Any:
    return await row_id(town, "person", "s0")


def _quiet(_doing: str, _done: int, _of: int) -> None:
    """Shows no progress."""
