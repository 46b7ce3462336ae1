"""Tests grades from CSV (OneRoster 1.1 and 1.2): they are imported, and can be held for approval and undone like a
roster.

Only the faulty rows of a delivery are quarantined.
"""

from datetime import UTC, date, datetime
from pathlib import Path

import pytest

from app.sis.engine.report import Refusal
from tests.sis.gradebook_zip import GRADED, ITEMS, Delivered
from tests.sis.roster_zip import LENIENT, ask, fingerprint, row_id, sync
from tests.town import Town

GRADEBOOK = ("category", "line_item", "result", "score_scale")
VERSIONS = ("1.1", "1.2")


async def _result(town: Town, sourced_id: str, columns: str = "score") -> tuple[object, ...]:
    rows = await ask(
        town, f"SELECT {columns} FROM result WHERE district_id = :district AND sourced_id = :id", id=sourced_id
    )
    return tuple(rows[0])


@pytest.mark.parametrize("version", VERSIONS)
async def test_a_gradebook_comes_with_the_roster_and_again_without_a_write(
    north: Town, tmp_path: Path, version: str
) -> None:
    """Categories, line items and results are imported, and each result has the schools of its student.

    A second run of the same delivery writes no row.
    """
    export = Delivered(version=version)
    report = await sync(north, export, tmp_path)
    assert (report.state, report.exit_code, report.warnings) == ("applied", 0, [])
    assert {kind: report.kinds[kind].created for kind in ("category", "line_item", "result")} == {
        "category": 2,
        "line_item": 4,
        "result": GRADED * len(ITEMS),
    }
    (item,) = await ask(
        north,
        "SELECT title, assigned_at, due_at, result_value_max, academic_session_id FROM line_item "
        "WHERE district_id = :district AND id = :id",
        id=await row_id(north, "line_item", "quiz-north"),
    )
    fall = await row_id(north, "academic_session", "fall") if version == "1.2" else None
    due = datetime(2026, 9, 8, 20, tzinfo=UTC)
    assert tuple(item) == ("quiz north", datetime(2026, 9, 1, tzinfo=UTC), due, 100.0, fall)
    student, score, on, schools = await _result(north, "r-quiz-s1", "student_id, score, score_date, school_ids")
    assert student == await row_id(north, "person", "s1")
    assert (score, on, schools) == (71.0, date(2026, 9, 9), [await row_id(north, "org", "south")])
    before = await fingerprint(north, GRADEBOOK)
    repeated = await sync(north, export, tmp_path)
    assert (repeated.exit_code, repeated.total("changes"), repeated.kinds["result"].unchanged) == (0, 0, 8)
    assert await fingerprint(north, GRADEBOOK) == before


async def test_extra_credit_exemption_and_a_vendors_words_are_taken(north: Town, tmp_path: Path) -> None:
    """Extra credit, missing scores, unknown statuses and the flags of OneRoster 1.2 are stored as the source has
    them.
    """
    export = Delivered(version="1.2")
    export.row("results", "r-quiz-s0").update(score="112.5", scoreStatus="Locked (final)", comment="Well done")
    export.row("results", "r-quiz-s1").update(score="", scoreStatus="exempt", textScore="EX", late="true", missing="0")
    report = await sync(north, export, tmp_path)
    assert report.exit_code == 0
    assert await _result(north, "r-quiz-s0", "score, score_status, comment") == (112.5, "Locked (final)", "Well done")
    result = await _result(north, "r-quiz-s1", "score, score_status, text_score, late, missing, incomplete")
    assert result == (None, "exempt", "EX", True, False, None)


FAULTS = {
    "an unknown student": ({"studentSourcedId": "nobody"}, ("studentSourcedId", "reference.unknown")),
    "an unknown line item": ({"lineItemSourcedId": "none"}, ("lineItemSourcedId", "reference.unknown")),
    "a score that is none": ({"score": "8,7"}, ("score", "number.malformed")),
    "a score beyond numbers": ({"score": "NaN"}, ("score", "number.malformed")),
    "a day that is none": ({"scoreDate": "09/09/2026"}, ("scoreDate", "date.malformed")),
}


@pytest.mark.parametrize("case", FAULTS)
async def test_a_result_that_cannot_be_taken_is_named_and_kept_as_it_was(
    north: Town, tmp_path: Path, case: str
) -> None:
    """A result that cannot be imported is quarantined with exit 3, and the stored result stays."""
    cells, (field, code) = FAULTS[case]
    export = Delivered()
    await sync(north, export, tmp_path)
    before = await fingerprint(north, GRADEBOOK)
    export.row("results", "r-quiz-s1").update(cells)
    report = await sync(north, export, tmp_path)
    assert report.refusals == [Refusal("results.csv", 3, field, code)]
    assert (report.exit_code, report.total("changes")) == (3, 0)
    assert await fingerprint(north, GRADEBOOK) == before


async def test_results_follow_a_student_to_another_school(north: Town, tmp_path: Path) -> None:
    """The results of a student who changes school can be read by those who see the student at the new school."""
    export = Delivered()
    await sync(north, export, tmp_path)
    export.row("users", "s1")["orgSourcedIds"] = "north"
    report = await sync(north, export, tmp_path)
    assert report.kinds["result"].updated == 0
    assert await _result(north, "r-quiz-s1", "school_ids") == ([await row_id(north, "org", "north")],)


async def test_a_result_that_is_now_another_students_is_in_that_students_schools(north: Town, tmp_path: Path) -> None:
    """If a result is moved to another student, it gets the schools of this student."""
    export = Delivered()
    await sync(north, export, tmp_path)
    export.row("results", "r-quiz-s1")["studentSourcedId"] = "s0"
    await sync(north, export, tmp_path)
    result = await _result(north, "r-quiz-s1", "student_id, school_ids")
    assert result == (await row_id(north, "person", "s0"), [await row_id(north, "org", "north")])


async def test_results_that_vanish_are_held_and_come_back_by_an_undo(north: Town, tmp_path: Path) -> None:
    """If results are missing from a delivery, the guard holds the run, the plan lists them, and an undo restores
    them.
    """
    export = Delivered()
    for n in range(30):
        export.rows["results"].append({**export.row("results", "r-quiz-s0"), "sourcedId": f"more{n}"})
    await sync(north, export, tmp_path)
    lost = export.without("results", *(f"more{n}" for n in range(30)))
    held = await sync(north, export, tmp_path)
    assert (held.state, held.exit_code) == ("held", 4)
    assert any("results" in sentence for sentence in held.held_because)
    taken = await sync(north, export, tmp_path, limits=LENIENT)
    assert taken.kinds["result"].absent == len(lost)

    from app.sis.runs.undo import undo

    undone = await undo(
        north.worker_engine, north.settings.keyring, north.district_id, taken.run_id, lambda _doing, _done, _of: None
    )
    assert undone.kinds["result"].restored == len(lost)
    rows = await ask(north, "SELECT count(*) FROM result WHERE district_id = :district AND removed_at IS NULL")
    assert rows == [(GRADED * len(ITEMS) + 30,)]


async def test_a_delivery_without_grades_leaves_those_that_are_known(north: Town, tmp_path: Path) -> None:
    """A delivery without grades leaves the stored grades unchanged, and is not held."""
    export = Delivered()
    await sync(north, export, tmp_path)
    before = await fingerprint(north, GRADEBOOK)
    for name in ("categories", "lineItems", "results"):
        del export.rows[name]
    report = await sync(north, export, tmp_path)
    assert (report.state, report.exit_code) == ("applied", 0)
    assert await fingerprint(north, GRADEBOOK) == before


async def test_scales_and_objectives_become_part_of_what_they_add_to(north: Town, tmp_path: Path) -> None:
    """The four supplementary files of OneRoster 1.2 become part of their line items or results.

    Their rows without a line item or result are quarantined.
    """
    export = Delivered(version="1.2")
    export.rows["scoreScales"] = [
        {"sourcedId": "abc", "title": "Letters", "type": "letter", "scoreScaleValue": "{A:90-100},{B:80-89}"}
    ]
    export.rows["lineItemScoreScales"] = [
        {"sourcedId": "ls", "lineItemSourcedId": "quiz-north", "scoreScaleSourcedId": "abc"}
    ]
    export.rows["resultScoreScales"] = [
        {"sourcedId": "rs", "resultSourcedId": "r-quiz-s0", "scoreScaleSourcedId": "abc"}
    ]
    export.rows["lineItemLearningObjectiveIds"] = [
        {"sourcedId": "lo", "lineItemSourcedId": "quiz-north", "source": "case", "learningObjectiveId": "K.1"}
    ]
    export.rows["resultLearningObjectiveIds"] = [
        _objective("o2", "r-quiz-s0", "K.2", textScore="B"),
        _objective("o1", "r-quiz-s0", "K.1", score="3.5"),
        _objective("o3", "nowhere", "K.1"),
        _objective("o4", "r-quiz-s0", "K.4", score="9" * 400),
    ]
    report = await sync(north, export, tmp_path)
    refusals = [
        Refusal("resultLearningObjectiveIds.csv", 4, "resultSourcedId", "reference.unknown"),
        Refusal("resultLearningObjectiveIds.csv", 5, "score", "number.malformed"),
    ]
    assert (report.exit_code, report.refusals) == (3, refusals)
    assert report.kinds["result"].created == GRADED * len(ITEMS)
    scale = await row_id(north, "score_scale", "abc")
    result = await _result(north, "r-quiz-s0", "score_scale_id, learning_objectives::text")
    assert result[0] == scale
    assert result[1] == (
        '[{"id": "K.1", "score": 3.5, "source": "case"}, {"id": "K.2", "source": "case", "text_score": "B"}]'
    )
    (item,) = await ask(
        north,
        "SELECT score_scale_id, learning_objectives::text FROM line_item WHERE district_id = :district AND id = :id",
        id=await row_id(north, "line_item", "quiz-north"),
    )
    assert tuple(item) == (scale, '[{"id": "K.1", "source": "case"}]')
    values = await ask(north, "SELECT scale_values FROM score_scale WHERE district_id = :district")
    assert values == [(["{A:90-100}", "{B:80-89}"],)]
    before = await fingerprint(north, GRADEBOOK)
    assert (await sync(north, export, tmp_path)).total("changes") == 0
    assert await fingerprint(north, GRADEBOOK) == before
    delta = export.delta(
        resultLearningObjectiveIds=[
            {**_objective("o1", "r-quiz-s0", "K.1"), "status": "tobedeleted"},
            _objective("o4", "r-quiz-s0", "K.3", score="1"),
        ]
    )
    changed = await sync(north, delta, tmp_path)
    assert (changed.exit_code, changed.kinds["result"].updated, changed.total("changes")) == (0, 1, 1)
    result = await _result(north, "r-quiz-s0", "score, learning_objectives::text")
    assert result == (
        70.0,
        '[{"id": "K.2", "source": "case", "text_score": "B"}, {"id": "K.3", "score": 1, "source": "case"}]',
    )


def _objective(sourced_id: str, result: str, objective: str, **cells: str) -> dict[str, str]:
    return {
        "sourcedId": sourced_id,
        "resultSourcedId": result,
        "source": "case",
        "learningObjectiveId": objective,
        **cells,
    }
