"""Owns how raw text becomes typed, staged rows, and which rows cannot. Never a value in what it says of them.

A row's first fault is the one that is named. The staged row stays, so that what is known of it is not taken for
absent. Rows that are plainly as they are known pass, and only the rest is read value by value: every value is, as text
or else as it is read, the known one, and every reference leads where it led. Whatever is new, marked, malformed,
missing, pinned, repeated or only doubtful is the rest. Over 250 lines, because what passes and what is read must agree.
"""

# ruff: noqa: S608  # what is put into a statement are our own names; values are bound

from app.sis.engine.plan import id_lists_sql, known_rows_sql, plan_columns
from app.sis.engine.stage import Stage, fresh_id
from app.sis.kinds import MALFORMED, SQL_TYPES, WORDS, Field, Kind, Ref
from app.sis.port import Delivery

LONGEST_ID = 255  # OneRoster's own limit; in bytes, because ids are ASCII and bytes are counted faster
LONGEST_NAME = 300  # two names and an id must fit an index entry, in four bytes a character
_GONE = """CASE WHEN {x} IS NULL THEN false WHEN lower(btrim({x})) IN ('', 'active') THEN false
    WHEN lower(btrim({x})) IN ('tobedeleted', 'inactive') THEN true END"""
_LIST = """CASE WHEN coalesce(btrim({x}), '') = '' THEN NULL WHEN strpos({x}, ',') = 0 THEN ARRAY[{one}]
    ELSE (SELECT coalesce(array_agg({many} ORDER BY n) FILTER (WHERE btrim(i) <> ''), '{{}}')
          FROM unnest(string_to_array({x}, ',')) WITH ORDINALITY AS u (i, n)) END"""

_DAY_AND_TIME = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}"
# Digits are named one by one: by some locales \d is a digit of any script, which no cast reads.
_INSTANT = r"""CASE
    WHEN translate({x}, '123456789', '000000000') IN ('0000-00-00T00:00:00Z', '0000-00-00T00:00:00.000Z')
     AND pg_input_is_valid({x}, 'timestamptz') THEN {x}::timestamptz
    WHEN {x} !~ '^[0-9]{{4}}-[0-9]{{2}}-[0-9]{{2}}([T ][0-9]{{2}}:[0-9]{{2}}.*)?$' THEN NULL
    WHEN {x} ~ 'Z$|[+-][0-9]{{2}}:?[0-9]{{2}}$' AND length({x}) > 10
    THEN CASE WHEN pg_input_is_valid({x}, 'timestamptz') THEN {x}::timestamptz END
    WHEN pg_input_is_valid({x}, 'timestamp') THEN {x}::timestamp AT TIME ZONE 'UTC' END"""
_NUMBER = r"^\s*[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]{1,3})?\s*$"


def _word_sql(x: str) -> str:
    exact = ", ".join(f"'{word}'" for word in WORDS)
    other = " ".join(f"WHEN '{word.lower()}' THEN '{word}'" for word in WORDS)
    return (
        f"CASE WHEN {x} IN ({exact}) THEN {x} ELSE CASE lower(btrim({x})) {other} ELSE nullif(btrim({x}), '') END END"
    )


def _grade_sql(x: str) -> str:
    """OneRoster's codes however they are written; whatever else a source says stays as it says it."""
    return (
        f"CASE WHEN {x} ~ '^[1-9]$' THEN '0' || {x} WHEN lower({x}) IN ('k', 'kindergarten') THEN 'KG' "
        f"WHEN upper({x}) IN ('IT', 'PR', 'PK', 'TK', 'KG', 'PS', 'UG') THEN upper({x}) "
        f"WHEN lower({x}) = 'other' THEN 'Other' ELSE {x} END"
    )


def _typed_sql(field: Field, x: str) -> str:
    """SQL that reads a value, or gives null where it cannot be read. What most values are is tried first."""
    match field.type:
        case "date":
            return f"CASE WHEN {x} LIKE '____-__-__' AND pg_input_is_valid({x}, 'date') THEN {x}::date END"
        case "day":
            day = f"left(btrim({x}), 10)"
            return (
                f"CASE WHEN ({x} LIKE '____-__-__' OR btrim({x}) ~ '{_DAY_AND_TIME}') "
                f"AND pg_input_is_valid({day}, 'date') THEN {day}::date END"
            )
        case "instant":
            return _INSTANT.format(x=f"btrim({x})")
        case "number":
            plain = f"translate({x}, '0123456789', '') IN ('', '.')"  # what most are: cheaper to see than by a pattern
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
            return _LIST.format(x=x, one=f"btrim({x})", many="btrim(i)")
        case "grades":
            return _LIST.format(x=x, one=_grade_sql(f"btrim({x})"), many=_grade_sql("btrim(i)"))
        case "word":
            return _word_sql(x)
    return f"nullif(btrim({x}), '')"


def _fault_sql(kind: Kind, fields: tuple[Field, ...], delivery: Delivery) -> str:
    """SQL for the first fault as `<field> <code>`; null for a row that can be taken."""
    found = [
        ("q.raw_fault IS NOT NULL", "' ' || q.raw_fault"),
        ("q.sourced_id IS NULL", "'sourcedId value.missing'"),
        (f"octet_length(q.sourced_id) > {LONGEST_ID}", "'sourcedId value.too_long'"),
        ("q.gone IS NULL", "'status status.unknown'"),
        *((f"q.said_{column} IS NULL", f"'{column} value.missing'") for column in delivery.required_columns),
        ("q.gone", "NULL"),
    ]
    for field in fields:
        if field.type in MALFORMED:
            unread = f"q.{field.column} IS NULL AND btrim(q.x_{field.column}) <> ''"
            found.append((unread, f"'{field.header} {MALFORMED[field.type]}'"))
        if field.required:
            found.append((f"q.{field.column} IS NULL", f"'{field.header} value.missing'"))
        if field.column in ("given_name", "family_name"):
            found.append((f"length(q.{field.column}) > {LONGEST_NAME}", f"'{field.header} value.too_long'"))
    if {"starts_on", "ends_on"} <= {field.column for field in fields}:
        found.append(("q.ends_on < q.starts_on", "'endDate dates.reversed'"))
    if {"given_name", "family_name"} <= {field.column for field in fields}:
        found.append(("q.given_name IS NULL AND q.family_name IS NULL", "'familyName value.missing'"))
    return f"CASE {' '.join(f'WHEN {when} THEN {fault}' for when, fault in found)} END"


async def convert_rows(stage: Stage, kind: Kind, delivery: Delivery) -> int:
    """Stages a kind's rows, typed, but for those that passed. Returns how many there were; repeats are left out."""
    passed = await _sift(stage, kind, delivery)
    raw = stage.table("raw" if passed is None else "rest", kind.name)
    at = {column: f"r.c{number}" for number, column in enumerate(delivery.header, start=1)}
    fields = tuple(field for field in kind.fields if field.header in at)
    refs = tuple(ref for ref in kind.refs if ref.header in at)
    columns = [f"{f.column} {SQL_TYPES[f.type]}" for f in fields] + [f"ref_{r.column} text" for r in refs]
    staged = await stage.make(
        "staged",
        kind.name,
        "row_number bigint, sourced_id text, gone boolean, fault text, " + ", ".join(columns),
    )
    gone = _GONE.format(x=at["status"]) if "status" in at else "false"
    read = [f"{_typed_sql(f, at[f.header])} AS {f.column}, {at[f.header]} AS x_{f.column}" for f in fields]
    read += [f"{at[r.header]} AS ref_{r.column}" for r in refs]
    read += [f"nullif(btrim({at[column]}), '') AS said_{column}" for column in delivery.required_columns]
    # OFFSET 0 keeps the two levels apart: a value is read once, and judged by what came of it.
    rows = await stage.run(
        f"""
        INSERT INTO {staged} (district_id, row_number, sourced_id, gone, fault
                              {"".join(f", {f.column}" for f in fields)}
                              {"".join(f", ref_{r.column}" for r in refs)})
        SELECT :district, q.row_number, q.sourced_id, coalesce(q.gone, false), {_fault_sql(kind, fields, delivery)}
               {"".join(f", coalesce(q.{f.column}, {f.default})" for f in fields)}
               {"".join(f", q.ref_{r.column}" for r in refs)}
        FROM (SELECT r.row_number, r.fault AS raw_fault, {at["sourcedId"]} AS sourced_id,
                     {gone} AS gone, {", ".join(read)}
              FROM {raw} AS r WHERE r.row_number IS NOT NULL OFFSET 0) AS q
        """
    )
    rows -= await _resolve_repeats(stage, kind, delivery, staged)
    await stage.driver.execute(f"ANALYZE {staged}")
    return rows + (passed or 0)


async def _resolve_repeats(stage: Stage, kind: Kind, delivery: Delivery, staged: str) -> int:
    """Returns how many rows it took for repeats.

    A row repeated word for word is taken once. Of rows that share a sourcedId and differ, none is believed."""
    # A number for each id is counted faster than the id; two ids with one number only cost the look below.
    repeated = await stage.rows(
        f"SELECT FROM {staged} WHERE district_id = :district AND sourced_id IS NOT NULL "
        "GROUP BY hashtextextended(sourced_id, 0) HAVING count(*) > 1 LIMIT 1"
    )
    if not repeated:
        return 0
    raw = stage.table("raw", kind.name)
    names = await stage.make("repeated", kind.name, "sourced_id text, first bigint, differs boolean")
    words = ", ".join(f"r.c{number}" for number in range(1, len(delivery.header) + 1))
    await stage.run(
        f"""INSERT INTO {names} (district_id, sourced_id, first, differs)
            SELECT :district, s.sourced_id, min(s.row_number), count(DISTINCT md5(ROW({words})::text)) > 1
            FROM {staged} AS s JOIN {raw} AS r ON r.row_number = s.row_number
            WHERE s.district_id = :district AND s.sourced_id IN (
                SELECT sourced_id FROM {staged} WHERE district_id = :district
                GROUP BY sourced_id HAVING count(*) > 1)
            GROUP BY s.sourced_id"""
    )
    disbelieved = await stage.run(
        f"""INSERT INTO sis_quarantine (district_id, id, run_id, kind, file, row_number, field, code)
            SELECT :district, {fresh_id("quarantine " + kind.name, "s.row_number::text")}, :run, '{kind.name}',
                   '{delivery.file}', s.row_number + 1, 'sourcedId', 'sourcedId.repeated'
            FROM {staged} AS s JOIN {names} AS d
              ON d.district_id = :district AND d.sourced_id = s.sourced_id AND d.differs AND d.first < s.row_number
            WHERE s.district_id = :district ON CONFLICT DO NOTHING"""
    )
    await stage.run(
        f"""UPDATE {staged} AS s SET fault = 'sourcedId sourcedId.repeated'
            FROM {names} AS d WHERE s.district_id = :district AND d.district_id = :district
             AND d.sourced_id = s.sourced_id AND d.differs AND d.first = s.row_number"""
    )
    gone = await stage.run(
        f"""DELETE FROM {staged} AS s USING {names} AS d WHERE s.district_id = :district
             AND d.district_id = :district AND d.sourced_id = s.sourced_id AND d.first < s.row_number"""
    )
    return gone - disbelieved


async def _sift(stage: Stage, kind: Kind, delivery: Delivery) -> int | None:
    """Lays the table `rest`: raw rows with the known rows that they meet, but for those that are as they were.

    How many rows passed; None where no table was laid: nothing is known, what the kind refers to is not settled
    yet, the delivery is a delta, or rows share a sourcedId.
    """
    refs = [ref for ref in kind.refs if ref.header in delivery.header]
    settled = all(stage.table("key", ref.kind) in stage.tables for ref in refs)
    if not (stage.known_rows.get(kind.name) and settled and delivery.complete):
        return None
    raw = stage.table("raw", kind.name)
    for ref in (ref for ref in refs if ref.many):
        column = f"c{delivery.header.index(ref.header) + 1}"
        await stage.make_as(_list_table(kind, ref), kind.name, id_lists_sql(stage, ref, raw, column))
    await stage.make_as("rest", kind.name, _remaining_sql(stage, kind, delivery))
    came = stage.raw_rows[kind.name]
    (row,) = await stage.rows(
        f"""SELECT count(*) FILTER (WHERE r.row_number IS NULL) AS absent,
                   count(*) FILTER (WHERE r.row_number IS NOT NULL) AS left_over,
                   count(*) FILTER (WHERE r.row_number IS NOT NULL AND (r.t_{kind.key} IS NULL
                                                                       OR r.t_removed_at IS NOT NULL)) AS fresh
            FROM {stage.table("rest", kind.name)} AS r"""
    )
    if came - row["fresh"] != stage.known_rows[kind.name] - row["absent"]:
        # More rows met a known one than there are known ones to meet.
        await stage.drop_table("rest", kind.name)
        return None
    await stage.driver.execute(f"ANALYZE {stage.table('rest', kind.name)}")
    stage.sifted.add(kind.name)
    return int(came - row["left_over"])


def _remaining_sql(stage: Stage, kind: Kind, delivery: Delivery) -> str:
    at = {column: f"r.c{number}" for number, column in enumerate(delivery.header, start=1)}
    columns = [column for column, _ in plan_columns(kind, delivery)]
    wanted = [*columns, *(["pinned"] if kind.pinnable else [])]
    joins, same = "", ["t.removed_at IS NULL", "r.fault IS NULL"]
    if "status" in at:
        same.append(f"({at['status']} IS NULL OR {at['status']} = 'active')")
    if kind.pinnable:
        same.append("t.pinned = '{}'")
    same += [_unchanged_sql(field, at[field.header]) for field in kind.fields if field.header in at]
    for ref in (ref for ref in kind.refs if ref.header in at):
        name, here = f"k_{ref.column}", at[ref.header]
        if ref.many:
            joins += f" LEFT JOIN {stage.table(_list_table(kind, ref), kind.name)} AS {name} ON {name}.list = {here}"
            leads, nothing = f"{name}.ids = t.{ref.column} AND {name}.whole", f"t.{ref.column} = '{{}}'"
        else:
            joins += f""" LEFT JOIN {stage.table("key", ref.kind)} AS {name}
                ON {name}.district_id = :district AND {name}.sourced_id = {here}"""
            leads, nothing = f"{name}.id = t.{ref.column}", f"t.{ref.column} IS NULL"
        same.append(f"({leads})" if ref.required else f"({leads} OR ({here} IS NULL AND {nothing}))")
    same += [f"t.{column} = {sql.replace('s.', 't.')}" for column, sql in kind.derived]
    kept = ("sourced_id", "district_id", kind.key, "removed_at", *wanted)
    return f"""SELECT r.*, {", ".join(f"t.{column} AS t_{column}" for column in kept)}
        FROM {stage.table("raw", kind.name)} AS r{joins}
        FULL JOIN ({known_rows_sql(kind, wanted)}) AS t ON t.sourced_id = {at["sourcedId"]}
        WHERE ({" AND ".join(same)}) IS NOT TRUE AND (r.row_number IS NOT NULL OR t.removed_at IS NULL)"""


def _unchanged_sql(field: Field, x: str) -> str:
    """SQL: whether a value is plainly the known one. The text is compared first, since reading it costs more."""
    known_one, read = f"t.{field.column}", _typed_sql(field, x)
    plain = known_one if field.type in ("text", "word") else f"{known_one}::text"
    if field.type in ("list", "grades"):
        # The subquery that reads a list would keep the join to one processor. No known list has an empty item, so
        # that this is the same reading; several grades in a source's own spelling are the rest.
        plain, read = f"array_to_string({known_one}, ',')", f"regexp_split_to_array(btrim({x}), ' *, *')"
        if field.type == "grades":
            read = f"CASE WHEN strpos({x}, ',') = 0 THEN ARRAY[{_grade_sql(f'btrim({x})')}] ELSE {read} END"
    found = [f"{read} = {known_one}"]
    if field.type != "number":  # of which writing one costs more than reading one
        found.insert(0, f"{x} = {plain}")
    if not field.required:
        nothing = f"{known_one} IS NULL" if field.default == "NULL" else f"{known_one} = {field.default}"
        found.insert(-1, f"({x} IS NULL AND {nothing})")
    return f"({' OR '.join(found)})"


def _list_table(kind: Kind, ref: Ref) -> str:
    """What the table of a reference's lists is called: by its place, since PostgreSQL cuts long names."""
    return f"list{kind.refs.index(ref)}"
