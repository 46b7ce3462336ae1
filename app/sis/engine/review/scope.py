"""Restricts a run to some schools and leaves out excluded users.

The staged rows of other schools and of these users are deleted.

Roster rows of other schools and of excluded users stay as they are: they are neither updated nor removed, and do not
count for the limits on changes. If a delivery puts a known person of a chosen school into another school, the person
has moved and is updated. Organizations, sessions and courses are not restricted, because other rows refer to them.
"""

# ruff: noqa: S608  # only our own names are formatted into statements; values are bound

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from sqlalchemy import select

from app.access.permission import Can
from app.access.work import Work, needs
from app.core.plural import pluralize
from app.sis.engine.plan import known_rows_sql
from app.sis.engine.report import Report
from app.sis.engine.stage import Stage
from app.sis.kinds import BY_NAME, Kind
from app.sis.models import SisSource
from app.sis.port import SourceRefused


@dataclass(frozen=True, slots=True)
class SourceScope:
    """What a run is restricted to: the sourcedIds of the chosen schools (none means all), and of the excluded users."""

    schools: tuple[str, ...] = ()
    excluded: tuple[str, ...] = ()

    def narrowed(self, by: "SourceScope") -> "SourceScope":
        """Returns this scope of a source, with the additional restrictions `by` of one run.

        Raises `SourceRefused` if `by` has a school that is outside this scope.
        """
        if self.schools and (others := sorted(set(by.schools) - set(self.schools))):
            raise SourceRefused(
                f"The settings of the source restrict it to other schools than {others[0]}. Choose among those, "
                "or change the settings with `aimline sis set`."
            )
        return SourceScope(by.schools or self.schools, tuple(dict.fromkeys((*self.excluded, *by.excluded))))


NAMED: Final = 3
"""The number of excluded users whom a note names."""
_OWNERS: Final[Mapping[str, tuple[tuple[str, str], ...]]] = {
    "person": (),
    "class": (("school_id", "org"),),
    "enrollment": (("school_id", "org"), ("person_id", "person"), ("class_id", "class")),
    "demographics": (("person_id", "person"),),
    "role": (("person_id", "person"),),
    "line_item": (("class_id", "class"),),
    "result": (("student_id", "person"), ("line_item_id", "line_item")),
    "assessment_line_item": (("class_id", "class"),),
    "assessment_result": (("student_id", "person"), ("assessment_line_item_id", "assessment_line_item")),
}
"""The references of each restricted kind. Each reference is a column and the kind of the rows to which it refers.

If a row is left out, all rows that refer to it by one of these references are left out too.
"""


@needs(Can.SYNC_ROSTER)
async def scope_of(work: Work, source_id: UUID) -> SourceScope:
    """Returns the scope in the settings of a source: its chosen schools and its excluded users."""
    is_source = (SisSource.district_id == work.district_id) & (SisSource.id == source_id)
    row = (await work.db.execute(select(SisSource.schools, SisSource.excluded_users).where(is_source))).one_or_none()
    return SourceScope(tuple(row.schools), tuple(row.excluded_users)) if row else SourceScope()


async def find_other_schools(stage: Stage, scope: SourceScope) -> None:
    """Writes to a staging table the schools that were not chosen, and the excluded users.

    `leave_out_rows` then leaves out the rows about them. Must be called after the organizations are planned. Raises
    `SourceRefused` if a chosen school is not known.
    """
    if scope.excluded:
        users = [("person", sourced_id, None) for sourced_id in set(scope.excluded)]
        await stage.insert_records("out_of_scope", ("kind", "sourced_id", "id"), users)
    if not scope.schools:
        return
    rows = await stage.rows(
        f"""SELECT e.sourced_id, o.id FROM external_id AS e
            JOIN org AS o ON o.district_id = :district AND o.id = e.row_id AND o.type = 'school'
            WHERE e.district_id = :district AND e.source_id = :source AND e.kind = 'org'
            UNION SELECT s.sourced_id, k.id FROM {stage.delivered("org")} AS s
            JOIN {stage.of_run("key", "org")} AS k ON k.sourced_id = s.sourced_id WHERE s.type = 'school'"""
    )
    schools = {row["sourced_id"]: row["id"] for row in rows}
    if unknown := sorted(set(scope.schools) - schools.keys()):
        raise SourceRefused(
            f"The run is restricted to {pluralize(len(set(scope.schools)), 'school', 'schools')}, and the source has "
            f"none with the sourcedId {unknown[0]}. Correct the restriction."
        )
    others = [("org", sourced_id, row_id) for sourced_id, row_id in schools.items() if sourced_id not in scope.schools]
    await stage.insert_records("out_of_scope", ("kind", "sourced_id", "id"), others)


async def leave_out_rows(stage: Stage, kind: Kind) -> int:
    """Deletes the staged rows of one kind of record that are outside the scope, and returns their number.

    Also notes in `stage.outside` which roster rows are outside the scope, so that the plan does not remove them
    although they are no longer among the delivered rows. If other kinds may refer to rows of this kind, stages the ids
    of the rows outside the scope, too.
    """
    if kind.name not in _OWNERS:
        return 0
    delivered = _delivered_sql(stage, kind)
    if kind.own_alias or kind.key != "id":
        stage.outside[kind.name] = f"SELECT t.{kind.key} FROM {kind.table} AS t WHERE {_known_sql(stage, kind)}"
        left_out = delivered
    else:
        await stage.run(
            f"""INSERT INTO {stage.fills("out_of_scope")} (district_id, run_id, kind, sourced_id, id)
                SELECT :district, :run, '{kind.name}', e.sourced_id, t.id FROM external_id AS e
                JOIN {kind.table} AS t ON t.district_id = :district AND t.id = e.row_id AND {_known_sql(stage, kind)}
                WHERE e.district_id = :district AND e.source_id = :source AND e.kind = '{kind.name}'
                  AND NOT EXISTS (SELECT FROM {stage.delivered(kind.name)} AS s
                                  WHERE s.sourced_id = e.sourced_id AND NOT {delivered})
                ON CONFLICT (district_id, run_id, kind, sourced_id) DO UPDATE SET id = excluded.id"""
        )
        await stage.insert(
            "out_of_scope",
            "",
            ("kind", "sourced_id"),
            f"""SELECT :district, :run, '{kind.name}', s.sourced_id FROM {stage.delivered(kind.name)} AS s
                WHERE s.sourced_id IS NOT NULL AND {delivered} AND NOT EXISTS (
                    SELECT FROM external_id AS e WHERE e.district_id = :district AND e.source_id = :source
                     AND e.kind = '{kind.name}' AND e.sourced_id = s.sourced_id)""",
        )
        stage.outside[kind.name] = f"SELECT o.id FROM ({_left_out_sql(stage, kind.name)}) AS o WHERE o.id IS NOT NULL"
        left_out = f"s.sourced_id IN (SELECT o.sourced_id FROM ({_left_out_sql(stage, kind.name)}) AS o)"
    return await stage.run(
        f"""DELETE FROM {stage.table("staged", kind.name)} AS s
            WHERE s.district_id = :district AND s.run_id = :run AND s.row_number IS NOT NULL AND {left_out}"""
    )


async def warn_of_unknown_users(stage: Stage) -> None:
    """Adds a note about excluded users who are neither delivered nor known. Their sourcedIds may be misspelt.

    Must be called before the rows of excluded users are deleted.
    """
    rows = await stage.rows(
        f"""SELECT l.sourced_id FROM {stage.of_run("out_of_scope")} AS l WHERE l.kind = 'person'
             AND NOT EXISTS (SELECT FROM {stage.delivered("person")} AS s WHERE s.sourced_id = l.sourced_id)
             AND NOT EXISTS (SELECT FROM external_id AS e WHERE e.district_id = :district AND e.source_id = :source
                             AND e.kind = 'person' AND e.sourced_id = l.sourced_id)
            ORDER BY l.sourced_id"""
    )
    if rows:
        names = ", ".join(row["sourced_id"] for row in rows[:NAMED])
        more = f" and {len(rows) - NAMED:,} more" if len(rows) > NAMED else ""
        stage.notes.append(f"Excluded users whom the source does not have: {names}{more}. Are the sourcedIds right?")


async def count_outside(stage: Stage, kind: Kind) -> int:
    """Counts the roster rows of one kind of record that stay as they are because they are outside the scope."""
    outside = stage.outside.get(kind.name)
    if outside is None:
        return 0
    return await stage.count(
        f"""SELECT count(*) FROM ({known_rows_sql(kind)}) AS t
            WHERE t.removed_at IS NULL AND t.{kind.key} IN ({outside})"""
    )


def describe(report: Report, rows: Mapping[str, int], outside: Mapping[str, int]) -> list[str]:
    """Returns sentences for the report about rows of schools that were not chosen, and of excluded users.

    `rows` has the numbers of delivered rows that the run leaves out. `outside` has the numbers of roster rows that stay
    as they are. Both are keyed by kind of record.
    """
    sentences = [
        f"{report.kinds[name].file}: {pluralize(count, 'new or changed row is', 'new or changed rows are')} left out, "
        "because of other schools or of excluded users."
        for name, count in rows.items()
        if count
    ]
    nouns = {name: (name.replace("_", " "), BY_NAME[name].plural) for name in outside}
    stay = [pluralize(count, *nouns[name]) for name, count in outside.items() if count]
    if stay:
        sentences.append(
            f"Known of other schools or of excluded users: {', '.join(stay)}. They stay as they are: not updated, not "
            "removed, and not counted by the guard."
        )
    return sentences


def _left_out_sql(stage: Stage, kind: str) -> str:
    return f"SELECT l.sourced_id, l.id FROM {stage.of_run('out_of_scope')} AS l WHERE l.kind = '{kind}'"


def _delivered_sql(stage: Stage, kind: Kind) -> str:
    """Returns an SQL condition that is true if a staged row is outside the scope according to its delivered values.

    In the condition, `s` is the alias of the staged row. The condition is never null.
    """
    if kind.name == "person":
        schools = f"SELECT o.sourced_id FROM ({_left_out_sql(stage, 'org')}) AS o"
        users = f"SELECT o.sourced_id FROM ({_left_out_sql(stage, 'person')}) AS o"
        return f"""(coalesce(s.sourced_id IN ({users}), false) OR (coalesce(btrim(s.ref_school_ids), '') <> ''
            AND NOT EXISTS (SELECT FROM unnest(string_to_array(s.ref_school_ids, ',')) AS u (item)
                            WHERE btrim(u.item) <> '' AND btrim(u.item) NOT IN ({schools}))))"""
    conditions = (
        f"coalesce(s.ref_{column} IN (SELECT o.sourced_id FROM ({_left_out_sql(stage, owner)}) AS o), false)"
        for column, owner in _OWNERS[kind.name]
    )
    return f"({' OR '.join(conditions)})"


def _known_sql(stage: Stage, kind: Kind) -> str:
    """Returns an SQL condition that is true if a roster row `t` is outside the scope."""
    if kind.name == "person":
        schools = f"ARRAY(SELECT o.id FROM ({_left_out_sql(stage, 'org')}) AS o)"
        users = f"SELECT o.sourced_id FROM ({_left_out_sql(stage, 'person')}) AS o"
        return f"""t.district_id = :district AND (e.sourced_id IN ({users})
            OR (cardinality(t.school_ids) > 0 AND t.school_ids <@ {schools}))"""
    conditions = (
        f"coalesce(t.{column} IN (SELECT o.id FROM ({_left_out_sql(stage, owner)}) AS o), false)"
        for column, owner in _OWNERS[kind.name]
    )
    return f"t.district_id = :district AND ({' OR '.join(conditions)})"
