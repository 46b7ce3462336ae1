"""Determines each person's role and orgs from OneRoster 1.2 roles. Also gives renamed roles their new ids.

* A person's current roles count. If there are none, the roles that have not begun yet count.
* If all roles of a person have ended, one of them still determines the role, but the person has no orgs. The end date
  of a role is the first day on which it is no longer current.
* Among the roles that count, the role as a student takes precedence, then the primary role, then the first role by
  sourcedId.
* The orgs of a person are the orgs of all roles that count.

This module writes no other part of the roster.
"""

# ruff: noqa: S608  # only our own names are formatted into statements; values are bound

from collections.abc import Collection

from app.sis.engine.intake.convert import MAX_ID_BYTES, convert_rows
from app.sis.engine.intake.load import copy_raw
from app.sis.engine.report import WENT
from app.sis.engine.stage import Stage, fresh_id
from app.sis.kinds import BY_NAME
from app.sis.port import Delivery, Progress

ENDED_LATELY = 14  # days; a delta checks the roles whose end date has passed within this time

_OF_SOURCE = "x.district_id = :district AND x.source_id = :source"


async def compose_roles(stage: Stage, people: Delivery, progress: Progress) -> str:
    """Computes each person's main role and orgs from all roles of the person, and stages both.

    The role is in the column `made_1`, and the sourcedIds of the orgs are in `made_2`. Returns the name under which
    these two values are staged. The delivered roles are written to a staging table too.
    """
    roles = next(iter(people.supplements), None)
    if roles is not None:
        await copy_raw(stage, roles, progress)
        stage.staged_early["role"] = await convert_rows(stage, BY_NAME["role"], roles)
    await stage.insert(
        "composed",
        "",
        ("name", "sourced_id", "made_1", "made_2"),
        f"""SELECT :district, :run, 'person', c.person,
                   (array_agg(c.role ORDER BY c.rank, (c.role = 'student') DESC, c.is_primary DESC, c.key))[1],
                   nullif(array_to_string(array_agg(c.org ORDER BY c.is_primary DESC, c.org) FILTER (
                       WHERE c.rank = c.best AND c.rank < 3 AND c.org IS NOT NULL), ','), '')
            FROM (SELECT r.*, min(r.rank) OVER (PARTITION BY r.person) AS best FROM (
                    SELECT o.*, CASE WHEN o.ends_on <= :today THEN 3 WHEN o.begins_on > :today THEN 2 ELSE 1 END AS rank
                    FROM ({_current_roles_sql(stage, roles)}) AS o) AS r) AS c
            WHERE octet_length(c.person) <= {MAX_ID_BYTES} GROUP BY c.person""",
    )
    return "person"


async def stage_affected_people(stage: Stage, people: Delivery) -> int:
    """Writes to the staging table the people whose roles have changed or ended, but who were not delivered.

    Returns the number of these people.
    """
    roles, composed = next(iter(people.supplements), None), stage.composed("person")
    kind, columns, values = BY_NAME["person"], [], []
    for field in (field for field in kind.fields if field.header in people.header):
        columns.append(field.column)
        values.append("coalesce(m.made_1, t.role)" if field.header == "role" else f"t.{field.column}")
    return await stage.insert(
        "staged",
        "person",
        ("place", "row_number", "sourced_id", "gone", *columns, "ref_school_ids"),
        f"""SELECT :district, :run, -(row_number() OVER ()), d.row_number, x.sourced_id, false, {", ".join(values)},
                   m.made_2
            FROM (SELECT u.person, min(u.row_number) AS row_number FROM ({_affected_people_sql(stage, roles)}) AS u
                  GROUP BY u.person) AS d
            JOIN external_id AS x ON {_OF_SOURCE} AND x.kind = 'person' AND x.sourced_id = d.person
            JOIN person AS t ON t.district_id = :district AND t.id = x.row_id AND t.removed_at IS NULL
            LEFT JOIN {composed} AS m ON m.sourced_id = d.person
            WHERE NOT EXISTS (SELECT FROM {stage.delivered("person")} AS s WHERE s.sourced_id = d.person)
              AND (m.made_2 IS NULL OR EXISTS (
                  SELECT FROM {stage.of_run("key", "org")} AS o
                  WHERE o.sourced_id = ANY (string_to_array(m.made_2, ',') || m.made_2)))""",
    )


def _current_roles_sql(stage: Stage, roles: Delivery | None) -> str:
    """Returns SQL that selects all roles as they will be after this delivery, both delivered and stored ones.

    The columns are person, role, is_primary, org, begins_on, ends_on and key.
    """
    staged, parts = stage.delivered("role"), []
    if roles is not None:
        dates = {
            column: f"s.{column}" if header in roles.header else "NULL::date"
            for column, header in (("begins_on", "beginDate"), ("ends_on", "endDate"))
        }
        primary = "coalesce(s.role_type, '') = 'primary'" if "roleType" in roles.header else "false"
        parts.append(
            f"""SELECT btrim(s.ref_person_id) AS person, s.role, {primary} AS is_primary,
                       nullif(btrim(s.ref_org_id), '') AS org, {dates["begins_on"]} AS begins_on,
                       {dates["ends_on"]} AS ends_on, s.sourced_id AS key
                FROM {staged} AS s WHERE s.fault IS NULL AND NOT s.gone"""
        )
    if roles is None:
        kept = ""
    else:
        row = f"SELECT FROM {staged} AS s WHERE s.sourced_id = k.sourced_id AND s.fault IS"
        # If the row of a known role cannot be read, the role counts with its known values.
        kept = f"AND EXISTS ({row} NOT NULL)" if roles.complete else f"AND NOT EXISTS ({row} NULL)"
    parts.append(
        f"""SELECT x.sourced_id AS person, k.role, coalesce(k.role_type, '') = 'primary' AS is_primary,
                   o.sourced_id AS org, k.begins_on, k.ends_on, k.sourced_id AS key
            FROM person_role AS k
            JOIN external_id AS x ON {_OF_SOURCE} AND x.kind = 'person' AND x.row_id = k.person_id
            LEFT JOIN external_id AS o ON o.district_id = :district AND o.source_id = :source AND o.kind = 'org'
             AND o.row_id = k.org_id
            WHERE k.district_id = :district AND k.source_id = :source AND k.removed_at IS NULL {kept}"""
    )
    return " UNION ALL ".join(parts)


def _affected_people_sql(stage: Stage, roles: Delivery | None) -> str:
    """Returns SQL that selects the people whose roles may have changed, each with a row number.

    The row number is that of the delivered row that made the change, or 0 if no delivered row made the change.
    """
    roles_sql = f"""SELECT x.sourced_id AS person, {{row}} AS row_number FROM person_role AS k
        JOIN external_id AS x ON {_OF_SOURCE} AND x.kind = 'person' AND x.row_id = k.person_id {{join}}
        WHERE k.district_id = :district AND k.source_id = :source AND k.removed_at IS NULL"""
    ended = f" AND k.ends_on <= :today AND k.ends_on > :today - {ENDED_LATELY}"
    parts = [roles_sql.format(row="0", join="") + ("" if roles is not None and roles.complete else ended)]
    if roles is not None:
        staged = stage.delivered("role")
        join = f"JOIN {staged} AS s ON s.sourced_id = k.sourced_id"
        parts.append(roles_sql.format(row="s.row_number", join=join))
        parts.append(
            f"""SELECT btrim(s.ref_person_id), s.row_number FROM {staged} AS s
                WHERE s.fault IS NULL AND s.ref_person_id IS NOT NULL"""
        )
    return " UNION ALL ".join(parts)


async def match_roles(stage: Stage, columns: Collection[str]) -> int:
    """Finds roles that did not change except for their sourcedId, and returns their number.

    In the plan, such a role appears as two changes: one role of a person is removed, and an equal role of the same
    person is created. Both sourcedIds are written to the run's map of old to new sourcedIds. When the map is applied,
    the old role gets the new role's sourcedId.

    The people must already be in the map. Roles are compared by their values, because their sourcedIds have no common
    form: every source builds them in its own way, and over REST a role's id contains the person's id. `columns` are the
    columns that the plan for roles has; only these are compared.
    """
    compared = [column for column in ("role", "org_id", "begins_on") if column in columns]
    existing, delivered = (", ".join(f"{alias}.{column}" for column in compared) for alias in ("t", "p"))
    is_equal = "".join(f" AND o.{column} IS NOT DISTINCT FROM n.{column}" for column in compared)
    plan = stage.of_run("plan", "role")
    return await stage.run(
        f"""INSERT INTO staging.kept_rekey (district_id, run_id, kind, row_id, old, new)
            SELECT :district, :run, 'role', o.id, o.sourced_id, n.sourced_id
            FROM (SELECT p.sourced_id, p.id, r.new, {existing},
                         row_number() OVER (PARTITION BY r.new, {existing} ORDER BY p.sourced_id) AS place
                  FROM {plan} AS p
                  JOIN person_role AS t ON t.district_id = :district AND t.id = p.id
                  JOIN staging.kept_rekey AS r ON r.district_id = :district AND r.run_id = :run AND r.kind = 'person'
                   AND r.row_id = t.person_id
                  WHERE p.action IN {WENT}) AS o
            JOIN (SELECT p.sourced_id, u.sourced_id AS new, {delivered},
                         row_number() OVER (PARTITION BY p.person_id, {delivered} ORDER BY p.sourced_id) AS place
                  FROM {plan} AS p
                  JOIN {stage.of_run("plan", "person")} AS u ON u.id = p.person_id AND u.action = 'create'
                  WHERE p.action = 'create') AS n
              ON n.new = o.new AND n.place = o.place{is_equal}
            ON CONFLICT DO NOTHING"""
    )


async def rename_roles(stage: Stage, pairs: str) -> tuple[int, int]:
    """Gives roles new sourcedIds, and writes the changes to the change log.

    `pairs` is a query that returns old, new and role_id. Returns the number of pairs, and the number of renamed roles.
    A role is not renamed if its sourcedId is no longer `old`, or if `new` already belongs to another role.
    """
    expected = await stage.count(f"SELECT count(*) FROM ({pairs}) AS r")
    await stage.run(
        f"""INSERT INTO sis_change (district_id, id, run_id, kind, row_id, action, before)
            SELECT :district, {fresh_id("rekey role", "r.old")}, :run, 'role', r.role_id, 'rekey',
                   jsonb_build_object('sourced_id', r.old, 'became', r.new)
            FROM ({pairs}) AS r ON CONFLICT DO NOTHING"""
    )
    done = await stage.count(
        f"""WITH renamed AS (
                UPDATE person_role AS t SET sourced_id = r.new FROM ({pairs}) AS r
                WHERE t.district_id = :district AND t.source_id = :source AND t.id = r.role_id
                  AND t.sourced_id = r.old AND NOT EXISTS (
                      SELECT FROM person_role AS k WHERE k.district_id = :district AND k.source_id = :source
                       AND k.sourced_id = r.new) RETURNING 1)
            SELECT count(*) FROM renamed"""
    )
    return expected, done
