"""Reads a CSV file of scores into a staging table, finds the student and measure of each row, and plans the changes.

Never writes a score, and never reports a value. Only the first fault of a row is reported.
"""

# ruff: noqa: S608  # only our own names are formatted into statements; values are bound

from typing import Final

from sqlalchemy import select

from app.access.permission import Can
from app.access.work import Work, needs
from app.core import ids
from app.core.plural import pluralize
from app.core.violations import EARLIEST_DAY
from app.evidence.rules import PURPOSES
from app.playbook.lookup import area_by_id, secured_code
from app.playbook.models import Measure
from app.sis.engine.intake.blocks import BLANKS_SQL
from app.sis.engine.intake.convert import GONE_SQL, MAX_ID_BYTES, typed_sql
from app.sis.engine.intake.meanings import no_null_sql
from app.sis.engine.review.scope import SourceScope
from app.sis.engine.stage import Stage, fresh_id
from app.sis.kinds import SCORE, Field
from app.sis.port import Delivery, SourceRefused

FEW_ROWS: Final = 5000
"""The number of staged rows up to which looking up each score is faster than reading all scores of the district."""
MAX_FORM: Final = 200  # characters
TOUCHED_SQL: Final = """EXISTS (SELECT FROM score_change AS h WHERE h.district_id = :district AND h.score_id = s.id
    AND (h.changed_by IS NOT NULL OR h.changed_by_client IS NOT NULL))"""
"""An SQL condition. It is true if a person or a client has amended or removed the score `s`."""
_SENT_BEFORE: Final = """EXISTS (SELECT FROM score_change AS h WHERE h.district_id = :district AND h.score_id = s.id
    AND ((h.before ->> 'taken_on')::date, (h.before ->> 'attempt')::integer, (h.before ->> 'value')::double precision,
         h.before ->> 'purpose') = (w.taken_on, w.attempt, w.value, w.purpose)
    AND h.before ->> 'form' IS NOT DISTINCT FROM w.form)"""
"""An SQL condition. It is true if the score `s` had the values of the staged row `w` before it was changed."""


@needs(Can.SYNC_ROSTER)
async def stage_measures(work: Work, stage: Stage) -> None:
    """Writes each measure of the district to a staging table twice: once under its code, and once under its id.

    A file may therefore name a measure by its code or by its id.
    """
    columns = ("name", "measure_id", "secured_area", "lowest", "highest", "forms")
    areas: dict[object, str | None] = {}
    rows = []
    for measure in await work.db.scalars(select(Measure).where(Measure.district_id == work.district_id)):
        if measure.area_id not in areas:
            areas[measure.area_id] = await secured_code(work, await area_by_id(work, measure.area_id))
        about = (measure.id, areas[measure.area_id], measure.lowest, measure.highest, measure.forms)
        rows += [(name, *about) for name in {measure.code, ids.format_id("measure", measure.id)}]
    await stage.insert_records("score_measure", columns, rows)


async def stage_rows(stage: Stage, delivery: Delivery) -> int:
    """Writes the rows of the file, each with its first fault, to a staging table.

    Returns their number; identical repeats count once.
    """
    columns, query = _converted_sql(stage, delivery)
    rows = await stage.insert("staged", SCORE.name, columns, query, are_distinct=True)
    await stage.driver.execute(f"SET LOCAL enable_nestloop = {'on' if rows < FEW_ROWS else 'off'}")
    await _find_measures_in_another_case(stage, delivery)
    await _resolve(stage)
    return rows - await _resolve_repeats(stage)


def _converted_sql(stage: Stage, delivery: Delivery) -> tuple[list[str], str]:
    """Returns the columns of the staging table, and the SQL that fills them from the raw rows.

    For each raw row, the SQL converts the values and names the first fault.
    """
    at = {column: f"r.c{number}" for number, column in enumerate(delivery.header, start=1)}
    student = at.get("studentSourcedId", at["sourcedId"])
    external_id = at["sourcedId"] if "studentSourcedId" in at else "NULL::text"
    attempt, purpose = at.get("attempt", "NULL::text"), at.get("purpose", "NULL::text")
    day, value = Field("taken_on", "date", "date"), Field("value", "value", "number")
    words = ", ".join(f"'{word}'" for word in PURPOSES)
    faults = (
        ("q.raw_fault IS NOT NULL", "' ' || q.raw_fault"),
        (f"octet_length(q.external_id) > {MAX_ID_BYTES}", "'externalId value.too_long'"),
        ("q.gone IS NULL", "'status status.unknown'"),
        ("q.gone AND q.external_id IS NOT NULL", "NULL"),
        ("q.student IS NULL", "'studentSourcedId value.missing'"),
        ("q.measure IS NULL", "'measure value.missing'"),
        ("q.taken_on IS NULL AND q.x_taken_on IS NOT NULL", "'date date.malformed'"),
        ("q.taken_on IS NULL", "'date value.missing'"),
        ("q.taken_on > :today", "'date score.in_the_future'"),
        (f"q.taken_on < '{EARLIEST_DAY}'", "'date date.too_early'"),
        ("q.attempt IS NULL", "'attempt score.attempt'"),
        ("q.gone", "NULL"),
        ("q.value IS NULL AND q.x_value IS NOT NULL", "'value number.malformed'"),
        ("q.value IS NULL", "'value value.missing'"),
        (f"q.purpose NOT IN ({words})", "'purpose score.purpose'"),
        (f"length(q.form) > {MAX_FORM}", "'form value.too_long'"),
    )
    columns = ["row_number", "external_id", "student", "measure", "gone", "taken_on", "attempt", "value", "form"]
    return (
        [*columns, "purpose", "fault"],
        f"""SELECT :district, :run, q.row_number, q.external_id, q.student, q.measure, coalesce(q.gone, false),
                   q.taken_on, q.attempt, q.value, q.form, q.purpose,
                   CASE {" ".join(f"WHEN {when} THEN {fault}" for when, fault in faults)} END
            FROM (SELECT r.row_number, r.fault AS raw_fault, {_text(external_id)} AS external_id,
                         {_text(student)} AS student, {_text(at["measure"])} AS measure,
                         {GONE_SQL.format(x=at["status"]) if "status" in at else "false"} AS gone,
                         {typed_sql(day, _text(at["date"]))} AS taken_on, {_text(at["date"])} AS x_taken_on,
                         {typed_sql(value, _text(at["value"]))} AS value, {_text(at["value"])} AS x_value,
                         CASE WHEN {_text(attempt)} IS NULL THEN 1
                              WHEN {_text(attempt)} ~ '^[1-9][0-9]{{0,5}}([.]0*)?$'
                              THEN split_part({_text(attempt)}, '.', 1)::integer END AS attempt,
                         coalesce(lower({_text(purpose)}), 'progress') AS purpose,
                         {_text(at.get("form", "NULL::text"))} AS form
                  FROM {stage.raw(SCORE.name)} AS r OFFSET 0) AS q""",
    )


def _text(x: str) -> str:
    return f"nullif(btrim({no_null_sql(x)}, {BLANKS_SQL}), '')"


async def _find_measures_in_another_case(stage: Stage, delivery: Delivery) -> None:
    """Corrects the case of the codes of measures, and of forms (versions of a test), such as `ORF` to `orf`.

    Notes in the report how many rows had such a code. A code stays as it is if the playbook has it in this case, or if
    several measures or forms differ only in case.
    """
    table, staged = stage.table("staged", SCORE.name), stage.of_run("staged", SCORE.name)
    measures = stage.of_run("score_measure")
    forms = f"SELECT DISTINCT m.measure_id, m.name AS measure, unnest(m.forms) AS form FROM {measures} AS m"
    for column, by_name in (
        ("measure", f"SELECT NULL::text AS measure, m.name AS exact FROM {measures} AS m"),
        ("form", f"SELECT f.measure, f.form AS exact FROM ({forms}) AS f"),
    ):
        is_same_measure = "true" if column == "measure" else "y.measure = x.measure"
        rows = await stage.run(
            f"""UPDATE {table} AS w SET {column} = j.exact
                FROM (SELECT x.row_number, min(y.exact) AS exact FROM {staged} AS x
                      JOIN ({by_name}) AS y ON lower(y.exact) = lower(x.{column}) AND {is_same_measure}
                      GROUP BY x.row_number, x.{column}
                      HAVING count(*) = 1 AND min(y.exact) <> x.{column}) AS j
                WHERE w.district_id = :district AND w.run_id = :run AND w.row_number = j.row_number"""
        )
        if rows:
            have = pluralize(rows, "row has", "rows have")
            stage.notes.append(f"{delivery.file}: {have} a {column} in another case than the playbook, read as that.")


async def _resolve(stage: Stage) -> None:
    """Finds the student and the measure of each staged row, and stores their ids in it.

    A row gets a fault if its student, measure, form (version of the test) or value is not valid. A student is
    identified by the sourcedId of any source of the district, or as `sis:<source>:<sourcedId>`.
    """
    staged = stage.of_run("staged", SCORE.name)
    by_alias = """SELECT e.sourced_id, 'sis:' || o.name || ':' || e.sourced_id AS named, e.row_id
        FROM external_id AS e JOIN source AS o ON o.district_id = :district AND o.id = e.source_id
        JOIN person AS p ON p.district_id = :district AND p.id = e.row_id AND p.is_student
        WHERE e.district_id = :district AND e.kind = 'person'"""
    await stage.run(
        f"""UPDATE {stage.table("staged", SCORE.name)} AS w
            SET student_id = j.student_id, measure_id = j.measure_id, secured_area = j.secured_area, fault = j.fault
            FROM (SELECT x.row_number, n.student_id, m.measure_id, m.secured_area,
                         CASE WHEN x.fault IS NOT NULL THEN x.fault
                              WHEN x.gone AND x.external_id IS NOT NULL THEN NULL
                              WHEN n.many IS NULL THEN 'studentSourcedId reference.unknown'
                              WHEN n.many > 1 THEN 'studentSourcedId reference.ambiguous'
                              WHEN m.measure_id IS NULL THEN 'measure measure.unknown'
                              WHEN x.gone THEN NULL
                              WHEN x.value NOT BETWEEN m.lowest AND m.highest THEN 'value score.out_of_range'
                              WHEN x.form IS NOT NULL AND m.forms IS NOT NULL AND NOT x.form = ANY (m.forms)
                              THEN 'form score.unknown_form' END AS fault
                  FROM {staged} AS x
                  LEFT JOIN (SELECT a.name, min(a.row_id::text)::uuid AS student_id, count(DISTINCT a.row_id) AS many
                             FROM (SELECT b.sourced_id AS name, b.row_id FROM ({by_alias}) AS b
                                   UNION ALL SELECT b.named, b.row_id FROM ({by_alias}) AS b) AS a
                             WHERE a.name IN (SELECT y.student FROM {staged} AS y)
                             GROUP BY a.name) AS n ON n.name = x.student
                  LEFT JOIN {stage.of_run("score_measure")} AS m ON m.name = x.measure) AS j
            WHERE w.district_id = :district AND w.run_id = :run AND w.row_number = j.row_number"""
    )


async def _resolve_repeats(stage: Stage) -> int:
    """Deletes identical repeats, and returns their number. Rows that contradict each other all get a fault.

    Rows contradict each other if they have the same externalId, or the same student, measure, date and attempt, and
    differ in anything else.
    """
    table, staged = stage.table("staged", SCORE.name), stage.of_run("staged", SCORE.name)
    key = "x.student_id, x.measure_id, x.taken_on, x.attempt"
    content = "md5(ROW(x.external_id, x.gone, x.student_id, x.measure_id, x.taken_on, x.attempt, x.value, x.form, "
    content += "x.purpose)::text)"
    await stage.run(
        f"""UPDATE {table} AS w SET fault = j.fault
            FROM (SELECT x.row_number,
                         CASE WHEN x.external_id IS NOT NULL
                               AND min(x.content) OVER by_name <> max(x.content) OVER by_name
                              THEN 'externalId sourcedId.repeated'
                              WHEN x.student_id IS NOT NULL AND x.taken_on IS NOT NULL
                               AND min(x.content) OVER by_key <> max(x.content) OVER by_key
                              THEN 'studentSourcedId score.doubled' END AS fault
                  FROM (SELECT x.*, {content} AS content FROM {staged} AS x WHERE x.fault IS NULL) AS x
                  WINDOW by_name AS (PARTITION BY x.external_id), by_key AS (PARTITION BY {key})) AS j
            WHERE w.district_id = :district AND w.run_id = :run AND w.row_number = j.row_number
              AND j.fault IS NOT NULL"""
    )
    return await stage.run(
        f"""DELETE FROM {table} AS w
            USING (SELECT x.row_number, row_number() OVER (PARTITION BY {content} ORDER BY x.row_number) AS n
                   FROM {staged} AS x WHERE x.fault IS NULL) AS j
            WHERE w.district_id = :district AND w.run_id = :run AND w.row_number = j.row_number AND j.n > 1"""
    )


async def leave_out_scores(stage: Stage, scope: SourceScope) -> int:
    """Deletes the staged rows of students whom `scope` leaves out, and returns the number of deleted rows.

    The scope leaves out two groups: the excluded students, however the row identifies them, and, if schools are
    chosen, the students who are in none of the chosen schools.

    Raises `SourceRefused` if a chosen school is not known.
    """
    if not (scope.schools or scope.excluded):
        return 0
    names = [*(("org", name, None) for name in scope.schools), *(("person", name, None) for name in scope.excluded)]
    await stage.insert_records("out_of_scope", ("kind", "sourced_id", "id"), sorted(set(names)))
    left_out = stage.of_run("out_of_scope")
    schools = f"""SELECT e.sourced_id, e.row_id FROM external_id AS e JOIN {left_out} AS l ON l.kind = 'org'
        AND l.sourced_id = e.sourced_id WHERE e.district_id = :district AND e.kind = 'org'"""
    sourced_ids = {row["sourced_id"] for row in await stage.rows(schools)}
    if unknown := sorted(set(scope.schools) - sourced_ids):
        raise SourceRefused(
            f"The run is restricted to some schools, and the district has none with the sourcedId {unknown[0]}. "
            "Correct the restriction."
        )
    # A row that removes a score may name only the score, and a student may be named with the source.
    student = """coalesce(w.student_id, (SELECT x.student_id FROM score AS x WHERE x.district_id = :district
        AND x.sender = :source AND x.external_id = w.external_id))"""
    is_elsewhere = f"""EXISTS (SELECT FROM person AS p WHERE p.district_id = :district AND p.id = {student}
        AND NOT p.school_ids && ARRAY(SELECT s.row_id FROM ({schools}) AS s))"""
    is_excluded = f"""{student} IN (SELECT e.row_id FROM external_id AS e JOIN {left_out} AS l ON l.kind = 'person'
        AND l.sourced_id = e.sourced_id WHERE e.district_id = :district AND e.kind = 'person')"""
    return await stage.run(
        f"""DELETE FROM {stage.table("staged", SCORE.name)} AS w WHERE w.district_id = :district AND w.run_id = :run
            AND (w.student IN (SELECT l.sourced_id FROM {left_out} AS l WHERE l.kind = 'person') OR {is_excluded}
                 OR ({"true" if scope.schools else "false"} AND {is_elsewhere}))"""
    )


async def write_plan(stage: Stage) -> None:
    """Plans, for each staged row without a fault, which score it creates, changes or removes.

    The plan has no rows for unchanged scores, or for the deletion of unknown scores.

    A score is identified by the source's external id, or else by student, measure, date and attempt. The plan never
    overwrites a score of another sender, nor a score that a person or a client has changed.
    """
    differs = """(s.removed_at IS NOT NULL OR (s.taken_on, s.attempt, s.value, s.purpose)
        IS DISTINCT FROM (w.taken_on, w.attempt, w.value, w.purpose) OR s.form IS DISTINCT FROM w.form)"""
    names = "student_id, measure_id, secured_area, taken_on, attempt, value, form, purpose"
    is_other_score = """(x.id IS NULL AND k.sender = :source AND k.external_id <> w.external_id)
        OR (x.id IS NOT NULL AND k.id <> x.id)
        OR (x.student_id, x.measure_id) <> (w.student_id, w.measure_id)"""
    await stage.insert(
        "plan",
        SCORE.name,
        ("id", "external_id", "row_number", "action", "field", "code", "version", *names.split(", ")),
        f"""SELECT :district, :run, CASE WHEN p.action = 'refuse' OR p.id IS NULL THEN p.new_id ELSE p.id END,
                   p.external_id, p.row_number, p.action, p.field, p.code, p.version, {names}
            FROM (
                SELECT s.id, {fresh_id(SCORE.name, "w.row_number::text", "w.row_number")} AS new_id, s.version,
                       w.external_id, w.row_number, o.action, o.field, o.code,
                       coalesce(w.student_id, s.student_id) AS student_id,
                       coalesce(w.measure_id, s.measure_id) AS measure_id,
                       CASE WHEN w.measure_id IS NULL THEN s.secured_area ELSE w.secured_area END AS secured_area,
                       coalesce(w.taken_on, s.taken_on) AS taken_on, coalesce(w.attempt, s.attempt) AS attempt,
                       w.value, w.form, w.purpose
                FROM {stage.of_run("staged", SCORE.name)} AS w
                LEFT JOIN score AS x ON x.district_id = :district AND x.sender = :source
                 AND x.external_id = w.external_id
                LEFT JOIN score AS k ON k.district_id = :district AND k.student_id = w.student_id
                 AND k.measure_id = w.measure_id AND k.taken_on = w.taken_on AND k.attempt = w.attempt
                LEFT JOIN score AS s ON s.district_id = :district AND s.id = coalesce(x.id, k.id)
                CROSS JOIN LATERAL (
                    SELECT (c.word)[1] AS action, (c.word)[2] AS field, (c.word)[3] AS code FROM (
                        SELECT CASE
                            WHEN w.gone AND (s.id IS NULL OR s.removed_at IS NOT NULL) THEN NULL
                            WHEN NOT w.gone AND ({is_other_score})
                            THEN ARRAY['refuse', 'externalId', 'score.two_identities']
                            WHEN s.id IS NULL THEN ARRAY['create']
                            WHEN NOT w.gone AND NOT {differs} THEN NULL
                            WHEN s.sender IS DISTINCT FROM :source
                            THEN ARRAY['refuse', 'value', 'score.other_sender']
                            WHEN NOT {TOUCHED_SQL} THEN ARRAY[CASE WHEN w.gone THEN 'remove'
                                WHEN s.removed_at IS NOT NULL THEN 'restore' ELSE 'update' END]
                            WHEN NOT w.gone AND {_SENT_BEFORE} THEN NULL
                            ELSE ARRAY['refuse', 'value', 'score.amended'] END AS word) AS c) AS o
                WHERE w.fault IS NULL) AS p
            WHERE p.action IS NOT NULL""",
    )
