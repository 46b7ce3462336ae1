"""Tests lists and grades that a source writes in another way than the standard: they are read where they are clear."""

from pathlib import Path
from typing import Any

import pytest

from app.sis.runs.quarantine import acknowledge_rows
from tests.sis.case_zip import CaseZip
from tests.sis.gradebook_zip import Delivered
from tests.sis.roster_zip import ask, sync
from tests.sis.rows_server import RowsServer, sync_rows
from tests.sis.score_file import Scores, line, load, scores_of
from tests.town import Town

_TERMS = """SELECT e.sourced_id FROM class c JOIN external_id e ON e.district_id = :district
    AND e.row_id = ANY (c.academic_session_ids) WHERE c.district_id = :district AND c.title = 'Reading 1' ORDER BY 1"""
_RESULTS = """SELECT r.sourced_id, r.score, r.text_score FROM result r WHERE r.district_id = :district
    AND r.sourced_id LIKE 'r-quiz-%' AND r.removed_at IS NULL ORDER BY 1"""


async def _terms(town: Town) -> list[str]:
    return [row[0] for row in await ask(town, _TERMS)]


@pytest.mark.parametrize("written", ["T1;Y", "T1|Y", " T1 ; Y ", "T1;Y,nowhere"])
async def test_a_list_that_is_separated_otherwise_is_read(north: Town, tmp_path: Path, written: str) -> None:
    """Terms that are separated by semicolons or bars are read as a list, and the report says so.

    Earlier, the class lost its terms. A second run changes nothing.
    """
    await sync(north, CaseZip().write(tmp_path / "a.zip"), tmp_path)
    assert await _terms(north) == ["T1"]
    case = CaseZip().change("classes", ",S1,T1,", f",S1,{written},".replace("T1;Y,nowhere", '"T1;Y,nowhere"'))
    for changes in (1, 0):
        report = await sync(north, case.write(tmp_path / "b.zip"), tmp_path)
        assert (report.exit_code, report.total("changes")) == (0, changes), report.as_json()
        assert any(note.startswith("classes.csv: 1 row separates termSourcedIds by") for note in report.warnings)
        assert await _terms(north) == ["T1", "Y"]


async def test_schools_and_grades_are_separated_likewise(north: Town, tmp_path: Path) -> None:
    """A student's schools and grades that are separated by semicolons are read, and the report names both columns."""
    case = CaseZip().change("users", ",S1,student,u1,", ",S1;S2,student,u1,").change("users", ",,03,", ",,03; 4 ,")
    report = await sync(north, case.write(tmp_path / "a.zip"), tmp_path)
    assert (report.exit_code, report.total("quarantined")) == (0, 0), report.as_json()
    assert {"orgSourcedIds", "grades"} == {note.split()[4] for note in report.warnings if "by semicolons" in note}
    ((schools, grades),) = await ask(
        north,
        "SELECT cardinality(school_ids), grades FROM person WHERE district_id = :district AND given_name = 'Given1'",
    )
    assert (schools, list(grades)) == (2, ["03", "04"])


async def test_an_id_with_a_semicolon_stays_one_id(north: Town, tmp_path: Path) -> None:
    """A sourcedId that contains a semicolon is not split, even if its parts are sourcedIds too."""
    case = CaseZip().add("academicSessions", "T1;Y,,,Odd,term,2026-08-15,2027-01-15,Y,2027")
    case.change("classes", ",S1,T1,", ",S1,T1;Y,")
    report = await sync(north, case.write(tmp_path / "a.zip"), tmp_path)
    assert (report.exit_code, report.warnings) == (0, []), report.as_json()
    assert await _terms(north) == ["T1;Y"]


@pytest.mark.parametrize("blank", [" ", "\u00a0", "\t", "\u200f"])
async def test_blanks_around_dates_and_words_are_removed(north: Town, tmp_path: Path, blank: str) -> None:
    """Blanks around dates, roles and other typed values do not put the row into quarantine, and change nothing.

    Earlier, a blank after a date did, and so did any blank that is no space.
    """
    await sync(north, CaseZip().write(tmp_path / "a.zip"), tmp_path)
    case = CaseZip().change("enrollments", "2026-08-20,", f"{blank}2026-08-20{blank},")
    case.change("users", ",student,", f",{blank}student{blank},").change("users", ",true,", f",true{blank},")
    case.change("users", "U001,,", f"U001,active{blank},")
    report = await sync(north, case.write(tmp_path / "b.zip"), tmp_path)
    assert (report.exit_code, report.total("changes"), report.total("quarantined")) == (0, 0, 0), report.as_json()
    assert not [note for note in report.warnings if "around a sourcedId" in note]


async def test_blanks_around_the_values_of_scores_are_removed(north: Town, tmp_path: Path) -> None:
    """A file of scores whose cells have blanks around their values is read as if it had none."""
    row = line("amy-1\u00a0", " 40 ", " w0", "2026-09-09 ", attempt="1\u00a0", purpose="Screening ", measure=" orf")
    report = await load(north, Scores([row]), tmp_path)
    assert (report.exit_code, report.total("created")) == (0, 1), report.as_json()
    assert await scores_of(north) == [("w0", "amy-1", 40.0, "2026-09-09", 1, None, "screening")]


GRADES = {"A": "A", "85%": "85%", " B+ ": "B+", "Très bien": "Très bien"}
NO_GRADES = ("1,5", "1 200", "#REF!", "NaN", "1e999", "=40", "x" * 41)


@pytest.mark.parametrize("version", ["1.1", "1.2"])
async def test_a_grade_in_words_is_no_fault_of_its_row(north: Town, tmp_path: Path, version: str) -> None:
    """A score such as `B+` or `85%` is stored as the score as text, without a number, and the report counts these rows.

    A second run changes nothing. If a number follows, the text goes. Earlier, such rows waited in quarantine for ever.
    """
    export = Delivered(version=version)
    await sync(north, export, tmp_path)
    for number, grade in enumerate(GRADES):
        export.row("results", f"r-quiz-s{number}")["score"] = grade
    for changes in (len(GRADES), 0):
        report = await sync(north, export, tmp_path)
        assert (report.exit_code, report.total("changes")) == (0, changes), report.as_json()
        (note,) = (note for note in report.warnings if note.startswith("results.csv:"))
        assert "4 rows have scores that are grades in words" in note
    results = [tuple(row) for row in await ask(north, _RESULTS)]
    assert results == [(f"r-quiz-s{n}", None, text) for n, text in enumerate(GRADES.values())]
    export.row("results", "r-quiz-s0")["score"] = "90"
    report = await sync(north, export, tmp_path)
    assert (report.exit_code, report.total("changes")) == (0, 1)
    assert tuple((await ask(north, _RESULTS))[0]) == ("r-quiz-s0", 90.0, None)


async def test_what_is_neither_a_number_nor_a_grade_waits_in_quarantine(north: Town, tmp_path: Path) -> None:
    """A number in another notation, and the error of a spreadsheet, is no grade: the row waits in quarantine."""
    export = Delivered()
    await sync(north, export, tmp_path)
    before = await ask(north, _RESULTS)
    for text in NO_GRADES:
        export.row("results", "r-quiz-s0")["score"] = text
        report = await sync(north, export, tmp_path)
        assert (report.exit_code, [one.code for one in report.refusals]) == (3, ["number.malformed"]), text
    assert await ask(north, _RESULTS) == before


async def test_the_text_of_a_score_that_the_source_sends_has_precedence(north: Town, tmp_path: Path) -> None:
    """If a source sends both a text and a grade in words, the text is stored."""
    export = Delivered(version="1.2")
    export.row("results", "r-quiz-s0").update(score="B", textScore="Level 2")
    export.row("results", "r-quiz-s1").update(score="70", textScore="Level 3")
    assert (await sync(north, export, tmp_path)).exit_code == 0
    first, second, *_ = [tuple(row)[1:] for row in await ask(north, _RESULTS)]
    assert (first, second) == ((None, "Level 2"), (70.0, "Level 3"))


@pytest.mark.parametrize("version", ["1.1", "1.2"])
async def test_grades_and_lists_over_rest_are_judged_as_those_of_csv(north: Town, version: str) -> None:
    """Over REST too, a grade in words becomes the score as text, and a list with semicolons is read."""
    server = RowsServer(version, export=Delivered())
    server.row("results", "r-quiz-s0")["score"] = "A"
    server.row("results", "r-quiz-s1")["score"] = "1,5"
    terms: Any = "fall;y27"
    server.row("classes", "class-north")["terms"] = terms
    report = await sync_rows(north, server)
    assert [(one.sourced_id, one.code) for one in report.refusals] == [("r-quiz-s1", "number.malformed")]
    assert any(note.startswith("classes: 1 row separates termSourcedIds") for note in report.warnings)
    assert tuple((await ask(north, _RESULTS))[0]) == ("r-quiz-s0", None, "A")


async def test_a_school_that_goes_while_its_students_stay_is_held(north: Town, tmp_path: Path) -> None:
    """A delta that removes only a school, or turns it into another type of org, is held: its students would be lost.

    Earlier, it was applied with exit 0, because no person of the delta lost a school.
    """
    export = Delivered()
    await sync(north, export, tmp_path)
    school = export.row("orgs", "north")
    for row in ({"sourcedId": "north", "status": "tobedeleted"}, {**school, "type": "department"}):
        report = await sync(north, export.delta(orgs=[row]), tmp_path)
        assert (report.state, report.exit_code) == ("held", 4), report.sentence
        assert "would lose over 50% of the students, the worst 20 of 20" in report.sentence
    renamed = await sync(north, export.delta(orgs=[{**school, "name": "Other"}]), tmp_path)
    assert (renamed.state, renamed.exit_code) == ("applied", 0), renamed.sentence


async def test_a_score_in_words_is_acknowledged_until_it_changes(north: Town, tmp_path: Path) -> None:
    """In a file of scores, a value such as `85%` waits in quarantine, because the measure needs a number.

    Once it is acknowledged, the same row in later files no longer ends them with exit 3.
    """
    rows = [line("amy-1", "85%", "w0"), line("ben-1", "absent", "w1"), line("cy-1", "42", "w2")]
    report = await load(north, Scores(rows), tmp_path)
    assert (report.exit_code, [one.code for one in report.refusals]) == (3, ["number.malformed"] * 2)
    async with north.unit() as work:
        assert await acknowledge_rows(work, report.run_id) == 2
    later = [line("cy-1", "43", "w3", "2026-09-16"), *rows]
    again = await load(north, Scores(later), tmp_path)
    assert (again.exit_code, again.total("quarantined"), again.total("acknowledged")) == (0, 2, 2), again.as_json()
    rows[0]["value"] = "86%"
    assert (await load(north, Scores(rows), tmp_path)).exit_code == 3
