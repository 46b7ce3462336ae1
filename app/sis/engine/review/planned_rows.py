"""Builds SQL that describes each planned row: the values before and after, the student concerned, and the schools.

Runs no statement.
"""

# ruff: noqa: S608  # only our own names are formatted into statements

from collections.abc import Iterable, Iterator
from typing import Final

from app.sis.engine.report import CAME, WENT
from app.sis.engine.stage import Stage, key_filter_sql
from app.sis.kinds import Kind, Ref

TOUCHED: Final = "('update', 'restore', 'remove', 'absent')"


def planned_rows_sql(stage: Stage, kind: Kind, columns: Iterable[str] = ()) -> str:
    """Returns SQL that selects the planned rows of one kind of record, without the rows that the run refuses.

    The columns are:

    * `id`, `sourced_id`, `action`.
    * `student_id`: null if the row is about no student.
    * `org_ids`: the schools and other orgs that the row concerns before or after the change.
    * `before_…` and `after_…`: for each of `columns`, the values before and after the change. A value that an operator
      has pinned does not change.
    """
    names = tuple(columns)
    pinned = "t.pinned" if kind.pinnable else "NULL::text[]"
    values = "".join(
        f""", t.{name} AS before_{name},
            CASE WHEN p.action NOT IN {WENT} THEN {_unless_pinned(kind, name)} END AS after_{name}"""
        for name in names
    )
    joins, schools = [], [*_own_schools(kind)]
    person, class_ = _column_of(kind, "person"), _column_of(kind, "class")
    is_student = "false"
    if person is not None:
        joins.append(f"LEFT JOIN ({_people_sql(stage)}) AS w ON w.id = {person}")
        schools.append("w.org_ids")
        is_student = "w.is_student"
    if class_ is not None:
        joins.append(f"LEFT JOIN ({_classes_sql(stage)}) AS k ON k.id = {class_}")
        schools.append("ARRAY[k.school_id]")
    org_ids = " || ".join(f"coalesce({each}, '{{}}'::uuid[])" for each in schools) or "'{}'::uuid[]"
    condition = f"t.district_id = :district{key_filter_sql(stage, kind, TOUCHED)}"
    return f"""SELECT p.id, p.sourced_id, p.action{values}, {pinned} AS pinned,
               CASE WHEN {is_student} THEN {person or "NULL::uuid"} END AS student_id,
               ARRAY(SELECT DISTINCT u.org_id FROM unnest({org_ids}) AS u (org_id)
                     WHERE u.org_id IS NOT NULL ORDER BY u.org_id) AS org_ids
        FROM {stage.of_run("plan", kind.name)} AS p
        LEFT JOIN (SELECT * FROM {kind.table} AS t WHERE {condition}) AS t ON t.{kind.key} = p.id
        {" ".join(joins)} WHERE p.action <> 'refuse'"""


def _unless_pinned(kind: Kind, column: str) -> str:
    if not kind.pinnable:
        return f"p.{column}"
    return f"CASE WHEN '{column}' = ANY (t.pinned) THEN t.{column} ELSE p.{column} END"


def _column_of(kind: Kind, target: str) -> str | None:
    """Returns SQL for the id of the person, or of the class, to which a planned row belongs.

    `target` is `person` or `class`. Returns None if rows of this kind do not refer to one.
    """
    if kind.name == target or (target == "person" and kind.key == "person_id"):
        return "p.id"
    ref = next((ref for ref in kind.refs if ref.kind == target and not ref.many), None)
    if ref is None:
        return None
    return f"CASE WHEN p.action IN {WENT} THEN t.{ref.column} ELSE coalesce(p.{ref.column}, t.{ref.column}) END"


def _own_schools(kind: Kind) -> Iterator[str]:
    """Yields SQL expressions for the orgs to which a planned row refers directly, before and after the change.

    Each expression yields a list of ids.
    """
    if kind.name == "org":
        yield "ARRAY[p.id]"
        return
    for ref in kind.refs:
        if ref.kind == "org":
            yield from _lists_of(ref)


def _lists_of(ref: Ref) -> Iterator[str]:
    for row in ("t", "p"):
        yield f"{row}.{ref.column}" if ref.many else f"ARRAY[{row}.{ref.column}]"


def _people_sql(stage: Stage) -> str:
    """Returns SQL that selects all people. The column `org_ids` has a person's orgs from before and after the run.

    `is_student` is true if the person is a student before or after the run.
    """
    return f"""SELECT coalesce(o.id, n.id) AS id, coalesce(o.is_student, false) OR coalesce(n.is_student, false)
               AS is_student, coalesce(o.school_ids, '{{}}') || coalesce(n.school_ids, '{{}}') AS org_ids
        FROM (SELECT o.id, o.is_student, o.school_ids FROM person AS o WHERE o.district_id = :district) AS o
        FULL JOIN (SELECT n.id, n.is_student, n.school_ids FROM {stage.of_run("plan", "person")} AS n
                   WHERE n.action IN {CAME}) AS n ON n.id = o.id"""


def _classes_sql(stage: Stage) -> str:
    """Returns SQL that selects all classes, each with the school that it has after the run."""
    return f"""SELECT coalesce(o.id, n.id) AS id, coalesce(n.school_id, o.school_id) AS school_id
        FROM (SELECT o.id, o.school_id FROM class AS o WHERE o.district_id = :district) AS o
        FULL JOIN (SELECT n.id, n.school_id FROM {stage.of_run("plan", "class")} AS n
                   WHERE n.action IN {CAME}) AS n ON n.id = o.id"""
