"""Finds sourcedIds of known people that a delivery gives to other people.

Sources exchange ids, shift them by a row, or issue them again. Importing a row with such an id would put the records of
one child under the name of another. `identity` has the rules that decide whether two people are the same. This module
changes neither the plan nor the roster.
"""

# ruff: noqa: S608  # what is put into a statement are our own names; values are bound

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final
from uuid import UUID

from app.sis.engine.report import CAME, WENT
from app.sis.engine.review.contradictions import LikelyRekey, has_records_sql
from app.sis.engine.review.identity import Identity, count_changes, is_other_person, is_same_person
from app.sis.engine.review.quarantine import SAME_PERSON, digest_rows
from app.sis.engine.stage import Stage
from app.sis.port import Delivery

BY: Final = "name and birth date or identifier"
_FIELDS: Final = {
    "given_name": "givenName",
    "family_name": "familyName",
    "identifier": "identifier",
    "email": "email",
    "username": "username",
}
"""The columns of a person by which people are distinguished, mapped to the names of the fields in OneRoster."""


@dataclass(frozen=True, slots=True)
class _Suspect:
    """A known person whose name or identifier the plan changes, so that the delivered row may be about somebody else.

    `before` and `after` are the fields that distinguish people. `has_records` is true if the known person has records
    or duties.
    """

    id: UUID
    sourced_id: str
    row_number: int | None
    before: Identity
    after: Identity
    has_records: bool


@dataclass(frozen=True, slots=True)
class _Move:
    """A known person and a delivered row that have the same name and birth date, but different sourcedIds.

    `old` is the person's sourcedId, and `new` the row's sourcedId. `goes` is true if the plan would remove the known
    person.
    """

    person: UUID
    old: str
    row: UUID
    new: str
    goes: bool
    has_records: bool


async def find_reused_ids(stage: Stage, deliveries: Mapping[str, Delivery]) -> list[LikelyRekey]:
    """Returns the known people whose sourcedIds the delivery gives to other people.

    For example, the roster has Ana under the sourcedId 1, and the delivery has Ben under 1. Ana is returned. If Ben is
    in the roster too, under 2, and the plan would remove Ben because 2 is not in the delivery, Ben is returned as well.

    In each result, `new` is the sourcedId under which the delivery has the known person, or None if there is none or
    more than one. If several people exchanged their sourcedIds and one of them has records, `set_aside` is true for all
    of them: the plan must change none of them.
    """
    people, planned = deliveries.get("person"), stage.planned_rows.get("person", {})
    if people is None or not (planned.get("update") or planned.get("restore")):
        return []
    if not {"givenName", "familyName"} <= set(people.header):
        return []
    suspects = await _load_suspects(stage, deliveries)
    accepted = await _find_accepted(stage, people, suspects)
    suspects = [each for each in suspects if each.id not in accepted]
    moves = await _find_moves(stage, deliveries, {each.id for each in suspects}) if suspects else []
    rows = {move.row for move in moves}
    reused = {
        each.id: each
        for each in suspects
        if is_other_person(each.before, each.after) or (each.id in rows and count_changes(each.before, each.after) > 1)
    }
    moves = [move for move in moves if move.person in reused or (move.row in reused and move.goes)]
    return _set_aside_together(_pairs(reused.values(), moves))


def _pairs(reused: Iterable[_Suspect], moves: Sequence[_Move]) -> list[LikelyRekey]:
    moves_by_person: dict[UUID, list[_Move]] = {}
    for move in moves:
        moves_by_person.setdefault(move.person, []).append(move)
    people = {each.id: (each.sourced_id, each.has_records) for each in reused}
    people |= {move.person: (move.old, move.has_records) for move in moves if move.goes}
    pairs = []
    for person, (sourced_id, has_records) in people.items():
        places = moves_by_person.get(person, [])
        new = places[0].new if len(places) == 1 else None
        pairs.append(LikelyRekey(sourced_id, new, BY, has_records, person, reused=True))
    return sorted(pairs, key=lambda pair: pair.old)


def _set_aside_together(pairs: list[LikelyRekey]) -> list[LikelyRekey]:
    """Returns the pairs. Every pair that is connected with a set-aside pair is set aside too.

    A pair is an old and a new sourcedId. Pairs that share a sourcedId are connected, directly or through other pairs.
    If a pair is set aside, the plan changes nothing about its people.
    """
    leaders: dict[str, str] = {}

    def leader(sourced_id: str) -> str:
        while (above := leaders.setdefault(sourced_id, sourced_id)) != sourced_id:
            leaders[sourced_id] = sourced_id = leaders[above]
        return sourced_id

    for pair in pairs:
        if pair.new is not None:
            leaders[leader(pair.old)] = leader(pair.new)
    recorded = {leader(pair.old) for pair in pairs if pair.set_aside}
    return [replace(pair, set_aside=leader(pair.old) in recorded) for pair in pairs]


def combine(rekeys: Sequence[LikelyRekey], reused: Sequence[LikelyRekey]) -> list[LikelyRekey]:
    """Returns the entries of both lists.

    If both have an entry for the same old and new sourcedId, only the entry in `reused` is returned.
    """
    pairs = {(pair.old, pair.new) for pair in reused}
    return [*(pair for pair in rekeys if (pair.old, pair.new) not in pairs), *reused]


async def _find_accepted(stage: Stage, people: Delivery, suspects: Sequence[_Suspect]) -> set[UUID]:
    """Returns those suspects for whom an operator has confirmed that the delivered row is about the same person.

    `suspects` are people whose sourcedId may belong to somebody else in the delivery. A confirmation is valid only
    until the content of the row changes.
    """
    if not suspects:
        return set()
    rows = await stage.rows(
        f"""SELECT a.sourced_id, a.content FROM sis_acknowledgement AS a
            WHERE a.district_id = :district AND a.source_id = :source AND a.kind = 'person'
             AND a.code = '{SAME_PERSON}'"""
    )
    if not rows:
        return set()
    contents = {(row["sourced_id"], row["content"]) for row in rows}
    named = {sourced_id for sourced_id, _ in contents}
    numbers = {
        each.row_number + 1: each.id for each in suspects if each.row_number is not None and each.sourced_id in named
    }
    digests = await digest_rows(stage, people, list(numbers))
    return {numbers[number] for number, row in digests.items() if row in contents}


def _known(person: str) -> str:
    """Returns SQL for the columns `before_…`: the fields by which a person is recognized, as they are before the run.

    `person` is the alias of the person's row.
    """
    birth = f"""(SELECT d.birth_date FROM demographics AS d
        WHERE d.district_id = :district AND d.person_id = {person}.id)"""
    return ", ".join(
        (*(f"{person}.{column} AS before_{column}" for column in _FIELDS), f"{birth} AS before_birth_date")
    )


def _planned(stage: Stage, deliveries: Mapping[str, Delivery], row: str, person: str) -> str:
    """Returns SQL for the columns `after_…`: the fields by which a person is recognized, as they are after the run.

    `row` is the alias of the planned row, and `person` the alias of the known person. If the planned row creates the
    person, there is no known person.
    """
    header, values = set(deliveries["person"].header), []
    for column, name in _FIELDS.items():
        kept = f"{row}.action <> 'create' AND '{column}' = ANY ({person}.pinned)" if name in header else "true"
        values.append(f"CASE WHEN {kept} THEN {person}.{column} ELSE {row}.{column} END AS after_{column}")
    birth = f"""(SELECT d.birth_date FROM demographics AS d
        WHERE d.district_id = :district AND d.person_id = {row}.id)"""
    demographics = deliveries.get("demographics")
    if demographics is not None and "birthDate" in demographics.header:
        birth = f"""coalesce((SELECT q.birth_date FROM {stage.of_run("plan", "demographics")} AS q
            WHERE q.id = {row}.id AND q.action IN {CAME}), {birth})"""
    return ", ".join((*values, f"{birth} AS after_birth_date"))


def _identity(row: Mapping[str, Any], when: str) -> Identity:
    texts = {column: str(row[f"{when}_{column}"] or "") for column in _FIELDS}
    return Identity(**texts, birth_date=row[f"{when}_birth_date"])


async def _load_suspects(stage: Stage, deliveries: Mapping[str, Delivery]) -> list[_Suspect]:
    changed = _changed_sql(stage, deliveries)
    rows = await stage.rows(
        f"""SELECT p.id, p.sourced_id, p.row_number, {_known("t")}, {_planned(stage, deliveries, "p", "t")},
                   {has_records_sql("t.id")} AS has_records
            FROM ({changed}) AS p JOIN person AS t ON t.district_id = :district AND t.id = p.id"""
    )
    return [
        _Suspect(
            id=row["id"],
            sourced_id=row["sourced_id"],
            row_number=row["row_number"],
            before=_identity(row, "before"),
            after=_identity(row, "after"),
            has_records=row["has_records"],
        )
        for row in rows
    ]


def _changed_sql(stage: Stage, deliveries: Mapping[str, Delivery]) -> str:
    """Returns SQL that selects the planned rows that change the name or the identifier of a known person.

    Two kinds of change do not count: a change between upper and lower case, and a change from or to an empty value. The
    names before the change are `known_given_name` and `known_family_name`.
    """
    header = set(deliveries["person"].header)
    differs = " OR ".join(
        f"(btrim(o.{column}) <> '' AND btrim(w.{column}) <> '' AND lower(btrim(o.{column})) <> "
        f"lower(btrim(w.{column})))"
        for column in ("given_name", "family_name", "identifier")
        if _FIELDS[column] in header
    )
    return f"""SELECT w.*, lower(btrim(o.given_name)) AS known_given_name,
            lower(btrim(o.family_name)) AS known_family_name
        FROM {stage.of_run("plan", "person")} AS w
        JOIN person AS o ON o.district_id = :district AND o.id = w.id
        WHERE w.action IN ('update', 'restore') AND ({differs})"""


async def _find_moves(stage: Stage, deliveries: Mapping[str, Delivery], suspects: set[UUID]) -> list[_Move]:
    """Returns the known people whom the delivery has under another sourcedId than the roster.

    They are found by their names, birth dates and identifiers. `suspects` are the people whose sourcedId the delivery
    may give to somebody else. A person is returned only if this person is a suspect, or if the person who has the new
    sourcedId in the roster is a suspect.
    """
    # In each result, the plan changes the name or identifier of one of the two, so that only few rows are compared.
    columns = f"""t.id AS person, x.sourced_id AS old, n.id AS row, n.sourced_id AS new,
        EXISTS (SELECT FROM {stage.of_run("plan", "person")} AS g WHERE g.id = t.id AND g.action IN {WENT}) AS goes,
        {_known("t")}, {_planned(stage, deliveries, "n", "o")}, {has_records_sql("t.id")} AS has_records"""
    alias = "x.district_id = :district AND x.source_id = :source AND x.kind = 'person' AND x.row_id = t.id"
    arriving = f"""(SELECT w.* FROM {stage.of_run("plan", "person")} AS w
        WHERE w.action IN {CAME})"""
    rows = await stage.rows(
        f"""SELECT {columns} FROM ({_changed_sql(stage, deliveries)}) AS n
            JOIN person AS t ON t.district_id = :district AND t.removed_at IS NULL AND t.id <> n.id
             AND lower(btrim(t.given_name)) = lower(btrim(n.given_name))
             AND lower(btrim(t.family_name)) = lower(btrim(n.family_name))
            JOIN external_id AS x ON {alias}
            LEFT JOIN person AS o ON o.district_id = :district AND o.id = n.id
            UNION SELECT {columns} FROM ({_changed_sql(stage, deliveries)}) AS k
            JOIN person AS t ON t.district_id = :district AND t.id = k.id
            JOIN external_id AS x ON {alias}
            JOIN {arriving} AS n ON n.id <> k.id AND lower(btrim(n.given_name)) = k.known_given_name
             AND lower(btrim(n.family_name)) = k.known_family_name
            LEFT JOIN person AS o ON o.district_id = :district AND o.id = n.id"""
    )
    return [
        _Move(*(row[name] for name in ("person", "old", "row", "new", "goes", "has_records")))
        for row in rows
        if (row["person"] in suspects or row["row"] in suspects)
        and is_same_person(_identity(row, "before"), _identity(row, "after"))
    ]
