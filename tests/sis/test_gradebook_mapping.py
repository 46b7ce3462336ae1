"""Tests how mapped gradebook results become scores. Each becomes one score, all are judged together, and a score that a
person amended stays.
"""

from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from app.access.permission import Can
from app.access.work import Work, needs
from app.core import ids
from app.core.clock import now
from app.core.errors import Invalid
from app.evidence.amend import Amendment
from app.evidence.service import NewScore
from app.response.service import amend_score, record_scores, remove_score, start_support
from app.roster.models import Source
from app.sis.models import SisSource
from app.sis.runs.undo import undo
from app.sis.sources.mapping import read_mapping
from app.support.service import NewSupport, plan_support
from tests.sis.gradebook_zip import GRADED, Delivered
from tests.sis.roster_zip import Row, ask, row_id, sync
from tests.town import Town

BY_TITLE = {"rules": [{"title": "QUIZ*", "measure": "orf", "form": "A"}]}


async def lay_mapping(town: Town, mapping: dict[str, Any]) -> None:
    """Gives the source `csv` a mapping."""

    @needs(Can.SYNC_ROSTER)
    async def lay(work: Work) -> None:
        source = await work.db.scalar(
            select(Source).where(Source.district_id == work.district_id, Source.name == "csv")
        )
        assert source is not None
        row = await work.db.scalar(
            select(SisSource).where(SisSource.district_id == work.district_id, SisSource.id == source.id)
        )
        if row is None:
            plain: dict[str, Any] = {"scopes": [], "left_out": [], "limits": {}, "frozen": [], "concurrency": 1}
            row = SisSource(
                district_id=work.district_id,
                id=source.id,
                url="roster.zip",
                jitter_minutes=0,
                overlap_hours=0,
                pull_minutes=5,
                pull_gb=1,
                created_at=now(),
                version=1,
                **plain,
            )
            work.db.add(row)
        row.mapping = mapping
        await work.db.flush()

    async with town.house() as work:
        await lay(work)


async def _scores(town: Town, which: str = "s.removed_at IS NULL") -> dict[str, tuple[float, date, int, str | None]]:
    rows = await ask(
        town,
        f"""SELECT s.external_id, s.value, s.taken_on, s.attempt, s.form FROM score s
            JOIN source c ON c.district_id = :district AND c.id = s.sender AND c.name = 'csv'
            WHERE s.district_id = :district AND {which}""",
    )
    return {row[0]: tuple(row[1:]) for row in rows}


async def _score_id(town: Town, external_id: str) -> Any:
    rows = await ask(town, "SELECT id FROM score WHERE district_id = :district AND external_id = :id", id=external_id)
    return rows[0][0]


@pytest.fixture
async def mapped(north: Town, tmp_path: Path) -> Delivered:
    """Creates a source whose quizzes are mapped, before its gradebook is imported."""
    export = Delivered()
    grades = {name: export.rows.pop(name) for name in ("categories", "lineItems", "results")}
    await sync(north, export, tmp_path)
    export.rows |= grades
    await lay_mapping(north, BY_TITLE)
    return export


async def test_mapped_results_become_scores_and_the_others_stay_grades(
    north: Town, tmp_path: Path, mapped: Delivered
) -> None:
    """Mapped results become scores, other results are stored as grades only, and the next run changes nothing."""
    mapped.row("results", "r-quiz-s1")["score"] = ""
    report = await sync(north, mapped, tmp_path)
    assert (report.state, report.exit_code, report.warnings) == ("applied", 0, [])
    expected = {f"result:r-quiz-s{n}": (70.0 + n, date(2026, 9, 9), 1, "A") for n in range(GRADED) if n != 1}
    assert await _scores(north) == expected
    (row,) = await ask(
        north,
        """SELECT s.student_id, s.school_ids, m.code FROM score s
           JOIN measure m ON m.district_id = :district AND m.id = s.measure_id
           WHERE s.district_id = :district AND s.external_id = 'result:r-quiz-s2'""",
    )
    assert tuple(row) == (await row_id(north, "person", "s2"), [await row_id(north, "org", "north")], "orf")
    before = await ask(north, "SELECT xmin::text, s::text FROM score s WHERE s.district_id = :district ORDER BY 2")
    await sync(north, mapped, tmp_path)
    assert before == await ask(
        north, "SELECT xmin::text, s::text FROM score s WHERE s.district_id = :district ORDER BY 2"
    )


async def test_a_score_follows_its_result(north: Town, tmp_path: Path, mapped: Delivered) -> None:
    """A score is amended, removed and restored with its result, each time with a log entry.

    An undo reverts the scores too.
    """
    await sync(north, mapped, tmp_path)
    mapped.row("results", "r-quiz-s0").update(score="91", scoreDate="2026-09-10")
    gone = mapped.without("results", "r-quiz-s3")
    run = await sync(north, mapped, tmp_path)
    scores = await _scores(north)
    assert scores["result:r-quiz-s0"] == (91.0, date(2026, 9, 10), 1, "A")
    assert "result:r-quiz-s3" not in scores
    changes = await ask(
        north,
        """SELECT c.action, c.before ->> 'value', c.because FROM score_change c
           WHERE c.district_id = :district ORDER BY 1""",
    )
    assert [tuple(row) for row in changes] == [
        ("amended", "70", "The source says so."),
        ("removed", "73", "The source says so."),
    ]
    await undo(
        north.worker_engine, north.settings.keyring, north.district_id, run.run_id, lambda _doing, _done, _of: None
    )
    assert (await _scores(north))["result:r-quiz-s0"] == (70.0, date(2026, 9, 9), 1, "A")
    assert "result:r-quiz-s3" in await _scores(north)
    mapped.rows["results"] += gone
    mapped.row("results", "r-quiz-s0").update(score="70", scoreDate="2026-09-09")
    assert (await sync(north, mapped, tmp_path)).total("changes") == 0


async def test_what_people_amended_or_removed_stays_as_they_left_it(
    north: Town, tmp_path: Path, mapped: Delivered
) -> None:
    """A score that a person amended or removed is no longer changed by the source."""
    await sync(north, mapped, tmp_path)
    async with north.unit() as work:
        await amend_score(work, await _score_id(north, "result:r-quiz-s0"), Amendment("Read wrongly.", value=75.0))
        await remove_score(work, await _score_id(north, "result:r-quiz-s1"), "Not this student's.")
    mapped.row("results", "r-quiz-s0")["score"] = "99"
    mapped.row("results", "r-quiz-s1")["score"] = "98"
    await sync(north, mapped, tmp_path)
    scores = await _scores(north)
    assert scores["result:r-quiz-s0"][0] == 75.0
    assert "result:r-quiz-s1" not in scores


async def test_only_a_score_of_nobody_becomes_the_sources(north: Town, tmp_path: Path, mapped: Delivered) -> None:
    """A result of the gradebook replaces an existing score only if no client and no person recorded this score.

    Other scores keep their attempt and value.
    """
    students = {n: ids.format_id("student", await row_id(north, "person", f"s{n}")) for n in range(4)}
    async with north.unit() as work:
        taken = await record_scores(
            work,
            [
                NewScore(students[0], "orf", date(2026, 9, 9), 60.0),
                NewScore(students[2], "orf", date(2026, 9, 9), 61.0, external_id="theirs"),
                NewScore(students[1], "orf", date(2026, 9, 9), 62.0),
                NewScore(students[3], "orf", date(2026, 9, 9), 63.0),
            ],
        )
    assert {one.outcome for one in taken} == {"recorded"}
    by_hand = "UPDATE score SET sender = NULL, given_by = :by WHERE district_id = :district AND student_id = :id"
    for n, by in ((0, None), (3, north.staff["teacher"])):
        await ask(north, by_hand, by=by, id=await row_id(north, "person", f"s{n}"))
    await sync(north, mapped, tmp_path)
    scores = await _scores(north)
    assert scores["result:r-quiz-s0"] == (70.0, date(2026, 9, 9), 1, "A")
    for n in (1, 2, 3):
        assert scores[f"result:r-quiz-s{n}"] == (70.0 + n, date(2026, 9, 9), 2, "A")
    rows = await ask(north, "SELECT count(*) FROM score WHERE district_id = :district AND removed_at IS NULL")
    assert rows == [(GRADED + 3,)]


async def test_two_results_of_a_day_are_two_attempts(north: Town, tmp_path: Path, mapped: Delivered) -> None:
    """Two results of a student on one day become two attempts.

    If the days of the results change, their scores get the new days.
    """
    await lay_mapping(north, {"rules": [{"category_title": "tests", "measure": "orf"}]})
    await sync(north, mapped, tmp_path)
    scores = await _scores(north)
    assert len(scores) == 2 * GRADED
    assert {scores[f"result:r-{item}-s0"][2] for item in ("quiz", "essay")} == {1, 2}
    mapped.row("results", "r-quiz-s0")["scoreDate"] = "2026-09-11"
    await sync(north, mapped, tmp_path)
    mapped.row("results", "r-quiz-s0")["scoreDate"] = "2026-09-09"
    mapped.row("results", "r-essay-s0")["scoreDate"] = "2026-09-11"
    await sync(north, mapped, tmp_path)
    scores = await _scores(north)
    assert scores["result:r-quiz-s0"][1] == date(2026, 9, 9)
    assert scores["result:r-essay-s0"][1] == date(2026, 9, 11)


async def test_results_that_cannot_be_scores_are_counted_and_stay_grades(
    north: Town, tmp_path: Path, mapped: Delivered
) -> None:
    """Results that cannot become scores are stored as grades only, and the report counts them."""
    mapped.row("results", "r-quiz-s0")["score"] = "100000"
    mapped.row("results", "r-quiz-s1")["scoreDate"] = "2046-01-01"
    mapped.row("results", "r-quiz-s2")["scoreDate"] = ""
    rules = [*BY_TITLE["rules"], {"title": "*", "measure": "nowhere"}]
    await lay_mapping(north, {"rules": rules})
    report = await sync(north, mapped, tmp_path)
    assert report.kinds["result"].created == 2 * GRADED
    assert set(await _scores(north)) == {"result:r-quiz-s3"}
    assert report.warnings == [
        "Rule 2 of the mapping is ignored: the playbook does not have its measure.",
        "Mapped results that stay grades only: 1 without a date, 1 with a date in the future, "
        "1 outside the range of the measure.",
    ]


UNGRADED = (
    *(
        "Not Submitted",
        "exempt",
        "partially graded",
        "submitted",
        "notSubmitted",
        "not submmitted",
        "missing",
        "Missing",
    ),
    *("incomplete", "in progress", "inProgress", "withdrawn", "notEarned", "ext:excused", "ungraded", "не сдано", "?"),
)
GRADED_WORDS = ("fully graded", "FullyGraded", "Graded - Final", "ext:graded", "COMPLETE", "")


def _quizzes(export: Delivered, words: tuple[str, ...]) -> dict[str, Row]:
    """Adds as many quiz results as `words` has entries, each of a different student. Returns them by external id."""
    students = range(GRADED, GRADED + len(words))
    rows = [
        export.row("results", f"r-quiz-s{n % 2}") | {"sourcedId": f"r-quiz-s{n}", "studentSourcedId": f"s{n}"}
        for n in students
    ]
    export.rows["results"] += rows
    return {f"result:{row['sourcedId']}": row for row in rows}


async def test_what_is_not_graded_is_no_score(north: Town, tmp_path: Path, mapped: Delivered) -> None:
    """A result with a status that does not mean "graded" becomes no score. An existing score of it is removed."""
    graded, quizzes = set(_graded()), _quizzes(mapped, UNGRADED)
    await sync(north, mapped, tmp_path)
    assert set(await _scores(north)) == graded | set(quizzes)
    for status, row in zip(UNGRADED, quizzes.values(), strict=True):
        row.update(scoreStatus=status, score="0")
    mapped.row("results", "r-quiz-s1").update(scoreStatus="Graded - Final")
    report = await sync(north, mapped, tmp_path)
    kept = set(await _scores(north)) - graded
    assert not kept, [quizzes[name]["scoreStatus"] for name in kept]
    assert set(await _scores(north)) == graded
    assert report.warnings == [
        f"Mapped results that stay grades only: {len(UNGRADED)} exempt, missing, or with a status that is not known to "
        "mean graded."
    ]


async def test_a_known_word_for_graded_is_a_score(north: Town, tmp_path: Path, mapped: Delivered) -> None:
    """A result becomes a score if its status means "graded".

    The status may be the word of the standard or of a vendor, in any spelling. A score of 0 is imported too.
    """
    graded, quizzes = set(_graded()), _quizzes(mapped, GRADED_WORDS)
    for status, row in zip(GRADED_WORDS, quizzes.values(), strict=True):
        row.update(scoreStatus=status, score="0")
    report = await sync(north, mapped, tmp_path)
    scores = await _scores(north)
    missing = set(quizzes) - set(scores)
    assert not missing, [quizzes[name]["scoreStatus"] for name in missing]
    assert set(scores) == graded | set(quizzes)
    assert {scores[name][0] for name in quizzes} == {0}
    assert report.warnings == []


def _graded() -> list[str]:
    """Returns the external ids of the quiz's results in the test delivery."""
    return [f"result:r-quiz-s{n}" for n in range(GRADED)]


async def test_what_is_missing_or_in_progress_is_no_score(north: Town, tmp_path: Path) -> None:
    """A result that is flagged missing, inProgress or incomplete becomes no score.

    A result that is flagged late becomes a score.
    """
    export = Delivered(version="1.2")
    await sync(north, export, tmp_path)
    await lay_mapping(north, BY_TITLE)
    for n, flag in enumerate(("missing", "inProgress", "incomplete", "late")):
        export.row("results", f"r-quiz-s{n}")[flag] = "true"
    report = await sync(north, export, tmp_path)
    assert set(await _scores(north)) == {f"result:r-quiz-s{n}" for n in range(3, GRADED)}
    assert report.warnings == [
        "Mapped results that stay grades only: 3 exempt, missing, or with a status that is not known to mean graded."
    ]


async def test_a_mapping_that_changes_is_followed(north: Town, tmp_path: Path, mapped: Delivered) -> None:
    """If a rule of a mapping is removed, its scores are removed. If the rule is added again, they are restored."""
    await sync(north, mapped, tmp_path)
    await lay_mapping(north, {"rules": [{"line_item": "essay-north", "measure": "orf", "attempt": 3}]})
    await sync(north, mapped, tmp_path)
    assert {(name, one[2]) for name, one in (await _scores(north)).items()} == {
        ("result:r-essay-s0", 3),
        ("result:r-essay-s2", 3),
    }
    await lay_mapping(north, {"rules": [{"category": "tests", "title": "quiz*", "measure": "orf"}]})
    await sync(north, mapped, tmp_path)
    assert set(await _scores(north)) == {f"result:r-quiz-s{n}" for n in range(GRADED)}


MALFORMED: dict[str, tuple[Any, str]] = {
    "no measure": ([{"title": "x"}], "/mapping/rules/0/measure value.missing"),
    "nothing matched": ([{"measure": "orf"}], "/mapping/rules/0 mapping.matches"),
    "two kinds": ([{"measure": "orf", "title": "a", "assessment": "b"}], "/mapping/rules/0 mapping.matches"),
    "a word that is none": ([{"measure": "orf", "titel": "a", "title": "a"}], "/mapping/rules/0/titel mapping.unknown"),
    "an attempt that is none": (
        [{"measure": "orf", "title": "a", "attempt": 0}],
        "/mapping/rules/0/attempt score.attempt",
    ),
    "a purpose that is none": (
        [{"measure": "orf", "title": "a", "purpose": "fun"}],
        "/mapping/rules/0/purpose score.purpose",
    ),
    "no list": ({"a": 1}, "/mapping/rules mapping.malformed"),
    "no object": (["orf"], "/mapping/rules/0 mapping.malformed"),
    "a title that is none": ([{"measure": "orf", "title": 7}], "/mapping/rules/0/title mapping.malformed"),
}


@pytest.mark.parametrize("case", MALFORMED)
def test_a_mapping_that_is_none_is_refused_by_its_place(case: str) -> None:
    """An invalid mapping is refused with a pointer and a code for every violation."""
    rules, violations = MALFORMED[case]
    with pytest.raises(Invalid) as caught:
        read_mapping({"rules": rules})
    assert violations in [f"{one.pointer} {one.code}" for one in caught.value.violations]


async def _support(town: Town, student: str) -> Any:
    """Creates an active support, from the end of August on, for a student whose score must rise."""
    begins = date(2026, 8, 31)
    new = NewSupport(
        student=ids.format_id("student", await row_id(town, "person", student)),
        intervention="Reading",
        level=2,
        measure="orf",
        starts_on=begins,
        goal=70.0,
        goal_on=begins + timedelta(weeks=26),
        minutes_per_session=30,
        sessions_per_week=3,
        baseline=40.0,
        confirm_rate=True,
    )
    async with town.unit() as work:
        support = await plan_support(work, new)
        await start_support(work, support.id)
    return support.id


def _flat(export: Delivered, student: str, weeks: int) -> None:
    """Adds a quiz for each week, with results at the baseline."""
    item, result = export.row("lineItems", "quiz-north"), export.row("results", "r-quiz-s0")
    for week in range(1, weeks + 1):
        on = str(date(2026, 9, 2) + timedelta(weeks=week))
        export.rows["lineItems"].append({**item, "sourcedId": f"w{week}", "title": f"Quiz of week {week}"})
        fields = {"lineItemSourcedId": f"w{week}", "studentSourcedId": student, "score": "40", "scoreDate": on}
        export.rows["results"].append({**result, "sourcedId": f"flat{week}", **fields})


@pytest.mark.parametrize("as_news", [False, True])
async def test_the_first_load_is_judged_and_raises_alerts_only_when_asked(
    north: Town, tmp_path: Path, mapped: Delivered, as_news: bool
) -> None:
    """The first load of mapped results is judged, but raises alerts only if the mapping asks for them."""
    support_id = await _support(north, "s4")
    await lay_mapping(north, {**BY_TITLE, "alerts_on_first_load": as_news})
    _flat(mapped, "s4", 11)
    report = await sync(north, mapped, tmp_path)
    assert (report.state, report.exit_code) == ("applied", 0)
    states = await ask(
        north, "SELECT state FROM response_state WHERE district_id = :district AND support_id = :id", id=support_id
    )
    assert states == [("not_responding",)]
    events = await ask(
        north,
        "SELECT type FROM event WHERE district_id = :district "
        "AND subject_id = :id AND type LIKE 'response.%' ORDER BY seq",
        id=support_id,
    )
    assert [row[0] for row in events] == (["response.off_track", "response.never"] if as_news else [])


async def test_a_later_night_is_news(north: Town, tmp_path: Path, mapped: Delivered) -> None:
    """Scores of a later sync are judged and can raise alerts. Each series is judged once for the whole run."""
    await sync(north, mapped, tmp_path)
    support_id = await _support(north, "s4")
    _flat(mapped, "s4", 11)
    await sync(north, mapped, tmp_path)
    rows = await ask(
        north, "SELECT count(*) FROM verdict WHERE district_id = :district AND support_id = :id", id=support_id
    )
    events = await ask(
        north,
        "SELECT type FROM event WHERE district_id = :district AND subject_id = :id AND type LIKE 'response.%'",
        id=support_id,
    )
    scheduled = await ask(north, "SELECT state, quiet FROM settlement WHERE district_id = :district AND kind = 'week'")
    assert [tuple(row) for row in scheduled] == [("pending", False)] * 11
    assert rows == [(2,)]  # of the support's beginning, and of the night
    assert [row[0] for row in events][:1] == ["response.off_track"]
