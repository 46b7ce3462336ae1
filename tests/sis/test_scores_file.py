"""Tests that a CSV file of scores goes through all steps of a sync: plan, limits, apply, report, undo."""

from datetime import date
from pathlib import Path
from uuid import UUID

import pytest

from app.core import ids
from app.core.errors import Conflict
from app.evidence.amend import Amendment
from app.evidence.service import NewScore
from app.response.service import amend_score, record_scores, remove_score
from app.sis.engine.report import Report
from app.sis.runs.approval import approve, execute_answer
from app.sis.runs.undo import undo
from tests.sis.roster_zip import ask, staged_rows
from tests.sis.score_file import Scores, line, load, refused, scores_of, versions
from tests.town import Town

DAY = "2026-09-09"


async def _undo(town: Town, run_id: UUID) -> Report:
    return await undo(
        town.worker_engine, town.settings.keyring, town.district_id, run_id, lambda _doing, _done, _of: None
    )


async def _approve(town: Town, report: Report, *, without_removals: bool = False) -> Report:
    assert report.plan is not None
    async with town.unit() as work:
        await approve(work, report.run_id, report.plan["digest"], without_removals)
    return await execute_answer(
        town.worker_engine, town.settings.keyring, town.district_id, report.run_id, lambda _doing, _done, _of: None
    )


async def _score_id(town: Town, name: str) -> UUID:
    rows = await ask(town, "SELECT id FROM score WHERE district_id = :district AND external_id = :name", name=name)
    return UUID(str(rows[0][0]))


async def _last_scores(town: Town) -> set[str]:
    """Returns the days of last scores that the students' rows have."""
    rows = await ask(
        town, "SELECT DISTINCT last_score_on::text FROM person WHERE district_id = :district AND is_student"
    )
    return {row[0] for row in rows}


async def test_a_window_is_recorded_once(north: Town, tmp_path: Path) -> None:
    """Each row of a file becomes a score of its student, and importing the same file again writes no row."""
    report = await load(north, Scores(), tmp_path)
    assert (report.state, report.exit_code, report.mode) == ("applied", 0, "scores"), report.sentence
    assert (report.kinds["score"].fetched, report.kinds["score"].created) == (3, 3)
    assert await scores_of(north) == [
        ("w0", "amy-1", 40.0, DAY, 1, None, "screening"),
        ("w1", "ben-1", 41.0, DAY, 1, None, "screening"),
        ("w2", "cy-1", 42.0, DAY, 1, None, "screening"),
    ]
    schools = await ask(north, "SELECT school_ids FROM score WHERE district_id = :district AND external_id = 'w2'")
    assert list(schools[0][0]) == [north.schools[1]]
    assert await _last_scores(north) == {DAY}
    before = await versions(north)
    repeated = await load(north, Scores(), tmp_path)
    assert (repeated.state, repeated.kinds["score"].unchanged, repeated.total("changes")) == ("applied", 3, 0)
    assert await versions(north) == before
    assert await staged_rows(north) == {}


async def test_a_corrected_value_keeps_what_was(north: Town, tmp_path: Path) -> None:
    """If a value is corrected, the change log keeps the earlier value.

    If a row is marked as deleted, its score is removed.
    """
    scores = Scores()
    await load(north, scores, tmp_path)
    scores.columns = (*scores.columns, "status")
    scores.rows[0] |= {"value": "55", "date": "2026-09-10"}
    scores.rows[1] |= {"status": "tobedeleted"}
    report = await load(north, scores, tmp_path)
    counts = report.kinds["score"]
    assert (counts.updated, counts.removed, counts.unchanged) == (1, 1, 1), report.sentence
    assert [row[:4] for row in await scores_of(north)] == [
        ("w0", "amy-1", 55.0, "2026-09-10"),
        ("w2", "cy-1", 42.0, DAY),
    ]
    changes = await ask(
        north,
        "SELECT action, before ->> 'value', because FROM score_change WHERE district_id = :district ORDER BY 1",
    )
    assert [tuple(row) for row in changes] == [
        ("amended", "40", "The source says so."),
        ("removed", "41", "The source says so."),
    ]
    assert await _last_scores(north) == {"2026-09-10", "1900-01-01", DAY}
    assert (await load(north, scores, tmp_path)).total("changes") == 0


async def test_an_undo_brings_the_scores_back(north: Town, tmp_path: Path) -> None:
    """An undo removes new scores and restores changed and removed ones. After that, the file can be imported again.

    The history of each score lists all of these changes.
    """
    scores = Scores()
    first = await load(north, scores, tmp_path)
    before = await scores_of(north)
    scores.columns = (*scores.columns, "status")
    scores.rows[0] |= {"value": "55"}
    scores.rows[1] |= {"status": "tobedeleted"}
    scores.rows.append(line("amy-1", "60", "w9", "2026-09-16"))
    second = await load(north, scores, tmp_path)
    assert len(await scores_of(north)) == 3
    with pytest.raises(Conflict, match="Later syncs changed"):
        await _undo(north, first.run_id)
    undone = await _undo(north, second.run_id)
    assert (undone.state, undone.total("changes")) == ("applied", 3), undone.sentence
    assert await scores_of(north) == before
    assert (await load(north, scores, tmp_path)).total("changes") == 3
    assert len(await scores_of(north)) == 3


async def test_runs_are_undone_one_after_the_other(north: Town, tmp_path: Path) -> None:
    """After a later run is undone, the run before it can be undone too. A score that somebody else has changed is
    kept.
    """
    first, second = Scores(), Scores()
    second.rows[0]["value"], second.rows[1]["value"] = "47", "48"
    ran = [await load(north, scores, tmp_path) for scores in (first, second)]
    assert (await _undo(north, ran[1].run_id)).total("changes") == 2
    async with north.unit() as work:
        await amend_score(work, await _score_id(north, "w1"), Amendment("Scored again", value=49.0))
    undone = await _undo(north, ran[0].run_id)
    assert (undone.total("changes"), len(undone.warnings)) == (2, 1), undone.warnings
    assert [row[:3] for row in await scores_of(north)] == [("w1", "ben-1", 49.0)]


async def test_an_undo_leaves_what_a_person_has_changed_since(north: Town, tmp_path: Path) -> None:
    """An undo keeps a score that a person has amended since, with the person's value, and reports this.

    The other scores of the run are removed.
    """
    report = await load(north, Scores(), tmp_path)
    async with north.unit() as work:
        await amend_score(work, await _score_id(north, "w0"), Amendment("Scored again", value=47.0))
    undone = await _undo(north, report.run_id)
    assert undone.kinds["score"].removed == 2
    assert "1 score stays as it is" in undone.warnings[0]
    assert [row[:3] for row in await scores_of(north)] == [("w0", "amy-1", 47.0)]


async def test_each_bad_row_waits_at_its_place(north: Town, tmp_path: Path) -> None:
    """Each bad row is reported with row, field and code, and never with a value. The good rows are recorded."""
    bad: list[tuple[dict[str, str], str, str]] = [
        ({"studentSourcedId": "nobody"}, "studentSourcedId", "reference.unknown"),
        ({"studentSourcedId": "teacher-1"}, "studentSourcedId", "reference.unknown"),
        ({"studentSourcedId": ""}, "studentSourcedId", "value.missing"),
        ({"measure": "dibels"}, "measure", "measure.unknown"),
        ({"measure": ""}, "measure", "value.missing"),
        ({"date": "09/09/2026"}, "date", "date.malformed"),
        ({"date": "2199-01-01"}, "date", "score.in_the_future"),
        ({"date": "1999-12-31"}, "date", "date.too_early"),
        ({"date": ""}, "date", "value.missing"),
        ({"value": "forty"}, "value", "number.malformed"),
        ({"value": "NaN"}, "value", "number.malformed"),
        ({"value": "1e999"}, "value", "number.malformed"),
        ({"value": ""}, "value", "value.missing"),
        ({"value": "301"}, "value", "score.out_of_range"),
        ({"attempt": "0"}, "attempt", "score.attempt"),
        ({"attempt": "second"}, "attempt", "score.attempt"),
        ({"purpose": "grade"}, "purpose", "score.purpose"),
        ({"form": "F" * 201}, "form", "value.too_long"),
        ({"externalId": "x" * 256}, "externalId", "value.too_long"),
    ]
    scores = Scores()
    for place, (cells, _, _) in enumerate(bad):
        scores.rows.append({**line("amy-1", "50", f"bad{place}", f"2026-08-{place + 1:02}"), **cells})
    report = await load(north, scores, tmp_path)
    assert report.state == "held", "six in seven rows refused: the guard asks somebody"
    assert refused(report) == [(5 + place, field, code) for place, (_, field, code) in enumerate(bad)]
    assert await scores_of(north) == []
    done = await _approve(north, report)
    assert (done.state, done.exit_code, len(await scores_of(north))) == ("applied", 3, 3)
    stored = await ask(north, "SELECT sourced_id, content FROM sis_quarantine WHERE district_id = :district")
    assert {"bad0", "bad5"} <= {row[0] for row in stored}
    assert not any(word in str(report.as_json()) for word in ("forty", "09/09/2026", "dibels", "second"))


async def test_rows_that_contradict_each_other_all_wait(north: Town, tmp_path: Path) -> None:
    """Rows contradict each other if they have different values under one id, or for one student, measure, day and
    attempt. All of these rows are quarantined.

    Identical rows count once.
    """
    rows = [
        line("amy-1", "40", "same"),
        line("amy-1", "40", "same"),
        line("ben-1", "41", "twice"),
        line("ben-1", "44", "twice", "2026-09-10"),
        line("cy-1", "41", "one"),
        line("cy-1", "44", "other"),
        line("cy-1", "46", "attempt 2", attempt="2"),
    ]
    report = await load(north, Scores(rows), tmp_path)
    assert refused(report) == [
        (4, "externalId", "sourcedId.repeated"),
        (5, "externalId", "sourcedId.repeated"),
        (6, "studentSourcedId", "score.doubled"),
        (7, "studentSourcedId", "score.doubled"),
    ]
    assert (report.kinds["score"].fetched, report.kinds["score"].created) == (6, 2)
    assert [row[:5] for row in await scores_of(north)] == [
        ("attempt 2", "cy-1", 46.0, DAY, 2),
        ("same", "amy-1", 40.0, DAY, 1),
    ]


async def test_a_persons_word_stays(north: Town, tmp_path: Path) -> None:
    """A score that a person amended or removed does not change when the same file is imported again. If the file has
    another value, this is reported.
    """
    scores = Scores()
    await load(north, scores, tmp_path)
    async with north.unit() as work:
        await amend_score(work, await _score_id(north, "w0"), Amendment("Scored again", value=47.0))
        await remove_score(work, await _score_id(north, "w1"), "Another child's paper")
    repeated = await load(north, scores, tmp_path)
    assert (repeated.exit_code, repeated.total("changes"), repeated.kinds["score"].unchanged) == (0, 0, 3)
    scores.rows[0]["value"], scores.rows[1]["value"] = "48", "49"
    other = await load(north, scores, tmp_path)
    assert (other.exit_code, refused(other)) == (3, [(2, "value", "score.amended"), (3, "value", "score.amended")])
    assert [row[:3] for row in await scores_of(north)] == [("w0", "amy-1", 47.0), ("w2", "cy-1", 42.0)]


async def test_another_senders_score_stays(north: Town, tmp_path: Path) -> None:
    """A file does not change a score that a client has recorded over the API.

    A row with the same value counts as unchanged, and a row with another value is refused.
    """
    async with north.unit() as work:
        for student, value in (("amy", 40.0), ("ben", 90.0)):
            name = ids.format_id("student", north.students[student])
            await record_scores(work, [NewScore(name, "orf", date.fromisoformat(DAY), value, purpose="screening")])
    report = await load(north, Scores(), tmp_path)
    assert refused(report) == [(3, "value", "score.other_sender")]
    assert (report.kinds["score"].unchanged, report.kinds["score"].created) == (1, 1)


async def test_a_file_without_ids_is_known_by_student_measure_day_and_attempt(north: Town, tmp_path: Path) -> None:
    """A file with only the four required columns is imported. Scores are matched by student, measure and day.

    If the file is imported again, nothing changes. If a row has another value, its score is updated.
    """
    scores = Scores(columns=("studentSourcedId", "measure", "date", "value"))
    scores.rows[2]["studentSourcedId"] = "sis:sis:cy-1"
    assert (await load(north, scores, tmp_path)).kinds["score"].created == 3
    repeated = await load(north, scores, tmp_path)
    assert (repeated.total("changes"), repeated.kinds["score"].unchanged) == (0, 3)
    scores.rows[2]["value"] = "50"
    assert (await load(north, scores, tmp_path)).kinds["score"].updated == 1
    assert {(row[1], row[2], row[6]) for row in await scores_of(north)} == {
        ("amy-1", 40.0, "progress"),
        ("ben-1", 41.0, "progress"),
        ("cy-1", 50.0, "progress"),
    }


async def test_an_id_of_another_score_waits(north: Town, tmp_path: Path) -> None:
    """A row is quarantined if its id is that of another student's score, or if its score has another id already."""
    await load(north, Scores(), tmp_path)
    rows = [line("ben-1", "40", "w0", "2026-09-11"), line("cy-1", "42", "new")]
    report = await load(north, Scores(rows), tmp_path)
    assert refused(report) == [(2, "externalId", "score.two_identities"), (3, "externalId", "score.two_identities")]
    assert report.total("changes") == 0


async def test_a_dry_run_writes_nothing(north: Town, tmp_path: Path) -> None:
    """A dry run counts the plan, and writes no score and no event."""
    report = await load(north, Scores(), tmp_path, dry=True)
    assert (report.state, report.kinds["score"].created) == ("dry", 3)
    assert await scores_of(north) == []
    assert await ask(north, "SELECT 1 FROM event WHERE district_id = :district AND type LIKE 'sync.%'") == []


async def _year(town: Town, folder: Path, rows: int = 60) -> Scores:
    days = [f"2026-{5 + n // 28:02}-{1 + n % 28:02}" for n in range(rows)]
    scores = Scores([line("amy-1", "50", f"y{n}", day) for n, day in enumerate(days)])
    assert (await load(town, scores, folder)).state == "applied"
    return scores


async def test_a_file_that_changes_too_much_is_held(north: Town, tmp_path: Path) -> None:
    """A file of scores that changes too much is held. After approval it is applied.

    In this test, every row has values on another scale. If the same file is imported again before the approval, the new
    plan replaces the first one.
    """
    scores = await _year(north, tmp_path)
    for row in scores.rows:
        row["value"] = "5"
    held = await load(north, scores, tmp_path)
    assert (held.state, held.exit_code) == ("held", 4)
    assert held.sentence.startswith("The sync is held, and no score has changed: ")
    assert "60 of 60 scores (100%) would be changed; the limit is 75%." in held.sentence
    assert {row[2] for row in await scores_of(north)} == {50.0}
    next_report = await load(north, scores, tmp_path)
    assert next_report.plan is not None
    assert held.plan is not None
    assert next_report.plan["digest"] == held.plan["digest"]
    states = await ask(north, "SELECT state FROM sis_run WHERE district_id = :district ORDER BY id")
    assert [row[0] for row in states] == ["applied", "discarded", "held"]
    done = await _approve(north, next_report)
    assert (done.state, done.sentence) == ("applied", "60 changes were made.")
    assert {row[2] for row in await scores_of(north)} == {5.0}


async def test_removals_are_held_and_may_be_left_out(north: Town, tmp_path: Path) -> None:
    """A file that marks half of a year's scores as deleted is held for approval, and can be approved without the
    removals.
    """
    scores = await _year(north, tmp_path)
    scores.columns = (*scores.columns, "status")
    for row in scores.rows[:30]:
        row["status"] = "tobedeleted"
    scores.rows[40]["value"] = "55"
    held = await load(north, scores, tmp_path)
    assert "30 of 60 scores (50%) would be removed; the limit is 10%." in held.sentence
    done = await _approve(north, held, without_removals=True)
    assert (done.state, done.total("changes")) == ("applied", 1)
    assert len(await scores_of(north)) == 60


async def test_a_plan_is_void_once_its_scores_changed(north: Town, tmp_path: Path) -> None:
    """If a score is amended between the plan and the approval, the run exits with 6 and writes nothing."""
    scores = await _year(north, tmp_path)
    for row in scores.rows:
        row["value"] = "5"
    held = await load(north, scores, tmp_path)
    async with north.unit() as work:
        await amend_score(work, await _score_id(north, "y7"), Amendment("Scored again", value=47.0))
    done = await _approve(north, held)
    assert (done.state, done.exit_code) == ("discarded", 6)
    assert {row[2] for row in await scores_of(north)} == {50.0, 47.0}


async def test_a_source_is_of_one_kind(north: Town, tmp_path: Path) -> None:
    """Scores cannot be imported under the source of the SIS, because its nightly run would remove them."""
    with pytest.raises(Conflict, match="kind"):
        await load(north, Scores(), tmp_path, source="sis")
