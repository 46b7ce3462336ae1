"""Converts raw text into rows with typed values in the staging tables, and detects faulty rows.

Errors never contain a value of a row.

* Only the first fault of a row is reported.
* A faulty row is staged too. Otherwise the roster row with its sourcedId would count as missing from the delivery.
* A row is skipped as unchanged if every value equals the roster's, as text or after conversion, and every reference
  leads to the same roster row.
* All other rows are converted value by value: new, deleted, malformed, incomplete and repeated rows, rows with values
  that people have pinned against changes, and rows that may have changed.

This file exceeds 250 lines because the comparison and the conversion must agree.
"""

# ruff: noqa: S608  # only our own names are formatted into statements; values are bound

from collections.abc import Mapping, Sequence

from app.core.grades import GRADE_CODES
from app.core.violations import EARLIEST_DATE
from app.sis.engine.intake.meanings import is_grade_sql, is_open_sql, no_null_sql
from app.sis.engine.plan import id_lists_sql, known_columns, known_rows_sql
from app.sis.engine.stage import SEPARATE, Stage, fresh_id
from app.sis.kinds import MALFORMED, NO_DATES, ROLES, SQL_TYPES, WORDS, Field, Kind
from app.sis.port import Delivery

MAX_ID_BYTES = 255  # OneRoster's own limit; in bytes, because ids are ASCII and bytes are counted faster
MAX_NAME_LENGTH = 300  # two names and an id must fit into an index entry, at four bytes a character
DATED = ("date", "end_date", "instant", "end_instant")
GONE_SQL = """CASE WHEN {x} IS NULL THEN false WHEN lower(btrim({x})) IN ('', 'active', 'null', '\\n') THEN false
    WHEN lower(btrim({x})) IN ('tobedeleted', 'inactive') THEN true END"""
_LIST = """CASE WHEN coalesce(btrim({x}), '') = '' THEN NULL WHEN strpos({x}, ',') = 0 THEN ARRAY[{one}]
    ELSE (SELECT coalesce(array_agg({many} ORDER BY n) FILTER (WHERE btrim(i) <> ''), '{{}}')
          FROM unnest(string_to_array({x}, ',')) WITH ORDINALITY AS u (i, n)) END"""

_DAY = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}($|[T ][0-9]{2}:[0-9]{2})"
# [0-9] and not \d: in some locales \d matches digits of other scripts, which no cast accepts.
_INSTANT = r"""CASE
    WHEN translate({x}, '123456789', '000000000') IN ('0000-00-00T00:00:00Z', '0000-00-00T00:00:00.000Z')
     AND pg_input_is_valid({x}, 'timestamptz') THEN {x}::timestamptz
    WHEN {x} !~ '^[0-9]{{4}}-[0-9]{{2}}-[0-9]{{2}}([T ][0-9]{{2}}:[0-9]{{2}}.*)?$' THEN NULL
    WHEN {x} ~ 'Z$|[+-][0-9]{{2}}:?[0-9]{{2}}$' AND length({x}) > 10
    THEN CASE WHEN pg_input_is_valid({x}, 'timestamptz') THEN {x}::timestamptz END
    WHEN pg_input_is_valid({x}, 'timestamp') THEN {x}::timestamp AT TIME ZONE 'UTC' END"""
_NUMBER = r"^\s*[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]{1,3})?\s*$"


def _word_sql(x: str) -> str:
    """Returns SQL that converts a value of one of OneRoster's vocabularies to its standard case.

    For example, `ACTIVE` becomes `active`. Unknown values stay unchanged.
    """
    exact = ", ".join(f"'{word}'" for word in WORDS)
    other = " ".join(f"WHEN '{word.lower()}' THEN '{word}'" for word in WORDS)
    return (
        f"CASE WHEN {x} IN ({exact}) THEN {x} ELSE CASE lower(btrim({x})) {other} ELSE nullif(btrim({x}), '') END END"
    )


def _role_sql(x: str) -> str:
    """Returns SQL that converts a role to its standard case, and removes the prefix `ext:` of a role.

    The SQL yields null for an unknown role.
    """
    exact = ", ".join(f"'{word}'" for word in ROLES)
    other = " ".join(f"WHEN '{word.lower()}' THEN '{word}'" for word in ROLES)
    return (
        f"CASE WHEN {x} IN ({exact}) THEN {x} ELSE CASE regexp_replace(lower(btrim({x})), '^ext:', '') {other} END END"
    )


def _grade_sql(x: str) -> str:
    """Returns SQL that converts a grade to OneRoster's code. The SQL accepts codes and names of grades.

    Other values stay unchanged. The most frequent form, two digits, is tried first.
    """
    names = " ".join(f"WHEN '{name}' THEN '{code}'" for name, code in GRADE_CODES.items())
    return (
        f"CASE WHEN {x} ~ '^[0-9][0-9]$' THEN {x} WHEN {x} ~ '^[1-9]$' THEN '0' || {x} "
        f"WHEN lower({x}) = 'k' THEN 'KG' "
        f"WHEN upper({x}) IN ('IT', 'PR', 'PK', 'TK', 'KG', 'PS', 'UG') THEN upper({x}) "
        f"WHEN lower({x}) = 'other' THEN 'Other' ELSE CASE lower({x}) {names} ELSE {x} END END"
    )


def typed_sql(field: Field, x: str) -> str:
    """Returns SQL that converts the text `x` to the type of a field.

    The SQL yields null for a text that cannot be converted, and for a date before `EARLIEST_DATE`. It tries the most
    frequent form first.
    """
    match field.type:
        case "date" | "end_date":
            day = f"left(btrim({x}), 10)"
            unless = f" AND NOT {is_open_sql(x)}" if field.type == "end_date" else ""
            return (
                f"CASE WHEN ({x} LIKE '____-__-__' OR btrim({x}) ~ '{_DAY}') AND {day} >= '{EARLIEST_DATE}' "
                f"AND pg_input_is_valid({day}, 'date'){unless} THEN {day}::date END"
            )
        case "instant" | "end_instant":
            unless = f" AND NOT {is_open_sql(x)}" if field.type == "end_instant" else ""
            # The time zone may move an instant into a year that Python does not have.
            return (
                f"CASE WHEN left(btrim({x}), 10) BETWEEN '{EARLIEST_DATE}' AND '9999-12-30'{unless} "
                f"THEN {_INSTANT.format(x=f'btrim({x})')} END"
            )
        case "number":
            # the most frequent form is tested first, because that is cheaper than a pattern
            plain = f"translate({x}, '0123456789', '') IN ('', '.')"
            return f"CASE WHEN ({plain} OR {x} ~ '{_NUMBER}') AND pg_input_is_valid({x}, 'float8') THEN {x}::float8 END"
        case "json":
            return f"CASE WHEN pg_input_is_valid({x}, 'jsonb') THEN {x}::jsonb END"
        case "boolean":
            return (
                f"CASE WHEN {x} IN ('true', '1') THEN true WHEN {x} IN ('false', '0') THEN false "
                f"WHEN lower(btrim({x})) IN ('true', 'yes', 'y', 't', '1') THEN true "
                f"WHEN lower(btrim({x})) IN ('false', 'no', 'n', 'f', '0') THEN false END"
            )
        case "year":
            return (
                f"CASE WHEN {x} ~ '^[0-9]{{4}}$' THEN {x}::integer "
                rf"WHEN {x} ~ '^[0-9]{{4}}\s*[-/–]\s*([0-9]{{2}}|[0-9]{{4}})$' THEN left({x}, 4)::integer + 1 END"
            )
        case "list":
            return _LIST.format(x=no_null_sql(x), one=f"btrim({x})", many="btrim(i)")
        case "grades":
            return _LIST.format(x=no_null_sql(x), one=_grade_sql(f"btrim({x})"), many=_grade_sql("btrim(i)"))
        case "word":
            return _word_sql(no_null_sql(x))
        case "name":
            return f"nullif(btrim({x}), '')"
        case "role":
            return _role_sql(x)
    return f"nullif(btrim({no_null_sql(x)}), '')"


def _is_no_date_sql(field: Field, x: str) -> str:
    """Returns an SQL condition for a text that stands for no date in this field."""
    days = ", ".join(f"'{day}'" for day in NO_DATES)
    is_placeholder = f"left(btrim({x}), 10) IN ({days})"
    return f"({is_placeholder} OR {is_open_sql(x)})" if field.type.startswith("end_") else is_placeholder


def _fault_sql(kind: Kind, fields: tuple[Field, ...], delivery: Delivery) -> str:
    """Returns SQL for the first fault of a row, as `<field> <code>`. The SQL yields null for a row without a fault."""
    faults = [
        ("q.raw_fault IS NOT NULL", "' ' || q.raw_fault"),
        ("q.sourced_id IS NULL", "'sourcedId value.missing'"),
        (f"octet_length(q.sourced_id) > {MAX_ID_BYTES}", "'sourcedId value.too_long'"),
        ("q.gone IS NULL", "'status status.unknown'"),
        *((f"q.required_{column} IS NULL", f"'{column} value.missing'") for column in delivery.required_columns),
        ("q.gone", "NULL"),
    ]
    for field in fields:
        if field.type in MALFORMED:
            is_malformed = f"q.{field.column} IS NULL AND btrim(q.x_{field.column}) NOT IN ('', 'NULL', 'null', '\\N')"
            if field.type in DATED:
                is_malformed += f" AND NOT {_is_no_date_sql(field, f'q.x_{field.column}')}"
            if field.header == "score" and "textScore" in delivery.header:
                is_malformed += f" AND NOT {is_grade_sql('q.x_score')}"
            faults.append((is_malformed, f"'{field.header} {MALFORMED[field.type]}'"))
        if field.required:
            faults.append((f"q.{field.column} IS NULL", f"'{field.header} value.missing'"))
        if field.column in ("given_name", "family_name"):
            faults.append((f"length(q.{field.column}) > {MAX_NAME_LENGTH}", f"'{field.header} value.too_long'"))
        if field.column == "birth_date":
            faults.append((f"q.{field.column} > :today", f"'{field.header} date.in_the_future'"))
    if {"starts_on", "ends_on"} <= {field.column for field in fields}:
        faults.append(("q.ends_on < q.starts_on", "'endDate dates.reversed'"))
    if {"given_name", "family_name"} <= {field.column for field in fields}:
        faults.append(("q.given_name IS NULL AND q.family_name IS NULL", "'familyName value.missing'"))
    return f"CASE {' '.join(f'WHEN {when} THEN {fault}' for when, fault in faults)} END"


async def convert_rows(stage: Stage, kind: Kind, delivery: Delivery) -> int:
    """Converts the delivered rows of one kind of record, and writes them to the staging table.

    If the rows can be compared with the roster before they are converted, unchanged rows are not staged. Returns the
    number of delivered rows, including unchanged rows; identical repeats count once.
    """
    unchanged = await _sift(stage, kind, delivery)
    if unchanged is not None:
        rows = await stage.count(f"SELECT count(*) FROM {stage.delivered(kind.name)} AS s")
    else:
        columns, query = _converted_sql(kind, delivery, f"{stage.raw(kind.name)} AS r", "q.row_number")
        rows = await stage.insert("staged", kind.name, columns, query, are_distinct=True)
    return rows - await _resolve_repeats(stage, kind, delivery) + (unchanged or 0)


def _converted_sql(
    kind: Kind, delivery: Delivery, rows: str, place: str, roster_columns: Sequence[tuple[str, str]] = ()
) -> tuple[list[str], str]:
    """Returns the columns of the staging table, and the SQL that computes them from the raw rows of the query `rows`.

    `place` is SQL for the number by which the staged rows are ordered.

    The query `rows` may join each raw row with its roster row. In this case, `roster_columns` has the names and types
    of the columns that hold the values of the roster row. A roster row that was not delivered is then staged too; its
    row number is null.
    """
    at = {column: f"r.c{number}" for number, column in enumerate(delivery.header, start=1)}
    fields = tuple(field for field in kind.fields if field.header in at)
    refs = tuple(ref for ref in kind.refs if ref.header in at)
    gone = GONE_SQL.format(x=at["status"]) if "status" in at else "false"
    converted = [f"{_value_sql(f, at)} AS {f.column}, {at[f.header]} AS x_{f.column}" for f in fields]
    converted += [f"{no_null_sql(at[r.header])} AS ref_{r.column}" for r in refs]
    converted += [
        f"nullif(btrim({no_null_sql(at[column])}), '') AS required_{column}" for column in delivery.required_columns
    ]
    converted += [f"r.{column}" for column, _ in roster_columns]
    columns = ["place", "row_number", "sourced_id", "gone", "fault", *(f.column for f in fields)]
    columns += [*(f"ref_{r.column}" for r in refs), *(column for column, _ in roster_columns)]
    # The two levels are planned separately, so that each value is converted only once.
    query = f"""
        SELECT :district, :run, {place}, q.row_number, q.sourced_id, coalesce(q.gone, false),
               CASE WHEN q.row_number IS NOT NULL THEN {_fault_sql(kind, fields, delivery)} END
               {"".join(f", coalesce(q.{f.column}, {f.default})::{SQL_TYPES[f.type]}" for f in fields)}
               {"".join(f", q.ref_{r.column}" for r in refs)}
               {"".join(f", q.{column}::{sql}" for column, sql in roster_columns)}
        FROM (SELECT r.row_number, r.fault AS raw_fault, {at["sourcedId"]} AS sourced_id,
                     {gone} AS gone{"".join(f", {value}" for value in converted)}
              FROM {rows} {SEPARATE}) AS q
        """
    return columns, query


def _value_sql(field: Field, at: Mapping[str, str]) -> str:
    """Returns SQL for the value of a field. `at` has the raw columns, keyed by header.

    A grade in words that a source sends as the score becomes the score as text, if the source sends none.
    """
    value = typed_sql(field, at[field.header])
    if field.header != "textScore" or "score" not in at:
        return value
    return f"coalesce({value}, CASE WHEN {is_grade_sql(at['score'])} THEN btrim({at['score']}) END)"


async def _resolve_repeats(stage: Stage, kind: Kind, delivery: Delivery) -> int:
    """Removes repeated rows from the staging table. Returns how many of them were identical to a row that stays.

    One of several identical rows is imported. If rows have the same sourcedId and different values, all go into
    quarantine.
    """
    delivered, staged = stage.delivered(kind.name), stage.table("staged", kind.name)
    # Hashes are grouped faster than ids. If two hashes collide, only the queries below run without need.
    repeated = await stage.rows(
        f"SELECT FROM {delivered} AS s WHERE s.sourced_id IS NOT NULL "
        "GROUP BY hashtextextended(s.sourced_id, 0) HAVING count(*) > 1 LIMIT 1"
    )
    if not repeated:
        return 0
    # Rows are equal even if they differ in the time of their change or in a column that is not imported.
    read = {"sourcedId", "status", *(field.header for field in kind.fields), *(ref.header for ref in kind.refs)}
    words = ", ".join(f"r.c{number}" for number, name in enumerate(delivery.header, start=1) if name in read)
    digests = f"SELECT r.row_number, md5(ROW({words})::text) AS digest FROM {stage.raw(kind.name)} AS r {SEPARATE}"
    await stage.insert(
        "repeat",
        "",
        ("kind", "first", "sourced_id", "differs"),
        f"""SELECT :district, :run, '{kind.name}', min(s.row_number), s.sourced_id, count(DISTINCT r.digest) > 1
            FROM {delivered} AS s
            JOIN ({digests}) AS r ON r.row_number = s.row_number
            WHERE s.sourced_id IS NOT NULL GROUP BY s.sourced_id HAVING count(*) > 1""",
    )
    repeats = f"(SELECT * FROM {stage.of_run('repeat')} AS w WHERE w.kind = '{kind.name}')"
    quarantined = await stage.run(
        f"""INSERT INTO sis_quarantine (district_id, id, run_id, kind, file, row_number, field, code)
            SELECT :district, {fresh_id("quarantine " + kind.name, "s.row_number::text")}, :run, '{kind.name}',
                   '{delivery.file}', s.row_number + 1, 'sourcedId', 'sourcedId.repeated'
            FROM {delivered} AS s JOIN {repeats} AS d
              ON d.sourced_id = s.sourced_id AND d.differs AND d.first < s.row_number ON CONFLICT DO NOTHING"""
    )
    await stage.run(
        f"""UPDATE {staged} AS s SET fault = 'sourcedId sourcedId.repeated' FROM {repeats} AS d
            WHERE s.district_id = :district AND s.run_id = :run AND d.sourced_id = s.sourced_id AND d.differs
              AND d.first = s.row_number"""
    )
    deleted = await stage.run(
        f"""DELETE FROM {staged} AS s USING {repeats} AS d
            WHERE s.district_id = :district AND s.run_id = :run AND d.sourced_id = s.sourced_id
              AND d.first < s.row_number"""
    )
    return deleted - quarantined


async def _sift(stage: Stage, kind: Kind, delivery: Delivery) -> int | None:
    """Writes the delivered rows to a staging table, without the unchanged rows. Returns the number of unchanged rows.

    Each staged row also has the current values of the roster row that it changes. Roster rows that are missing from the
    delivery are staged too.

    Stages nothing and returns None if the comparison is not possible: if the roster has no row of this kind, if this
    kind refers to a kind that is not staged yet, if the delivery is a delta, or if several delivered rows have the same
    sourcedId.
    """
    refs = [ref for ref in kind.refs if ref.header in delivery.header]
    has_keys = all(stage.table("key", ref.kind) in stage.filled for ref in refs)
    if not (stage.known_rows.get(kind.name) and has_keys and delivery.complete):
        return None
    for ref in (ref for ref in refs if ref.many):
        column = f"c{delivery.header.index(ref.header) + 1}"
        lists = id_lists_sql(stage, ref, stage.raw(kind.name), column)
        await stage.insert(
            "id_list",
            "",
            ("kind", "ref", "place", "list", "ids", "whole"),
            f"""SELECT :district, :run, '{kind.name}', '{ref.column}', row_number() OVER (), l.list, l.ids, l.whole
                FROM ({lists}) AS l WHERE l.list IS NOT NULL""",
        )
    roster_columns = known_columns(kind, delivery)
    changed = f"({_remaining_sql(stage, kind, delivery)}) AS r"
    columns, query = _converted_sql(kind, delivery, changed, "row_number() OVER ()", roster_columns)
    await stage.insert_parallel("staged", kind.name, columns, query)
    raw_rows = stage.raw_rows[kind.name]
    (row,) = await stage.rows(
        f"""SELECT count(*) FILTER (WHERE s.row_number IS NULL) AS absent,
                   count(*) FILTER (WHERE s.row_number IS NOT NULL) AS left_over,
                   count(*) FILTER (WHERE s.row_number IS NOT NULL
                                    AND (s.t_key IS NULL OR s.t_removed_at IS NOT NULL)) AS fresh
            FROM {stage.of_run("staged", kind.name)} AS s"""
    )
    if raw_rows - row["fresh"] != stage.known_rows[kind.name] - row["absent"]:
        # More raw rows than known rows were matched, so several raw rows have the same sourcedId.
        await stage.delete("staged", kind.name)
        return None
    stage.sifted.add(kind.name)
    return int(raw_rows - row["left_over"])


def _remaining_sql(stage: Stage, kind: Kind, delivery: Delivery) -> str:
    """Returns SQL that joins raw rows with the roster rows of the same sourcedId, and leaves out unchanged rows.

    The result includes delivered rows that are not in the roster, and roster rows that were not delivered.
    """
    at = {column: f"r.c{number}" for number, column in enumerate(delivery.header, start=1)}
    # Without the first two, a row that only one side has would be unchanged where all of its other values are empty.
    conditions = ["r.row_number IS NOT NULL", f"t.{kind.key} IS NOT NULL", "t.removed_at IS NULL", "r.fault IS NULL"]
    joins = ""
    if "status" in at:
        conditions.append(f"({at['status']} IS NULL OR {at['status']} = 'active')")
    if kind.pinnable:
        conditions.append("t.pinned = '{}'")
    conditions += [_unchanged_sql(field, at[field.header]) for field in kind.fields if field.header in at]
    for ref in (ref for ref in kind.refs if ref.header in at):
        name, raw_column = f"k_{ref.column}", at[ref.header]
        if ref.many:
            joins += f""" LEFT JOIN (SELECT l.list, l.ids, l.whole FROM {stage.of_run("id_list")} AS l
                WHERE l.kind = '{kind.name}' AND l.ref = '{ref.column}') AS {name} ON {name}.list = {raw_column}"""
            is_same, is_empty = f"{name}.ids = t.{ref.column} AND {name}.whole", f"t.{ref.column} = '{{}}'"
        else:
            joins += f" LEFT JOIN {stage.of_run('key', ref.kind)} AS {name} ON {name}.sourced_id = {raw_column}"
            is_same, is_empty = f"{name}.id = t.{ref.column}", f"t.{ref.column} IS NULL"
        conditions.append(f"({is_same})" if ref.required else f"({is_same} OR ({raw_column} IS NULL AND {is_empty}))")
    conditions += [f"t.{column} = {sql.replace('s.', 't.')}" for column, sql in kind.derived]
    roster_columns = [(column.removeprefix("t_"), column) for column, _ in known_columns(kind, delivery)]
    selected = ", ".join(f"t.{kind.key if name == 'key' else name} AS {column}" for name, column in roster_columns)
    compared = [name for name, _ in roster_columns if name not in ("sourced_id", "key", "removed_at")]
    return f"""SELECT r.*, {selected}
        FROM {stage.raw(kind.name)} AS r{joins}
        FULL JOIN ({known_rows_sql(kind, compared)}) AS t ON t.sourced_id = {at["sourcedId"]}
        WHERE ({" AND ".join(conditions)}) IS NOT TRUE AND (r.row_number IS NOT NULL OR t.removed_at IS NULL)"""


def _unchanged_sql(field: Field, x: str) -> str:
    """Returns an SQL condition that is true if the raw text `x` equals the roster's value of a field.

    The condition first compares `x` with the roster's value as a text. Only if they differ, it converts `x` to the
    field's type and compares again, because conversion costs more.
    """
    existing, converted = f"t.{field.column}", typed_sql(field, x)
    plain = existing if field.type in ("text", "word", "role") else f"{existing}::text"
    if field.type in ("list", "grades"):
        # The subquery that converts a list would prevent a parallel join. No known list has an empty item, so this
        # expression is equivalent; lists of grades in a source's own spelling count as changed.
        plain, converted = f"array_to_string({existing}, ',')", f"regexp_split_to_array(btrim({x}), ' *, *')"
        if field.type == "grades":
            converted = f"CASE WHEN strpos({x}, ',') = 0 THEN ARRAY[{_grade_sql(f'btrim({x})')}] ELSE {converted} END"
    comparisons = [f"{converted} = {existing}"]
    if field.type != "number":  # formatting a number costs more than parsing one
        comparisons.insert(0, f"{x} = {plain}")
    if not field.required:
        is_default = f"{existing} IS NULL" if field.default == "NULL" else f"{existing} = {field.default}"
        is_empty = f"({x} IS NULL OR {is_open_sql(x)})" if field.type.startswith("end_") else f"{x} IS NULL"
        comparisons.insert(-1, f"({is_empty} AND {is_default})")
    return f"({' OR '.join(comparisons)})"
