"""Tests how a CSV file of scores may name measures, forms and students, and how reports name them."""

from pathlib import Path

from app.evidence.amend import Amendment
from app.playbook.measures.service import NewMeasure, make_measure
from app.response.service import amend_score
from app.sis.engine.review.scope import SourceScope
from app.sis.runs.approval import approve, discard, execute_answer
from app.sis.service import sync_scores
from tests.sis.roster_zip import ask
from tests.sis.score_file import Scores, line, load, scores_of
from tests.town import Town


def _quiet(_doing: str, _done: int, _of: int) -> None:
    """Ignores the progress of a run."""


async def _measure(town: Town, code: str, forms: tuple[str, ...] | None = None) -> None:
    async with town.unit() as work:
        await make_measure(work, NewMeasure(code, code, "ela.fluency", "words", "up", 0.0, 300.0, forms=forms))


async def test_a_measure_in_another_case_is_read_and_reported(north: Town, tmp_path: Path) -> None:
    """Codes of measures and forms in another case, such as ORF for orf, are read, and the report says in how many
    rows.
    """
    await _measure(north, "cloze", ("Fall A", "Fall B"))
    scores = Scores()
    scores.rows[0] |= {"measure": "CLOZE", "form": "FALL A"}
    scores.rows[1] |= {"measure": "\u00a0Cloze ", "form": "Fall B\u200b"}
    report = await load(north, scores, tmp_path)
    assert (report.exit_code, report.kinds["score"].created) == (0, 3), report.sentence
    assert [row[5] for row in await scores_of(north)] == ["Fall A", "Fall B", None]
    assert report.warnings == [
        "scores.csv: 2 rows have a measure in another case than the playbook, read as that.",
        "scores.csv: 1 row has a form in another case than the playbook, read as that.",
    ]
    exact = Scores([scores.rows[0] | {"measure": "cloze"}, scores.rows[1] | {"measure": "cloze"}, scores.rows[2]])
    assert (await load(north, exact, tmp_path)).total("changes") == 0


async def test_a_form_that_two_forms_match_is_not_guessed(north: Town, tmp_path: Path) -> None:
    """If two forms of the playbook differ only in case, each row gets the form that it spells exactly."""
    await _measure(north, "cloze", ("b1", "B1"))
    rows = [line(f"{name}-1", "5", name, measure="cloze") for name in ("amy", "ben", "cy")]
    rows[0]["form"], rows[1]["form"] = "b1", "B1"
    report = await load(north, Scores(rows), tmp_path)
    assert (report.exit_code, report.warnings) == (0, [])
    assert [row[5] for row in await scores_of(north)] == ["b1", "B1", None]


async def test_an_excluded_student_stays_out_however_named(north: Town, tmp_path: Path) -> None:
    """Scores of an excluded student are neither recorded nor removed, in whatever way a row names the student.

    A row may name the student alone, with the source, or only by the score's external id.
    """
    first = Scores([line("amy-1", "40", "w0"), line("ben-1", "41", "w1")])
    assert (await load(north, first, tmp_path)).total("created") == 2
    ((source,),) = await ask(
        north,
        """SELECT o.name FROM source o JOIN external_id e ON e.district_id = o.district_id AND e.source_id = o.id
           WHERE o.district_id = :district AND e.sourced_id = 'amy-1'""",
    )
    rows = [
        line("amy-1", "60", "", "2026-09-10"),
        line(f"sis:{source}:amy-1", "61", "", "2026-09-11"),
        line("", "", "w0", "", measure="", status="tobedeleted"),
        line("ben-1", "62", "w1"),
    ]
    path = Scores(rows, (*first.columns, "status")).write(tmp_path / "scores.csv")
    report = await sync_scores(
        *(north.worker_engine, north.settings.keyring, north.district_id, path, "vendor"),
        *(False, _quiet, SourceScope(excluded=("amy-1",))),
    )
    assert (report.state, report.exit_code, report.total("changes")) == ("applied", 0, 1), report.sentence
    assert [row[:3] for row in await scores_of(north)] == [("w0", "amy-1", 40.0), ("w1", "ben-1", 62.0)]
    assert report.warnings == ["scores.csv: 3 rows are left out, because of other schools or of excluded users."]


async def test_the_words_of_a_run_fit_scores(north: Town, tmp_path: Path) -> None:
    """If an import of scores fails, is discarded or has an outdated plan, its messages do not mention the roster."""
    failed = await load(north, tmp_path / "gone.csv", tmp_path)
    assert failed.sentence == "There is no file gone.csv. Nothing was changed."
    year = Scores([line("amy-1", "50", f"y{n}", f"2026-{n % 9 + 1:02}-{n // 9 + 1:02}") for n in range(60)])
    assert (await load(north, year, tmp_path)).state == "applied"
    other = Scores([row | {"value": "5"} for row in year.rows])
    held = await load(north, other, tmp_path)
    async with north.unit() as work:
        await discard(work, held.run_id)
    again = await load(north, other, tmp_path)
    assert again.plan is not None
    ((score_id,),) = await ask(north, "SELECT id FROM score WHERE district_id = :district AND external_id = 'y7'")
    async with north.unit() as work:
        await amend_score(work, score_id, Amendment("Scored again", value=47.0))
        await approve(work, again.run_id, again.plan["digest"], False)
    town = (north.worker_engine, north.settings.keyring, north.district_id)
    void = await execute_answer(*town, again.run_id, _quiet)
    assert void.sentence.startswith("The scores have changed since the plan was made")
    sentences = await ask(north, "SELECT sentence FROM sis_run WHERE district_id = :district")
    assert not [sentence for (sentence,) in sentences if "roster" in sentence]
