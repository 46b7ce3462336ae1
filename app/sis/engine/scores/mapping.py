"""Turns results of a source's gradebook into scores.

A result becomes a score if it matches a rule of the source's mapping.

Changes no grade. After each sync, these scores are recorded, amended and removed so that they match their results. Each
series of scores that changed is then judged. The scores of a source's first load raise no alerts, unless the mapping
asks for alerts.
"""

# ruff: noqa: S608  # only our own names are formatted into statements; values are bound

from collections.abc import Collection, Mapping
from dataclasses import asdict
from datetime import date
from typing import Final
from uuid import UUID

from sqlalchemy import select

from app.access.permission import Can
from app.access.work import Work, needs
from app.core.errors import Invalid
from app.evidence.intake import COLUMNS, record_batch, students_of_intake
from app.evidence.models import Score
from app.evidence.rules import is_unknown_form
from app.playbook.lookup import area_by_id, locate_measure, secured_code
from app.response.judging.load import has_measure
from app.response.service import judge_written
from app.roster.student_lock import lock_students
from app.sis.engine.moves import lock_with_retries
from app.sis.engine.stage import Stage, fresh_id
from app.sis.models import SisSource
from app.sis.sources.mapping import BY_PATTERN, OF_ASSESSMENTS, OF_LINE_ITEMS, MappingRules, pattern, read_mapping
from app.support.models import Support

_WHERE: Final = {
    "line_item": "e.sourced_id = m.line_item",
    "title": "i.title ILIKE m.title",
    "category": "x.sourced_id = m.category",
    "category_title": "lower(c.title) = lower(m.category_title)",
    "assessment": "e.sourced_id = m.assessment",
    "assessment_title": "i.title ILIKE m.assessment_title",
}


@needs(Can.SYNC_ROSTER)
async def follow_results(work: Work, stage: Stage) -> list[str]:
    """Updates the scores that come from the gradebook of this run's source, and judges them.

    Returns sentences about results that cannot become scores. Each statement handles many results at once. All run in
    the run's transaction, so that scores and roster change together.
    """
    is_source = (SisSource.district_id == work.district_id) & (SisSource.id == stage.source_id)
    mapping = read_mapping(await work.db.scalar(select(SisSource.mapping).where(is_source)) or {})
    sent = (Score.district_id == work.district_id) & (Score.sender == stage.source_id)
    has_scores = await work.db.scalar(select(Score.id).where(sent).limit(1)) is not None
    if not mapping.rules and not has_scores:
        return []
    warnings = await _stage_rules(work, stage, mapping)
    await _stage_items(stage)
    incoming = f"""(SELECT * FROM staging.incoming_score AS i
        WHERE i.district_id = :district AND i.run_id = '{stage.run_id}')"""
    for kind, column in (("result", "line_item_id"), ("assessment_result", "assessment_line_item_id")):
        await _stage_scores(stage, kind, column)
        warnings += await _describe_left_out(stage, kind, column)
    students = await students_of_intake(work, stage.source_id, incoming)
    await lock_with_retries(stage, lambda: lock_students(work, students))
    batch = await record_batch(work, stage.source_id, incoming)
    await judge_days(work, batch.days, quiet=not has_scores and not mapping.alerts_on_first_load)
    return warnings


async def _stage_rules(work: Work, stage: Stage, mapping: MappingRules) -> list[str]:
    """Writes the rules of the mapping to a staging table, each with the id of its measure.

    Returns a sentence about each rule that cannot be used.
    """
    names = (*OF_LINE_ITEMS, *OF_ASSESSMENTS)
    about_measure = ("measure_id", "secured_area", "lowest", "highest", "form", "attempt", "purpose")
    records, warnings = [], []
    for number, rule in enumerate(mapping.rules):
        try:
            measure = await locate_measure(work, rule.measure, "/measure")
        except Invalid:
            warnings.append(f"Rule {number + 1} of the mapping is ignored: the playbook does not have its measure.")
            continue
        if is_unknown_form(rule.form, measure.forms):
            warnings.append(f"Rule {number + 1} of the mapping is ignored: the measure does not have its form.")
            continue
        values = asdict(rule)
        matched = [pattern(values[name]) if name in BY_PATTERN else values[name] for name in names]
        area = await secured_code(work, await area_by_id(work, measure.area_id))
        about = (measure.id, area, measure.lowest, measure.highest)
        records.append((number, *matched, *about, rule.form, rule.attempt, rule.purpose))
    await stage.insert_records("mapping_rule", ("n", *names, *about_measure), records)
    return warnings


async def _stage_items(stage: Stage) -> None:
    """Writes to a staging table each line item and each assessment of this source that matches a rule.

    If several rules match, the first counts.
    """
    # Only few of the many items match, so lookups by index are faster.
    await stage.driver.execute("SET LOCAL enable_nestloop = on")
    for kind, names, others in (
        ("line_item", OF_LINE_ITEMS, OF_ASSESSMENTS),
        ("assessment_line_item", OF_ASSESSMENTS, OF_LINE_ITEMS),
    ):
        fits = " AND ".join(f"(m.{name} IS NULL OR {_WHERE[name]})" for name in names)
        fits += "".join(f" AND m.{name} IS NULL" for name in others)
        category = ""
        if kind == "line_item":
            category = """LEFT JOIN category AS c ON c.district_id = :district AND c.id = i.category_id
                LEFT JOIN external_id AS x ON x.district_id = :district AND x.source_id = :source
                 AND x.kind = 'category' AND x.row_id = i.category_id"""
        await stage.insert(
            "mapping_item",
            "",
            ("kind", "item_id", "rule"),
            f"""SELECT DISTINCT ON (i.id) :district, :run, '{kind}', i.id, m.n FROM {kind} AS i
                JOIN external_id AS e ON e.district_id = :district AND e.source_id = :source AND e.kind = '{kind}'
                 AND e.row_id = i.id {category}
                JOIN {stage.of_run("mapping_rule")} AS m ON {fits}
                WHERE i.district_id = :district AND i.removed_at IS NULL ORDER BY i.id, m.n""",
        )


def _mapped_results_sql(stage: Stage, kind: str, column: str) -> str:
    """Returns the FROM and WHERE clauses that select the results that match a rule of the mapping.

    `kind` is `result` or `assessment_result`. The results have the alias `r`, and the rules have the alias `m`.
    `column` is the column with the id of a result's line item or assessment.
    """
    return f"""FROM {stage.of_run("mapping_item")} AS i
        JOIN {stage.of_run("mapping_rule")} AS m ON m.n = i.rule
        JOIN {kind} AS r ON r.district_id = :district AND r.{column} = i.item_id AND r.source_id = :source
        JOIN person AS p ON p.district_id = :district AND p.id = r.student_id
        WHERE i.kind = '{column.removesuffix("_id")}' AND r.removed_at IS NULL
          AND r.score IS NOT NULL"""


_DONE: Final = (
    *("fullygraded", "graded", "gradedfinal", "finalgraded", "final", "finalgrade", "finalized", "finalised"),
    *("complete", "completed", "done", "scored", "marked", "evaluated", "assessed", "returned", "released"),
    *("posted", "published", "locked", "lockedfinal"),
)
"""The values of `scoreStatus` that mean that the work was done and graded.

They are in lower case, without blanks and punctuation.
"""
_WORD: Final = "regexp_replace(regexp_replace(lower(r.score_status), '^ext:', ''), '[^a-z0-9]', '', 'g')"
_UNGRADED: Final = f"""(coalesce(r.missing OR r.in_progress OR r.incomplete, false)
    OR coalesce(btrim(r.score_status) <> '' AND {_WORD} NOT IN ({", ".join(f"'{word}'" for word in _DONE)}), false))"""
"""An SQL condition for results that are not reported as graded. The score of such a result, often 0, has no meaning.

An unknown status counts as not graded. Otherwise a 0 for work that was never done would be taken for the student's
result. If a source sends no status, the score counts.
"""
_FIT = f"""NOT {_UNGRADED} AND r.score_date IS NOT NULL AND r.score_date <= :today AND r.score BETWEEN m.lowest
    AND m.highest AND p.is_student"""


async def _stage_scores(stage: Stage, kind: str, column: str) -> None:
    name = f"'{kind}:' || r.sourced_id"
    await stage.insert(
        "incoming_score",
        "",
        COLUMNS,
        f"""SELECT :district, :run, r.student_id, r.school_ids, m.measure_id, m.secured_area, m.purpose, r.score_date,
                   m.attempt, r.score, m.form, {name}, {fresh_id("score", name)}
            {_mapped_results_sql(stage, kind, column)} AND {_FIT}""",
    )


async def _describe_left_out(stage: Stage, kind: str, column: str) -> list[str]:
    """Returns a list with one sentence: how many results match a rule of the mapping but cannot become scores, and why.

    `kind` is `result` or `assessment_result`. If there are no such results, the list is empty.
    """
    (row,) = await stage.rows(
        f"""SELECT count(*) FILTER (WHERE {_UNGRADED}) AS ungraded,
                   count(*) FILTER (WHERE NOT {_UNGRADED} AND r.score_date IS NULL) AS undated,
                   count(*) FILTER (WHERE NOT {_UNGRADED} AND r.score_date > :today) AS early,
                   count(*) FILTER (WHERE NOT {_UNGRADED} AND r.score NOT BETWEEN m.lowest AND m.highest) AS beyond
            {_mapped_results_sql(stage, kind, column)} AND NOT coalesce({_FIT}, false)"""
    )
    why = {
        "ungraded": "exempt, missing, or with a status that is not known to mean graded",
        "undated": "without a date",
        "early": "with a date in the future",
        "beyond": "outside the range of the measure",
    }
    reasons = [f"{row[name]:,} {words}" for name, words in why.items() if row[name]]
    noun = "results" if kind == "result" else "assessment results"
    return [f"Mapped {noun} that stay grades only: {', '.join(reasons)}."] if reasons else []


@needs(Can.SYNC_ROSTER)
async def judge_days(work: Work, days: Mapping[tuple[UUID, UUID], Collection[date]], *, quiet: bool = False) -> None:
    """Judges the scores of each student and measure in `days`, if they belong to an active support.

    `days` has the days for which scores were written, keyed by student and measure. All days of such a pair are judged
    at once. With `quiet`, raises no alerts.
    """
    measures = {measure_id for _, measure_id in days}
    rows = await work.db.execute(
        select(Support.student_id, Support.measure_id, Support.more_measures).where(
            Support.district_id == work.district_id, Support.state == "active", has_measure(measures)
        )
    )
    pairs = {(student_id, measure) for student_id, first, more in rows for measure in (first, *more)} & days.keys()
    await judge_written(work, {pair: days[pair] for pair in pairs}, quiet=quiet)
