"""Reads the supplementary files of a delivery into the staging tables: score scales and learning objectives.

The rows of a supplementary file are not stored as records of their own. They are written into columns of another kind
of record, for example of results.

* A bulk file replaces all values of its columns. A delta changes only the values that it mentions.
* A row of a supplementary file that refers to an unknown record goes into quarantine, under the name of this file.

This module does not write the gradebook.
"""

# ruff: noqa: S608  # only our own names are formatted into statements; values are bound

from collections.abc import Sequence
from dataclasses import replace

from app.sis.engine.intake.cells import split_lists
from app.sis.engine.intake.convert import MAX_ID_BYTES, convert_rows
from app.sis.engine.intake.grades import note_grades
from app.sis.engine.intake.load import add_raw_column, copy_raw, drop_empty_rows, widen_raw
from app.sis.engine.intake.meanings import is_grade_sql
from app.sis.engine.intake.roles import compose_roles, stage_affected_people
from app.sis.engine.plan import known_rows_sql
from app.sis.engine.stage import Stage, fresh_id
from app.sis.kinds import Kind
from app.sis.port import Delivery, Progress

TARGETS = {
    "item_scale": "lineItemSourcedId",
    "item_objective": "lineItemSourcedId",
    "result_scale": "resultSourcedId",
    "result_objective": "resultSourcedId",
}
"""The column in which each supplement names the row to which it adds values."""
MAKES = {"scale": "scoreScaleSourcedId", "objective": "learningObjectiveSet"}
NUMBER = r"^\s*[+-]?(\d+(\.\d*)?|\.\d+)\s*$"


async def stage_with_supplements(stage: Stage, kind: Kind, delivery: Delivery, progress: Progress) -> int:
    """Writes the rows of one kind of record to the staging table, with the columns that supplementary files fill.

    Returns the number of rows; identical repeats count once.
    """
    if kind.name in stage.staged_early:
        return stage.staged_early[kind.name]
    file = replace(delivery, header=delivery.header[: len(delivery.header) - len(delivery.composed)])
    await copy_raw(stage, file, progress)
    refused, composed = 0, []
    if kind.name == "person" and delivery.composed:
        composed.append(await compose_roles(stage, delivery, progress))
    elif delivery.composed:
        for supplement in delivery.supplements:
            await copy_raw(stage, supplement, progress)
            await drop_empty_rows(stage, supplement)
            refused += await _quarantine_rows(stage, kind, delivery, supplement)
            compose = _compose_scales if supplement.kind.endswith("scale") else _compose_objectives
            composed.append(await compose(stage, kind, supplement))
    if composed:
        await _add_composed_columns(stage, file, composed)
    if "textScore" in delivery.composed:
        await add_raw_column(stage, kind.name, f"c{len(delivery.header)}")
    await split_lists(stage, kind, file)
    progress(f"checking {kind.plural}", 0, 0)
    rows = await convert_rows(stage, kind, delivery)
    if "textScore" in delivery.header:
        await note_grades(stage, kind, delivery)
    if composed and not delivery.complete:
        rows += (
            await stage_affected_people(stage, delivery)
            if kind.name == "person"
            else await _stage_affected_rows(stage, kind, delivery)
        )
    return rows + refused


async def _add_composed_columns(stage: Stage, file: Delivery, composed: Sequence[str]) -> None:
    """Adds columns to the raw table of a file, with values that were computed from its supplementary files.

    These values are staged already, under the names `composed`.
    """
    own = [f"c{number}" for number in range(1, len(file.header) + 1)]
    columns, joins, values = list(own), "", [f"r.{column}" for column in own]
    for table, count in ((name, 2 if file.kind == "person" else 1) for name in composed):
        alias = f"m{len(columns)}"
        key = f"r.c{file.header.index('sourcedId') + 1}"
        joins += f" LEFT JOIN {stage.composed(table)} AS {alias} ON {alias}.sourced_id = {key}"
        for number in range(1, count + 1):
            values.append(f"{alias}.made_{number}")
            columns.append(f"c{len(columns) + 1}")
    rows = f"SELECT r.row_number, r.fault, {', '.join(values)} FROM {stage.raw(file.kind)} AS r{joins}"
    await widen_raw(stage, file.kind, columns, rows)


async def _quarantine_rows(stage: Stage, kind: Kind, delivery: Delivery, supplement: Delivery) -> int:
    """Puts the faulty rows of a supplementary file into quarantine, and returns their number.

    Also marks them as faulty in the raw table of the file.
    """
    target, rows = TARGETS[supplement.kind], f"{stage.raw(supplement.kind)} AS r"
    at = _column_names(supplement)
    key = f"c{delivery.header.index('sourcedId') + 1}"
    targets = f"SELECT t.{key} AS key FROM {stage.raw(kind.name)} AS t WHERE t.{key} IS NOT NULL"
    if not delivery.complete:
        targets += f" UNION SELECT t.sourced_id FROM ({known_rows_sql(kind)}) AS t WHERE t.removed_at IS NULL"
    faults = [
        ("r.fault IS NOT NULL", "' ' || r.fault"),
        *(
            (f"coalesce(btrim({at[c]}), '') = ''", f"'{c} value.missing'")
            for c in (*supplement.required_columns, target)
        ),
        ("t.key IS NULL", f"'{target} reference.unknown'"),
    ]
    if "score" in at:
        is_malformed = f"{at['score']} !~ '{NUMBER}' OR NOT pg_input_is_valid(btrim({at['score']}), 'float8')"
        is_malformed = f"btrim({at['score']}) <> '' AND ({is_malformed}) AND NOT {is_grade_sql(at['score'])}"
        faults.append((is_malformed, "'score number.malformed'"))
    fault = f"CASE {' '.join(f'WHEN {when} THEN {code}' for when, code in faults)} END"
    await stage.run(
        f"""UPDATE {stage.raw_tables[supplement.kind]} AS u SET fault = f.fault FROM (
                SELECT r.row_number, {fault} AS fault FROM {rows}
                LEFT JOIN (SELECT DISTINCT o.key FROM ({targets}) AS o) AS t ON t.key = btrim({at[target]})) AS f
            WHERE u.row_number = f.row_number AND f.fault IS NOT NULL"""
    )
    return await stage.run(
        f"""INSERT INTO sis_quarantine (district_id, id, run_id, kind, file, row_number, field, code)
            SELECT :district, {fresh_id("quarantine " + supplement.kind, "r.row_number::text")}, :run, '{kind.name}',
                   '{supplement.file}', r.row_number + 1, split_part(r.fault, ' ', 1), split_part(r.fault, ' ', 2)
            FROM {rows} WHERE r.fault IS NOT NULL ON CONFLICT DO NOTHING"""
    )


async def _compose_scales(stage: Stage, kind: Kind, supplement: Delivery) -> str:
    """Finds the score scale of each line item or result that the supplementary file names, and stages these scales.

    If the file has several rows for the same line item or result, the row with the lowest sourcedId counts. Returns the
    name under which the scales are staged.
    """
    at, raw = _column_names(supplement), stage.raw(supplement.kind)
    target, live = f"btrim({at[TARGETS[supplement.kind]]})", _is_active_sql(at)
    values = f"""SELECT {target} AS target, (array_agg(btrim({at["scoreScaleSourcedId"]}) ORDER BY {at["sourcedId"]})
                       FILTER (WHERE {live}))[1] AS scale
               FROM {raw} AS r WHERE r.fault IS NULL GROUP BY {target}"""
    if not supplement.complete:
        existing = known_rows_sql(kind, ["score_scale_id"])
        values += f""" UNION ALL SELECT t.sourced_id, x.sourced_id FROM ({existing}) AS t
            JOIN external_id AS x ON x.district_id = :district AND x.source_id = :source AND x.kind = 'score_scale'
             AND x.row_id = t.score_scale_id
            WHERE NOT EXISTS (SELECT FROM {raw} AS r WHERE r.fault IS NULL AND {target} = t.sourced_id)"""
    return await _insert_composed(stage, supplement, "min(s.scale)", values)


async def _compose_objectives(stage: Stage, kind: Kind, supplement: Delivery) -> str:
    """Collects the learning objectives of each line item or result that the supplementary file names, and stages them.

    They are staged as a JSON list for each line item or result, ordered by source and id. Returns the name under which
    the lists are staged.
    """
    at, raw = _column_names(supplement), stage.raw(supplement.kind)
    target = f"btrim({at[TARGETS[supplement.kind]]})"
    parts = {"source": at["source"], "id": at["learningObjectiveId"]}
    pairs = ", ".join(f"'{name}', btrim({value})" for name, value in parts.items())
    words = f"nullif(btrim({at['textScore']}), '')" if "textScore" in at else "NULL"
    if "score" in at:
        is_grade = is_grade_sql(at["score"])
        pairs += f", 'score', CASE WHEN NOT {is_grade} THEN nullif(btrim({at['score']}), '')::float8 END"
        words = f"coalesce({words}, CASE WHEN {is_grade} THEN btrim({at['score']}) END)"
    if "textScore" in at or "score" in at:
        pairs += f", 'text_score', {words}"
    values = f"""SELECT {target} AS target, jsonb_strip_nulls(jsonb_build_object({pairs})) AS one
               FROM {raw} AS r WHERE r.fault IS NULL AND {_is_active_sql(at)}"""
    if not supplement.complete:
        same = " AND ".join(f"e.one ->> '{name}' = btrim({value})" for name, value in parts.items())
        values += f""" UNION ALL SELECT t.sourced_id, e.one FROM ({known_rows_sql(kind, ["learning_objectives"])}) AS t,
                jsonb_array_elements(t.learning_objectives) AS e (one)
            WHERE NOT EXISTS (SELECT FROM {raw} AS r WHERE r.fault IS NULL AND {target} = t.sourced_id AND {same})"""
    ordered = "jsonb_agg(s.one ORDER BY s.one ->> 'source', s.one ->> 'id', s.one)::text"
    return await _insert_composed(stage, supplement, ordered, values)


async def _insert_composed(stage: Stage, supplement: Delivery, made: str, values: str) -> str:
    """Computes one value for each record to which a supplementary file refers, and stages these values.

    `made` is SQL for the value, and `values` is SQL that selects the rows of the supplementary file. Returns the name
    under which the values are staged.
    """
    await stage.insert(
        "composed",
        "",
        ("name", "sourced_id", "made_1"),
        f"""SELECT :district, :run, '{supplement.kind}', s.target, {made} FROM ({values}) AS s
            WHERE octet_length(s.target) <= {MAX_ID_BYTES} GROUP BY s.target""",
    )
    return supplement.kind


async def _stage_affected_rows(stage: Stage, kind: Kind, delivery: Delivery) -> int:
    """Writes to the staging table the roster rows that a supplementary file changes but that were not delivered.

    Returns the number of these rows.
    """
    columns, values, joins, touched = [], [], "", []
    made = {}
    for number, supplement in enumerate(delivery.supplements):
        target = _column_names(supplement)[TARGETS[supplement.kind]]
        made[MAKES[supplement.kind.rsplit("_", 1)[-1]]] = f"m{number}.made_1"
        joins += f" LEFT JOIN {stage.composed(supplement.kind)} AS m{number} ON m{number}.sourced_id = t.sourced_id"
        rows = f"{stage.raw(supplement.kind)} AS r"
        touched.append(f"SELECT btrim({target}) AS target, r.row_number FROM {rows} WHERE r.fault IS NULL")
    for field in (field for field in kind.fields if field.header in delivery.header):
        columns.append(field.column)
        values.append(f"{made[field.header]}::jsonb" if field.header in made else f"t.{field.column}")
    for ref in (ref for ref in kind.refs if ref.header in delivery.header):
        columns.append(f"ref_{ref.column}")
        alias = f"""(SELECT x.sourced_id FROM external_id AS x WHERE x.district_id = :district
            AND x.source_id = :source AND x.kind = '{ref.kind}' AND x.row_id = t.{ref.column} LIMIT 1)"""
        values.append(made.get(ref.header, alias))
    selected = [*(f.column for f in kind.fields), *(r.column for r in kind.refs)]
    return await stage.insert(
        "staged",
        kind.name,
        ("place", "row_number", "sourced_id", "gone", *columns),
        f"""SELECT :district, :run, -(row_number() OVER ()), d.row_number, t.sourced_id, false, {", ".join(values)}
            FROM ({known_rows_sql(kind, selected)}) AS t
            JOIN (SELECT u.target, min(u.row_number) AS row_number FROM ({" UNION ALL ".join(touched)}) AS u
                  GROUP BY u.target) AS d ON d.target = t.sourced_id {joins}
            WHERE t.removed_at IS NULL
              AND NOT EXISTS (SELECT FROM {stage.delivered(kind.name)} AS s WHERE s.sourced_id = t.sourced_id)""",
    )


def _column_names(delivery: Delivery) -> dict[str, str]:
    return {column: f"r.c{number}" for number, column in enumerate(delivery.header, start=1)}


def _is_active_sql(at: dict[str, str]) -> str:
    if "status" not in at:
        return "true"
    return f"lower(btrim(coalesce({at['status']}, ''))) NOT IN ('tobedeleted', 'inactive')"
