"""Tests assessments, which only a REST service delivers.

They are imported like grades and mapped to scores; too large changes are held for approval.
"""

import csv
import io
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from app.sis.engine.report import Refusal, Report
from app.sis.port import Delivery
from app.sis.runs.approval import approve, execute_answer
from app.sis.service import sync as run_sync
from tests.sis.gradebook_zip import Delivered
from tests.sis.roster_zip import Row, ask, row_id, sync
from tests.sis.test_gradebook_mapping import lay_mapping
from tests.town import Town

PARTS = [
    {"sourcedId": "ORF", "title": "Oral reading, grade 3", "resultValueMax": "200"},
    {"sourcedId": "ORF-1", "title": "Passage 1", "parentAssessmentLineItemSourcedId": "ORF"},
]
OBJECTIVES = '[{"id": "RF.3.4", "score": 2, "source": "case"}]'


@dataclass(frozen=True)
class Given:
    """An opened source for tests, which delivers exactly `deliveries`."""

    deliveries: dict[str, Delivery]
    not_taken: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


def _delivery(kind: str, rows: list[Row], *, complete: bool) -> Delivery:
    header = tuple(dict.fromkeys(column for row in rows for column in row))
    out = io.StringIO(newline="")
    sheet = csv.DictWriter(out, header, restval="")
    sheet.writeheader()
    sheet.writerows(rows)
    raw = out.getvalue().encode()

    def read() -> Iterator[bytes]:
        yield raw

    return Delivery(kind, f"{kind}s", complete, header, len(raw), read)


async def _pull(town: Town, results: list[Row], *, complete: bool = False) -> Report:
    given = Given(
        {
            "assessment_line_item": _delivery("assessment_line_item", PARTS, complete=complete),
            "assessment_result": _delivery("assessment_result", results, complete=complete),
        }
    )

    @asynccontextmanager
    async def opened() -> AsyncIterator[Given]:
        yield given

    return await run_sync(
        town.worker_engine,
        town.settings.keyring,
        town.district_id,
        opened,
        "csv",
        False,
        lambda _doing, _done, _of: None,
    )


def _result(student: int, **cells: str) -> Row:
    about = {"assessmentLineItemSourcedId": "ORF", "studentSourcedId": f"s{student}"}
    result = {"score": str(80 + student), "scoreDate": "2026-09-14T09:30:00-05:00", "scoreStatus": "fully graded"}
    return {
        "sourcedId": f"a{student}",
        **about,
        **result,
        "scorePercentile": "35.5",
        "learningObjectiveSet": "",
        **cells,
    }


async def test_assessments_and_their_results_are_taken(north: Town, tmp_path: Path) -> None:
    """Assessments and their results are imported with parent, percentile and objectives; an unknown student is
    quarantined.
    """
    await sync(north, Delivered(), tmp_path)
    results = [_result(0, learningObjectiveSet=OBJECTIVES), _result(1), _result(2, studentSourcedId="nobody")]
    results.append(_result(3, learningObjectiveSet="[{"))
    report = await _pull(north, results)
    assert (report.state, report.exit_code) == ("applied", 3), report.sentence
    assert set(report.refusals) == {
        Refusal("assessment_results", 4, "studentSourcedId", "reference.unknown"),
        Refusal("assessment_results", 5, "learningObjectiveSet", "json.malformed"),
    }
    (part,) = await ask(
        north,
        "SELECT parent_id FROM assessment_line_item WHERE district_id = :district AND id = :id",
        id=await row_id(north, "assessment_line_item", "ORF-1"),
    )
    assert part[0] == await row_id(north, "assessment_line_item", "ORF")
    rows = await ask(
        north,
        """SELECT sourced_id, student_id, school_ids, score, score_date, score_percentile, learning_objectives::text
           FROM assessment_result WHERE district_id = :district ORDER BY 1""",
    )
    assert tuple(rows[0]) == (
        "a0",
        await row_id(north, "person", "s0"),
        [await row_id(north, "org", "north")],
        80.0,
        date(2026, 9, 14),
        35.5,
        OBJECTIVES,
    )
    assert (await _pull(north, results)).total("changes") == 0


async def test_results_of_an_assessment_become_scores(north: Town, tmp_path: Path) -> None:
    """Results of an assessment become scores by a rule for its sourcedId or title, but not by a rule for line items."""
    await sync(north, Delivered(), tmp_path)
    await lay_mapping(
        north,
        {"rules": [{"title": "*", "measure": "maze"}, {"assessment": "ORF", "measure": "orf", "purpose": "screening"}]},
    )
    await _pull(north, [_result(0), _result(1)])
    rows = await ask(
        north,
        """SELECT s.external_id, s.value, s.purpose FROM score s JOIN measure m ON m.district_id = :district
            AND m.id = s.measure_id AND m.code = 'orf' WHERE s.district_id = :district ORDER BY 1""",
    )
    assert [tuple(row) for row in rows] == [
        ("assessment_result:a0", 80.0, "screening"),
        ("assessment_result:a1", 81.0, "screening"),
    ]
    await lay_mapping(north, {"rules": [{"assessment_title": "oral*", "measure": "orf", "purpose": "screening"}]})
    await _pull(north, [_result(0, score="90")])
    rows = await ask(north, "SELECT value FROM score WHERE district_id = :district ORDER BY external_id")
    assert [row[0] for row in rows] == [90.0, 81.0]


async def test_a_held_gradebook_is_approved_as_it_was_read(north: Town, tmp_path: Path) -> None:
    """When a held gradebook import is approved, it removes results that the source no longer has, and their scores."""
    export = Delivered()
    await sync(north, export, tmp_path)
    await lay_mapping(north, {"rules": [{"title": "quiz*", "measure": "orf"}]})
    for n in range(4, 40):
        export.rows["results"].append(
            {
                **export.row("results", "r-quiz-s0"),
                "sourcedId": f"r-quiz-s{n}",
                "studentSourcedId": f"s{n}",
                "lineItemSourcedId": f"quiz-{('north', 'south')[n % 2]}",
            }
        )
    await sync(north, export, tmp_path)
    export.without("results", *(f"r-quiz-s{n}" for n in range(4, 40)))
    held = await sync(north, export, tmp_path)
    assert held.state == "held"
    assert held.plan is not None
    live = "SELECT count(*) FROM {} WHERE district_id = :district AND removed_at IS NULL"
    assert await ask(north, live.format("score")) == [(40,)]
    async with north.unit() as work:
        await approve(work, held.run_id, held.plan["digest"], False)
    done = await execute_answer(
        north.worker_engine, north.settings.keyring, north.district_id, held.run_id, lambda _doing, _done, _of: None
    )
    assert (done.state, done.kinds["result"].absent) == ("applied", 36)
    assert await ask(north, live.format("score")) == [(4,)]
