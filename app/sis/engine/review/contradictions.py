"""Removes harmful changes from a plan, even if they follow from the delivery. Does not change the roster.

* A plan must not remove people, classes, schools or terms to which other rows of the same delivery refer.
* If a student's sourcedId has changed, a plan must not separate the student from the student's records.

A person whom the plan would remove and a person whom it would create are likely the same in four cases:

* They have the same identifier, and nobody with another given name has it too, as with `N/A`. Leading zeros do not
  count, because spreadsheets remove them.
* They have the same name and birth date.
* They have the same name, and the same number in the sourcedId, such as `s-0012` and `S12`.
* They have the same given name, and the same e-mail or username. The given name is compared because siblings may have
  the same e-mail.

Names are the same whatever their case, accents, blanks, hyphens and apostrophes, because another SIS writes them
otherwise.
"""

# ruff: noqa: S608  # what is put into a statement are our own names; values are bound

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final
from uuid import UUID

from app.core.plural import pluralize
from app.sis.engine.report import WENT, Counts, Report
from app.sis.engine.review.quarantine import REUSED
from app.sis.engine.stage import Stage, fresh_id
from app.sis.kinds import BY_NAME, KINDS, Kind
from app.sis.port import Delivery

_STUDENT_RECORDS: Final = ("concern", "support", "score", "agenda_item", "action_item")
"""The tables with records that a student must not lose because of a new sourcedId."""
_STAFF_DUTIES: Final = (
    ("support", "lead_id", "r.state <> 'ended'"),
    ("support", "provider_id", "r.state <> 'ended'"),
    ("team_member", "person_id", "r.until_on IS NULL"),
    ("action_item", "owner_id", "r.closed_on IS NULL"),
)
"""The duties that a member of staff must not lose because of a new sourcedId.

Each duty has a table, the table's column for the person, and the condition for a current duty.
"""
FIELDS: Final = ("identifier", "name and birth date", "email", "username", "name and sourcedId")
"""The fields by which two people can be recognized as the same person, the strongest first."""
NAMED_BY: Final = {
    "org": (("class", "school_id"), ("enrollment", "school_id"), ("person", "school_ids"), ("org", "parent_id")),
    "academic_session": (("class", "academic_session_ids"), ("academic_session", "parent_id")),
    "class": (("enrollment", "class_id"),),
    "person": (("enrollment", "person_id"),),
}
"""The kinds and columns that may refer to rows of a kind, keyed by this kind.

If a row is missing from the delivery but delivered rows refer to it, the row is kept.
"""
PARTS: Final = {"person": ("role", "demographics")}
"""The kinds whose rows belong to one row of a kind, keyed by this kind. They are kept with that row."""
_SPELLING: Final = r"[\u0300-\u036f\u2018\u2019\u00b4\u2010-\u2015\s''`.-]"
"""A pattern for what may differ in a name: accents, after they were separated from their letters, and punctuation."""
ARRIVES: Final = "('create', 'restore')"
REKEYED: Final = "sourcedId.rekeyed"


def has_records_sql(person: str) -> str:
    """Returns an SQL condition: the person with the id `person` has records as a student, or duties as staff.

    Such records and duties must neither be lost because of a new sourcedId, nor pass to another person.
    """
    conditions = [(table, "student_id", "") for table in _STUDENT_RECORDS]
    conditions += [(table, column, f" AND {condition}") for table, column, condition in _STAFF_DUTIES]
    clauses = (
        f"EXISTS (SELECT FROM {table} AS r WHERE r.district_id = :district AND r.{column} = {person}{condition})"
        for table, column, condition in conditions
    )
    return f"({' OR '.join(clauses)})"


@dataclass(frozen=True, slots=True)
class LikelyRekey:
    """A known person who likely has another sourcedId in the delivery.

    * If `reused` is false, the plan would remove the person with the sourcedId `old` and create the person with the
      sourcedId `new`. Both have the same value in the field that `by` names.
    * If `reused` is true, the delivery gives the sourcedId `old` to another person. `by` names the fields that show
      this. `new` is the known person's sourcedId in the delivery. `new` is None if the delivery has no sourcedId for
      the known person, or has several.
    * `set_aside` is true if the plan must change neither person. There are three possible reasons: the known person has
      records, somebody who exchanged sourcedIds with the known person has records, or the delivery still refers to
      `old`.
    """

    old: str
    new: str | None
    by: str
    set_aside: bool
    person: UUID
    """The row id of the known person."""
    reused: bool = False

    def as_json(self) -> dict[str, Any]:
        """Returns all fields except `person` as plain values for the report."""
        return {
            **{"old": self.old, "new": self.new, "by": self.by},
            **{"set_aside": self.set_aside, "reused": self.reused},
        }


async def keep_contradicted(stage: Stage, report: Report, deliveries: Mapping[str, Delivery]) -> int:
    """Cancels the removal of rows to which a complete delivery of the same run still refers. Returns their number.

    A kept person also keeps the roles and demographics that the delivery lacks.

    References from faulty rows, and from enrollments that have ended, do not count. A delivered row that refers to a
    row which the delivery lacks stays in quarantine. It was put there when the run was planned.
    """
    kept = 0
    for kind, references in NAMED_BY.items():
        if kind not in deliveries or not report.kinds[kind].absent:
            continue
        named = []
        for by, column in references:
            delivery = deliveries.get(by)
            if delivery is None or not delivery.complete or not _has_column(delivery, column):
                continue
            is_current = "s.fault IS NULL AND NOT s.gone"
            if by == "enrollment" and "endDate" in delivery.header:
                is_current += " AND (s.ends_on IS NULL OR s.ends_on > :today)"
            # The schools of a person are compared as one text, so a school is kept only for people who have no other.
            # The sessions of a class are compared one by one, and also as one text: a single id may contain a comma.
            is_list = column == "academic_session_ids"
            item = "u.item" if is_list else f"s.ref_{column}"
            items = f", unnest(string_to_array(s.ref_{column}, ',') || s.ref_{column}) AS u (item)" if is_list else ""
            named.append(f"SELECT btrim({item}) FROM {stage.delivered(by)} AS s{items} WHERE {is_current}")
        if not named:
            continue
        parts = [part for part in PARTS.get(kind, ()) if part in deliveries and report.kinds[part].absent]
        ((count, *parts_kept),) = await stage.rows(
            f"""WITH kept AS (
                DELETE FROM {stage.table("plan", kind)} AS p
                WHERE p.district_id = :district AND p.run_id = :run AND p.action = 'absent'
                 AND p.sourced_id IN ({" UNION ALL ".join(named)}) RETURNING p.id)
                {"".join(_keep_part_sql(stage, BY_NAME[part]) for part in parts)}
            SELECT {", ".join(f"(SELECT count(*) FROM {name})" for name in ("kept", *(f"kept_{x}" for x in parts)))}"""
        )
        report.kinds[kind].absent -= count
        for part, number in zip(parts, parts_kept, strict=True):
            report.kinds[part].absent -= number
        kept += count
        if count and kind in ("org", "academic_session"):
            are, them = pluralize(count, "row is", "rows are"), "it" if count == 1 else "them"
            report.warnings.append(
                f"{deliveries[kind].file}: {are} missing, although the same delivery refers to {them}: kept."
            )
    return kept


def _keep_part_sql(stage: Stage, kind: Kind) -> str:
    """Returns a part of a WITH clause. It cancels the removal of rows of this kind that belong to people who are kept.

    The SQL begins with a comma. Earlier in the clause, `kept` selects the ids of these people.
    """
    return f""", kept_{kind.name} AS (
        DELETE FROM {stage.table("plan", kind.name)} AS p USING kept, {kind.table} AS t
        WHERE p.district_id = :district AND p.run_id = :run AND p.action = 'absent'
         AND t.district_id = :district AND t.{kind.key} = p.id AND t.person_id = kept.id RETURNING 1)"""


def _has_column(delivery: Delivery, column: str) -> bool:
    """Returns whether the delivery has the values for `column`, a column that refers to other rows."""
    return any(ref.column == column and ref.header in delivery.header for ref in BY_NAME[delivery.kind].refs)


async def find_likely_rekeys(stage: Stage, deliveries: Mapping[str, Delivery]) -> list[LikelyRekey]:
    """Returns the people that the plan would remove, and at the same time create under another sourcedId.

    Each pair of an old and a new sourcedId is returned once.
    """
    if "person" not in deliveries:
        return []
    plan = stage.of_run("plan", "person")
    if not await stage.count(f"SELECT count(*) FROM {plan} AS p WHERE p.action IN {WENT}"):
        return []
    header = set(deliveries["person"].header)
    given_name, family_name = (f"{_name_sql('n', name)} = {_name_sql('t', name)}" for name in ("given", "family"))
    same = [
        (name, f"{_plain_sql('n', column)} = {_plain_sql('t', column)}{given}", column)
        for name, column, given in (
            ("identifier", "identifier", _is_own_sql()),
            ("email", "email", f" AND {given_name}"),
            ("username", "username", f" AND {given_name}"),
        )
        if {name, "givenName"} <= header | ({"givenName"} if not given else set())
    ]
    queries = [
        _pairs_sql(plan, name, condition + f" AND {_plain_sql('t', column)} <> ''") for name, condition, column in same
    ]
    demographics, has_names = deliveries.get("demographics"), {"givenName", "familyName"} <= header
    if has_names:
        number = f"{given_name} AND {family_name} AND {_number_sql('n.sourced_id')} = {_number_sql('p.sourced_id')}"
        queries.append(_pairs_sql(plan, "name and sourcedId", number))
    if demographics is not None and "birthDate" in demographics.header and has_names:
        same_birth = f"""{given_name} AND {family_name}
            AND (SELECT d.birth_date FROM demographics AS d WHERE d.district_id = :district AND d.person_id = t.id)
              = (SELECT d.birth_date FROM {stage.of_run("plan", "demographics")} AS d WHERE d.id = n.id LIMIT 1)"""
        queries.append(_pairs_sql(plan, "name and birth date", same_birth))
    if not queries:
        return []
    rows = await stage.rows(
        f"""SELECT m.old, m.new, m.id, min(m.by) AS by, bool_or({has_records_sql("m.id")}) AS has_records
            FROM ({" UNION ALL ".join(queries)}) AS m GROUP BY m.old, m.new, m.id ORDER BY m.old, m.new"""
    )
    return [LikelyRekey(row["old"], row["new"], FIELDS[row["by"]], row["has_records"], row["id"]) for row in rows]


def _name_sql(person: str, which: str) -> str:
    """Returns SQL for the given or the family name of a person, without what is only another spelling."""
    return f"regexp_replace(normalize(lower({person}.{which}_name), NFKD), '{_SPELLING}', '', 'g')"


def _is_own_sql() -> str:
    """Returns SQL, beginning with AND, that is false if somebody with another given name has the identifier of `t`."""
    return f""" AND NOT EXISTS (SELECT FROM person AS q WHERE q.district_id = :district AND q.removed_at IS NULL
        AND q.id <> t.id AND {_plain_sql("q", "identifier")} = {_plain_sql("t", "identifier")}
        AND {_name_sql("q", "given")} <> {_name_sql("t", "given")})"""


def _plain_sql(person: str, column: str) -> str:
    value = f"lower(btrim({person}.{column}))"
    return f"ltrim({value}, '0')" if column == "identifier" else value


def _number_sql(sourced_id: str) -> str:
    """Returns SQL for the digits of a sourcedId without leading zeros, or for the sourcedId if it has none."""
    return f"coalesce(nullif(ltrim(regexp_replace({sourced_id}, '[^0-9]', '', 'g'), '0'), ''), lower({sourced_id}))"


async def keep_out_second_rows(stage: Stage, pairs: list[LikelyRekey]) -> list[LikelyRekey]:
    """Prevents a person who is in the roster already from being added a second time.

    Each pair is a known person and a new row that is likely the same person. If the plan does not remove the known
    person, the new row must not be imported, and `set_aside` of the pair becomes true. Returns all pairs.
    """
    if not pairs:
        return pairs
    plan = stage.of_run("plan", "person")
    rows = await stage.rows(f"SELECT p.sourced_id FROM {plan} AS p WHERE p.action IN {WENT}")
    going = {row["sourced_id"] for row in rows}
    return [pair if pair.old in going else replace(pair, set_aside=True) for pair in pairs]


def _pairs_sql(plan: str, name: str, condition: str) -> str:
    return f"""SELECT p.sourced_id AS old, n.sourced_id AS new, t.id, {FIELDS.index(name)} AS by FROM {plan} AS p
        JOIN person AS t ON t.district_id = :district AND t.id = p.id
        JOIN {plan} AS n ON n.action IN {ARRIVES} AND n.is_student = t.is_student AND {condition}
        WHERE p.action IN {WENT}"""


async def set_aside(
    stage: Stage, pairs: list[LikelyRekey], kinds: Mapping[str, Counts], deliveries: Mapping[str, Delivery]
) -> None:
    """Removes, from the plans of all kinds of record, the changes about each pair whose `set_aside` is true.

    A pair is a known person and a new row that is likely the same person. The known person and all rows about this
    person stay unchanged, and the new person is not created. Delivered rows that would create or change anything about
    either of them go into quarantine.
    """
    for code, reused in ((REUSED, True), (REKEYED, False)):
        chosen = [pair for pair in pairs if pair.set_aside and pair.reused == reused]
        if chosen:
            await _set_aside_as(stage, code, chosen, kinds, deliveries)


async def _set_aside_as(
    stage: Stage,
    code: str,
    chosen: Collection[LikelyRekey],
    kinds: Mapping[str, Counts],
    deliveries: Mapping[str, Delivery],
) -> None:
    names = {name for pair in chosen for name in (pair.old, pair.new) if name is not None}
    rows = await stage.rows(f"SELECT p.id, p.sourced_id FROM {stage.of_run('plan', 'person')} AS p")
    people = {row["id"] for row in rows if row["sourced_id"] in names} | {pair.person for pair in chosen}
    for kind in KINDS:
        delivery = deliveries.get(kind.name)
        column = "id" if kind.name in ("person", "demographics") else _column_of_person(kind)
        if delivery is not None and column is not None:
            await _set_aside_kind(stage, code, kind, column, delivery, kinds[kind.name], people)


def _column_of_person(kind: Kind) -> str | None:
    return next((ref.column for ref in kind.refs if ref.kind == "person" and not ref.many), None)


async def _set_aside_kind(
    stage: Stage, code: str, kind: Kind, column: str, delivery: Delivery, counts: Counts, people: Collection[UUID]
) -> None:
    """Removes the planned changes about `people` from the plan of one kind of record.

    If a removed change came from a delivered row, this row goes into quarantine with the error `code`. `column` is the
    kind's column that refers to the person.
    """
    plan = stage.table("plan", kind.name)
    person_column = "id" if kind.name == "person" else kind.key if kind.name == "demographics" else column
    header_column = "sourcedId" if kind.name in ("person", "demographics") else "userSourcedId"
    if kind.about == "student_id":
        header_column = "studentSourcedId"
    people_ids = f"""(ARRAY[{", ".join(f"'{person}'" for person in people)}]::uuid[])"""
    is_about_them = f"""p.district_id = :district AND p.run_id = :run AND p.action <> 'refuse' AND (
        p.{column} = ANY {people_ids}
        OR p.id IN (SELECT t.{kind.key} FROM {kind.table} AS t
                    WHERE t.district_id = :district AND t.{person_column} = ANY {people_ids}))"""
    await stage.run(
        f"""INSERT INTO sis_quarantine (district_id, id, run_id, kind, file, row_number, field, code)
            SELECT :district, {fresh_id("quarantine " + kind.name, "p.row_number::text")}, :run, '{kind.name}',
                   '{delivery.file}', p.row_number + 1, '{header_column}', '{code}'
            FROM {plan} AS p WHERE {is_about_them} AND p.row_number IS NOT NULL ON CONFLICT DO NOTHING"""
    )
    rows = await stage.rows(
        f"""WITH taken AS (DELETE FROM {plan} AS p WHERE {is_about_them} RETURNING p.action, p.row_number)
            SELECT action, count(*) AS rows, count(row_number) AS came FROM taken GROUP BY action"""
    )
    for row in rows:
        counts.take(row["action"], row["rows"])
        counts.quarantined += row["came"]
