"""Tests the list of planned changes of a file of scores, for a held run and for a dry run. Also tests their partial
approval.
"""

from pathlib import Path
from typing import Any
from uuid import UUID

from app.access.permission import Can
from app.access.principal import Principal, client_principal
from app.access.work import unit
from app.core.ids import format_id, new_id
from app.playbook.measures.service import NewMeasure, make_measure
from app.sis.engine.report import Report
from app.sis.runs.approval import approve, execute_answer
from app.sis.runs.plans.changes import ChangeFilter, PlannedChange, planned_changes
from tests.processes import aimline
from tests.sis.score_file import Scores, line, load, scores_of
from tests.town import Town

Shown = dict[str, tuple[str | None, str | None, bool]]


def _caller(town: Town, *scopes: str, schools: tuple[UUID, ...] = ()) -> Principal:
    return client_principal(town.district_id, new_id(), "test", frozenset({Can.READ_SYNC, *scopes}), schools)


async def _read(town: Town, report: Report, principal: Principal, **chosen: Any) -> list[PlannedChange]:
    async with unit(town.worker_engine, principal, town.settings.keyring, "test") as work:
        return await planned_changes(work, report.run_id, ChangeFilter(**chosen))


def _fields(changes: list[PlannedChange], sourced_id: str) -> Shown:
    (one,) = [change for change in changes if change.sourced_id == sourced_id]
    return {field.field: (field.before, field.after, field.digest) for field in one.fields}


async def _year(town: Town, folder: Path, held: bool = True) -> tuple[Scores, Report]:
    """Imports thirty scores of amy and thirty of cy, and then the same file with another value in each row.

    The second run is held, because it would change too many scores. If `held` is false, it is a dry run. Returns the
    changed file, and the report of the second run.
    """
    scores = Scores(
        [
            line(student, "50", f"{student}-{n}", f"2026-{5 + n // 28:02}-{1 + n % 28:02}")
            for student in ("amy-1", "cy-1")
            for n in range(30)
        ]
    )
    assert (await load(town, scores, folder)).state == "applied"
    for row in scores.rows:
        row["value"] = "5"
    report = await load(town, scores, folder, dry=not held)
    assert report.state == ("held" if held else "dry")
    return scores, report


async def test_the_first_dry_run_lists_every_score(north: Town, tmp_path: Path) -> None:
    """The first dry run of a source lists every planned score, and the counts of its report agree with the list."""
    report = await load(north, Scores(), tmp_path, dry=True)
    changes = await _read(north, report, _caller(north, Can.READ_SCORES, Can.READ_ROSTER))
    assert [(change.kind, change.action, change.sourced_id) for change in changes] == [
        ("score", "create", "w0"),
        ("score", "create", "w1"),
        ("score", "create", "w2"),
    ]
    assert report.listed == len(changes) == report.total("changes")
    assert _fields(changes, "w0") == {
        "studentSourcedId": (None, "amy-1", False),
        "measure": (None, "orf", False),
        "date": (None, "2026-09-09", False),
        "attempt": (None, "1", False),
        "value": (None, "40", False),
        "purpose": (None, "screening", False),
    }


async def test_a_changed_score_names_its_student_and_only_what_changes(north: Town, tmp_path: Path) -> None:
    """A changed score is listed with its student, measure, date and changed value. A removal lists all former
    values.
    """
    await load(north, Scores(), tmp_path)
    scores = Scores(columns=(*Scores().columns, "status"))
    scores.rows[0]["value"], scores.rows[1]["status"] = "44", "tobedeleted"
    report = await load(north, scores, tmp_path, dry=True)
    changes = await _read(north, report, _caller(north, Can.READ_SCORES))
    assert [(change.action, change.sourced_id) for change in changes] == [("remove", "w1"), ("update", "w0")]
    assert _fields(changes, "w0") == {
        "studentSourcedId": ("amy-1", "amy-1", False),
        "measure": ("orf", "orf", False),
        "date": ("2026-09-09", "2026-09-09", False),
        "value": ("40", "44", False),
    }
    assert _fields(changes, "w1")["value"] == ("41", None, False)


async def test_values_are_digests_without_the_scope_of_scores(north: Town, tmp_path: Path) -> None:
    """A caller who may not read scores sees neither values nor measures; a client of one school sees only its
    students.
    """
    _, report = await _year(north, tmp_path, held=False)
    blind = await _read(north, report, _caller(north, Can.READ_ROSTER))
    value, measure = _fields(blind, "amy-1-3")["value"], _fields(blind, "amy-1-3")["measure"]
    assert (value[2], measure[2], {"50", "5", "orf"} & {*value[:2], *measure[:2]}) == (True, True, set())
    of_school = _caller(north, Can.READ_SCORES, schools=(north.schools[1],))
    assert {change.sourced_id for change in await _read(north, report, of_school)} == {f"cy-1-{n}" for n in range(30)}
    assert len(await _read(north, report, _caller(north), school_id=north.schools[0])) == 30


async def test_a_secured_measure_is_shown_to_those_who_may_open_it(north: Town, tmp_path: Path) -> None:
    """Without the scope of a secured area, planned scores of this area and their measure are shown as digests."""
    async with north.unit() as work:
        await make_measure(work, NewMeasure("mood", "Mood", "sel", "points", "up", 0.0, 10.0))
    rows = [line("amy-1", "3", "mood-1", measure="mood"), line("amy-1", "40", "orf-1")]
    report = await load(north, Scores(rows), tmp_path, dry=True)
    assert report.listed == 2, report.refusals
    shut = await _read(north, report, _caller(north, Can.READ_SCORES))
    assert _fields(shut, "mood-1")["measure"][2]
    assert _fields(shut, "orf-1")["measure"] == (None, "orf", False)
    opened = await _read(north, report, _caller(north, Can.READ_SCORES, "area:sel"))
    assert (_fields(opened, "mood-1")["measure"], _fields(opened, "mood-1")["value"]) == (
        (None, "mood", False),
        (None, "3", False),
    )


async def test_a_file_is_approved_for_one_school(north: Town, tmp_path: Path) -> None:
    """A file of scores is approved for one school: only its students get their scores, and the counts add up.

    The other scores are planned again by the next run.
    """
    scores, report = await _year(north, tmp_path)
    assert report.plan is not None
    async with north.unit() as work:
        school = format_id("org", north.schools[0])
        await approve(work, report.run_id, report.plan["digest"], schools=[school], kinds=["score"])
    done = await execute_answer(
        north.worker_engine, north.settings.keyring, north.district_id, report.run_id, lambda _doing, _done, _of: None
    )
    assert (done.state, done.total("changes"), done.total("left_out")) == ("applied", 30, 30)
    assert done.sentence == "30 changes were made. 30 planned changes are left out: see the notes."
    note = "scores.csv: 30 planned changes are left out, because not all of their schools were approved."
    assert note in done.warnings
    assert {(row[1], row[2]) for row in await scores_of(north)} == {("amy-1", 5.0), ("cy-1", 50.0)}
    rest = await load(north, scores, tmp_path)
    assert (rest.total("changes"), rest.kinds["score"].unchanged) == (30, 30)


async def test_the_command_line_shows_the_list(north: Town, tmp_path: Path) -> None:
    """The output of `aimline sync scores --dry-run` names the command `aimline sync diff`, which prints the changes."""
    path = str(Scores().write(tmp_path / "window.csv"))
    dry = aimline(north.settings, "sync", "scores", path, "--district", north.slug, "--source", "vendor", "--dry-run")
    assert dry.returncode == 0, dry.stderr
    command = next(text for text in dry.stdout.splitlines() if text.startswith("See who and what: aimline "))
    shown = aimline(north.settings, *command.removeprefix("See who and what: aimline ").split(), "--kind", "score")
    assert shown.returncode == 0, shown.stderr
    row = "measure orf, date 2026-09-09, attempt 1, value 40, purpose screening, studentSourcedId amy-1"
    assert row in shown.stdout
    assert "3 of 3 listed changes." in shown.stdout
