"""Corrects cells of raw rows: removes blanks around values, and separates lists by commas. Writes no staged row."""

# ruff: noqa: S608  # only our own names are formatted into statements; values are bound

from app.core.plural import pluralize
from app.sis.engine.intake.blocks import BLANKS_SQL
from app.sis.engine.stage import Stage
from app.sis.kinds import BY_NAME, Kind
from app.sis.port import Delivery

ID_ENDINGS = ("sourcedid", "sourcedids")
TEXTS = ("text", "name")
"""The types of the values around which only spaces are removed, when they are converted."""
SEPARATORS = ";|"


async def trim_cells(stage: Stage, delivery: Delivery, name: str) -> int:
    """Removes blanks at both ends of the ids, references and typed values, such as dates and roles, of raw rows.

    Returns the number of rows that had blanks around an id or a reference.
    """
    own = delivery.header[: len(delivery.header) - len(delivery.composed)]
    kind = BY_NAME.get(delivery.kind)
    typed = {field.header for field in kind.fields if field.type not in TEXTS} if kind else set()
    columns = {f"c{n}": header for n, header in enumerate(own, start=1)}
    ids = [column for column, header in columns.items() if header.lower().endswith(ID_ENDINGS)]
    others = [column for column, header in columns.items() if header in typed or header == "status"]
    trimmed = {column: f"nullif(btrim({column}, {BLANKS_SQL}), '')" for column in (*ids, *others)}
    is_padded = " OR ".join(f"{column} IS DISTINCT FROM {trimmed[column]}" for column in ids)
    rows = await stage.count(f"SELECT count(*) FROM {name} WHERE {is_padded}")
    await stage.run(
        f"""UPDATE {name} SET {", ".join(f"{column} = {value}" for column, value in trimmed.items())}
            WHERE {" OR ".join(f"{column} IS DISTINCT FROM {value}" for column, value in trimmed.items())}"""
    )
    return rows


async def split_lists(stage: Stage, kind: Kind, file: Delivery) -> None:
    """Separates the lists of a file by commas if it separates them otherwise, and notes in the report that it did.

    A list of references, such as `T1;Y`, is changed only if it has the sourcedId of a known or delivered row, and is no
    such sourcedId itself. A list of grades is always changed, because no grade contains a separator.
    """
    if kind.name not in stage.with_separators:
        return
    for ref in (ref for ref in kind.refs if ref.many and ref.header in file.header):
        column, key = f"c{file.header.index(ref.header) + 1}", stage.of_run("key", ref.kind)
        lists = f"""SELECT d.list, string_agg(btrim(u.item), ',' ORDER BY u.place) AS items
            FROM (SELECT DISTINCT r.{column} AS list FROM {stage.raw(kind.name)} AS r WHERE {_has_sql(column)}) AS d,
                 regexp_split_to_table(d.list, '[{SEPARATORS},]') WITH ORDINALITY AS u (item, place)
            LEFT JOIN {key} AS k ON k.sourced_id = btrim(u.item)
            WHERE NOT EXISTS (
                SELECT FROM unnest(string_to_array(d.list, ',') || d.list) AS w (whole)
                JOIN {key} AS o ON o.sourced_id = btrim(w.whole) WHERE w.whole ~ '[{SEPARATORS}]')
            GROUP BY d.list HAVING bool_or(k.id IS NOT NULL)"""
        rows = await stage.run(
            f"UPDATE {stage.raw_tables[kind.name]} AS r SET {column} = l.items FROM ({lists}) AS l "
            f"WHERE r.{column} = l.list"
        )
        _note(stage, file, ref.header, rows)
    for field in (field for field in kind.fields if field.type == "grades" and field.header in file.header):
        column = f"c{file.header.index(field.header) + 1}"
        rows = await stage.run(
            f"UPDATE {stage.raw_tables[kind.name]} AS r "
            f"SET {column} = translate({column}, '{SEPARATORS}', '{',' * len(SEPARATORS)}') WHERE {_has_sql(column)}"
        )
        _note(stage, file, field.header, rows)


def _has_sql(column: str) -> str:
    return f"(strpos(r.{column}, ';') > 0 OR strpos(r.{column}, '|') > 0)"


def _note(stage: Stage, file: Delivery, header: str, rows: int) -> None:
    if rows:
        separate = pluralize(rows, "row separates", "rows separate")
        stage.notes.append(f"{file.file}: {separate} {header} by semicolons or bars and not by commas: read as lists.")
