"""Defines the report of a run, and counts what the guard compares with its limits. Changes no row.

The guard (`app.sis.guard`) holds a run that would change or remove more rows than its limits allow.

This file exceeds 250 lines so that every count of a report is in one place.
"""

# ruff: noqa: S608  # only our own names are formatted into statements; values are bound

import dataclasses
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from app.core import ids
from app.core.clock import show_instant
from app.core.plural import pluralize
from app.sis.engine.plan import known_rows_sql
from app.sis.engine.stage import Stage, key_filter_sql
from app.sis.guard import PlannedKind, ShrunkGroup
from app.sis.kinds import BY_NAME, MAY_BE_LEFT_OUT, Kind
from app.sis.port import Delivery
from app.sis.rules import RunState

MANY: Final = 500  # The number of changes up to which PostgreSQL's statistics of the tables remain good enough.
FIRST: Final = 20  # The maximum number of quarantined rows, and of likely re-keys, in the text of a report.
CAME: Final = "('create', 'restore', 'update')"
WENT: Final = "('remove', 'absent')"
CHANGED: Final = "('update', 'remove', 'absent')"


@dataclass
class Counts:
    """The numbers of rows of one kind of record: what was delivered, and what the run does to the roster.

    `fetched` is the sum unchanged + created + updated + removed + quarantined + ignored.

    * `fetched`: rows of the file; identical repeats count once.
    * `removed`: roster rows that the file marks `tobedeleted`.
    * `absent`: roster rows that are removed because the file does not contain them. They were not fetched.
    * `restored`: updated rows that had been removed before. They are part of `updated`.
    * `expired`: removed and absent rows whose end date had passed. They are part of `removed` and `absent`.
    * `ignored`: rows that the file marks as deleted and that the roster does not have.
    * `acknowledged`: quarantined rows that a person has acknowledged.
    * `left_out`: planned rows that were not applied, because only some schools or kinds were approved. Those that
      were delivered count in `fetched`, but in no other part of the sum.
    """

    file: str = ""
    known: int = 0
    fetched: int = 0
    unchanged: int = 0
    created: int = 0
    updated: int = 0
    restored: int = 0
    removed: int = 0
    absent: int = 0
    quarantined: int = 0
    expired: int = 0
    ignored: int = 0
    acknowledged: int = 0
    left_out: int = 0

    @property
    def changes(self) -> int:
        """Returns the number of roster rows that the plan changes."""
        return self.created + self.updated + self.removed + self.absent

    def take(self, action: str, rows: int) -> None:
        """Subtracts `rows` planned rows from the count of this action, because they were deleted from the plan."""
        name = {"create": "created", "update": "updated", "restore": "updated", "remove": "removed"}.get(action, action)
        setattr(self, name, getattr(self, name) - rows)
        if action == "restore":
            self.restored -= rows


@dataclass(frozen=True, slots=True)
class Refusal:
    """A quarantined row: its file, row number (the header is row 1), field, error code, sourcedId and id."""

    file: str
    row: int
    field: str
    code: str
    sourced_id: str | None = dataclasses.field(default=None, compare=False)
    id: str | None = dataclasses.field(default=None, compare=False)
    acknowledged: bool = dataclasses.field(default=False, compare=False)


@dataclass
class Report:
    """The result of a run. `state` is the state of the run, and `sentence` describes the result.

    * `plan`: the plan of a held run, until a person approves or discards it. An approval must contain its `digest`.
    * `mode`: full or delta.
    * `weighed`: for each limit on the size of a change, whether the run stayed within it. A run that exceeds a limit is
      held.
    * `taken`: describes the imported file.
    * `pulled_at`: the time of the source's data.
    * `repaired`: by table, the number of rows whose schools were corrected to those of their student.
    * `failed`: the kinds whose optional collections could not be read.
    * `partial`: the collections in which rows may be missing.
    * `rekeys`: the known people who likely have another sourcedId in the delivery (see `LikelyRekey`). `reused` marks
      those whose old sourcedId the delivery gives to another person.
    * `listed`: the number of planned changes that can be listed one by one.
    """

    run_id: UUID
    state: RunState = RunState.RUNNING
    sentence: str = ""
    exit_code: int = 1
    began_at: datetime | None = None
    ended_at: datetime | None = None
    kinds: dict[str, Counts] = field(default_factory=dict)
    refusals: list[Refusal] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    not_taken: list[str] = field(default_factory=list)
    held_because: list[str] = field(default_factory=list)
    plan: dict[str, Any] | None = None
    mode: str | None = None
    weighed: list[dict[str, Any]] = field(default_factory=list)
    taken: dict[str, Any] | None = None
    pulled_at: datetime | None = None
    repaired: dict[str, int] = field(default_factory=dict)
    failed: list[str] = field(default_factory=list)
    partial: list[str] = field(default_factory=list)
    rekeys: list[dict[str, Any]] = field(default_factory=list)
    listed: int = 0

    @property
    def overturned(self) -> list[str]:
        """Returns the kinds of record for which the run changed at least a tenth of the rows.

        PostgreSQL must analyze the tables of these kinds again. After fewer than `MANY` changes, the list is empty.
        """
        if self.total("changes") < MANY:
            return []
        return [
            name
            for name, counts in self.kinds.items()
            if name in BY_NAME and counts.changes and 10 * counts.changes >= counts.known
        ]

    def total(self, name: str) -> int:
        """Returns the sum of one count over all kinds."""
        return sum(int(getattr(counts, name)) for counts in self.kinds.values())

    def planned_sentences(self) -> list[str]:
        """Returns sentences that say what a run would do. They are shown when a source is inspected."""
        lines = [f"{describe_rekey(rekey)}." for rekey in self.rekeys[:FIRST]]
        if len(self.rekeys) > FIRST:
            lines.append(f"… and {len(self.rekeys) - FIRST:,} more people who likely have another sourcedId.")
        lines += [
            f"To be quarantined: {each.file} row {each.row:,}, {each.sourced_id or 'no id'}, {each.field}: {each.code}."
            for each in self.refusals
            if not each.acknowledged
        ]
        return [*lines, *self.warnings, self.sentence]

    def as_json(self) -> dict[str, Any]:
        """Returns the report as plain values, with public ids."""
        return {
            **asdict(self),
            "run_id": ids.format_id("run", self.run_id),
            "plan": self.plan and self.plan["digest"],
            "began_at": show_instant(self.began_at) if self.began_at else None,
            "ended_at": show_instant(self.ended_at) if self.ended_at else None,
            "pulled_at": show_instant(self.pulled_at) if self.pulled_at else None,
        }


def describe_rekey(rekey: Mapping[str, Any]) -> str:
    """Returns a sentence about a known person who likely has another sourcedId in the delivery. It has no full stop."""
    if not rekey.get("reused"):
        return f"Likely the same person: {rekey['old']} is now {rekey['new']}, by {rekey['by']}"
    elsewhere = f"; the known person is likely {rekey['new']} now" if rekey["new"] else ""
    return f"Likely another person: {rekey['old']}, by {rekey['by']}{elsewhere}"


async def count_known(stage: Stage, kind: Kind) -> int:
    """Counts the present roster rows of a kind of record that came from this source, and returns the number.

    Also stores the number in `stage`.
    """
    rows = await stage.count(f"SELECT count(*) FROM ({known_rows_sql(kind)}) AS t WHERE t.removed_at IS NULL")
    stage.known_rows[kind.name] = rows
    return rows


async def count_planned(stage: Stage, kind: Kind) -> dict[str, int]:
    """Counts the planned rows of a kind of record, and returns their numbers, keyed by action such as `create`.

    Also stores the numbers in `stage`.
    """
    rows = await stage.rows(
        f"SELECT p.action, count(*) AS rows FROM {stage.of_run('plan', kind.name)} AS p GROUP BY p.action"
    )
    stage.planned_rows[kind.name] = {row["action"]: row["rows"] for row in rows}
    return stage.planned_rows[kind.name]


async def count_faults(stage: Stage, kind: Kind) -> tuple[int, int, int]:
    """Returns three counts of staged rows: with a fault, without a sourcedId, and marked as deleted without a fault."""
    (row,) = await stage.rows(
        "SELECT count(*) FILTER (WHERE fault IS NOT NULL) AS faulty, "
        "count(*) FILTER (WHERE sourced_id IS NULL) AS nameless, "
        "count(*) FILTER (WHERE gone AND fault IS NULL) AS gone "
        f"FROM {stage.delivered(kind.name)} AS s"
    )
    return row["faulty"], row["nameless"], row["gone"]


async def count_quarantined(stage: Stage, kind: Kind) -> int:
    """Counts the rows of a kind of record that this run put into quarantine."""
    return await stage.count(
        f"SELECT count(*) FROM sis_quarantine WHERE district_id = :district AND run_id = :run AND kind = '{kind.name}'"
    )


async def first_refusals(stage: Stage) -> list[Refusal]:
    """Returns the first quarantined rows of a run, ordered by kind and row."""
    rows = await stage.rows(
        "SELECT file, row_number, field, code, sourced_id, id::text AS id, acknowledged FROM sis_quarantine "
        f"WHERE district_id = :district AND run_id = :run ORDER BY kind, row_number LIMIT {FIRST}"
    )
    names = ("file", "row_number", "field", "code", "sourced_id", "id", "acknowledged")
    return [Refusal(*(row[name] for name in names)) for row in rows]


async def warn_of_unknown_references(stage: Stage, kind: Kind, delivery: Delivery) -> list[str]:
    """Returns a warning for each optional reference column whose values name unknown rows.

    The warning has the number of rows with such a reference. These rows are imported without the reference.
    """
    warnings = []
    for ref in kind.refs:
        if ref.header not in delivery.header or (ref.required and not ref.many):
            continue
        key = stage.of_run("key", ref.kind)
        item = "unnest(string_to_array(s.ref_{0}, ','))" if ref.many else "s.ref_{0}"
        whole_list = f"SELECT FROM {key} AS o WHERE o.sourced_id = btrim(s.ref_{ref.column})"
        rows = await stage.count(
            f"""SELECT count(DISTINCT u.row_number) FROM (
                    SELECT s.row_number, {item.format(ref.column)} AS item
                    FROM {stage.delivered(kind.name)} AS s
                    WHERE s.fault IS NULL AND NOT s.gone
                      AND s.ref_{ref.column} IS NOT NULL AND NOT EXISTS ({whole_list})) AS u
                WHERE btrim(u.item) <> '' AND NOT EXISTS (
                    SELECT FROM {key} AS k WHERE k.sourced_id = btrim(u.item))"""
        )
        if rows:
            warnings.append(
                f"{delivery.file}: {pluralize(rows, 'row refers', 'rows refer')} in {ref.header} to "
                f"{BY_NAME[ref.kind].plural} that are unknown or missing; these references are left out."
            )
    return warnings


async def find_shrunk_groups(stage: Stage, kinds: Mapping[str, Counts]) -> list[ShrunkGroup]:
    """Returns the schools and classes that would lose students. A class that the plan removes is not among them.

    A school loses a student if the plan removes the student, moves the student to other schools, or gives the person
    another role. A school that the plan removes, or makes another type of org, loses all of its students. A class loses
    a student if the plan removes the enrollment or changes its role.
    """
    groups = []
    people, enrollments = kinds["person"], kinds["enrollment"]
    orgs = kinds["org"]
    if people.updated + people.removed + people.absent + orgs.updated + orgs.removed + orgs.absent:
        rows = await stage.rows(
            f"""SELECT count(*) AS students,
                       count(*) FILTER (WHERE c.id IS NOT NULL OR p.id IS NOT NULL
                                        AND NOT (p.action IN {CAME} AND t.school_id = ANY (p.school_ids)
                                                 AND (p.is_student OR t.keeps_role))) AS lost
                FROM (SELECT t.id, 'role' = ANY (t.pinned) AS keeps_role, unnest(t.school_ids) AS school_id
                      FROM person AS t
                      WHERE t.district_id = :district AND t.is_student AND t.removed_at IS NULL OFFSET 0) AS t
                JOIN org AS s ON s.district_id = :district AND s.id = t.school_id AND s.type = 'school'
                LEFT JOIN {stage.of_run("plan", "org")} AS c ON c.id = s.id
                 AND (c.action IN {WENT} OR c.action = 'update' AND coalesce(c.type, 'school') <> 'school')
                LEFT JOIN {stage.of_run("plan", "person")} AS p ON p.id = t.id AND p.action <> 'refuse'
                GROUP BY s.id"""
        )
        groups += [ShrunkGroup("school", row["lost"], row["students"]) for row in rows if row["lost"]]
    if enrollments.updated + enrollments.removed + enrollments.absent:
        plan, classes = stage.of_run("plan", "enrollment"), stage.of_run("key", "class")
        key_filter = key_filter_sql(stage, BY_NAME["enrollment"], CHANGED)
        class_filter = " AND t.class_id = ANY (ARRAY(SELECT l.class_id FROM lost AS l))" if key_filter else ""
        rows = await stage.rows(
            f"""WITH lost AS (
                    SELECT t.class_id, count(DISTINCT t.person_id) AS students
                    FROM {plan} AS p JOIN enrollment AS t ON t.district_id = :district AND t.id = p.id
                    WHERE t.is_student AND t.removed_at IS NULL{key_filter}
                      AND (p.action IN {WENT} OR (p.action = 'update' AND NOT p.is_student))
                      AND (t.ends_on IS NULL OR t.ends_on > :today)
                      AND t.class_id IN (SELECT k.id FROM {classes} AS k)
                      AND NOT EXISTS (SELECT FROM {plan} AS c WHERE c.action IN {CAME} AND c.class_id = t.class_id
                                      AND c.person_id = t.person_id AND c.is_student)
                    GROUP BY t.class_id)
                SELECT lost.students AS lost, count(DISTINCT t.person_id) AS students FROM lost
                JOIN enrollment AS t ON t.district_id = :district AND t.class_id = lost.class_id
                 AND t.is_student AND t.removed_at IS NULL{class_filter}
                GROUP BY lost.class_id, lost.students"""
        )
        groups += [ShrunkGroup("class", row["lost"], row["students"]) for row in rows]
    return groups


def planned_kind(
    kind: Kind, counts: Counts, deliveries: Mapping[str, Delivery], left_out: Collection[str] = ()
) -> PlannedKind:
    """Returns the counts of one kind of record that are compared with the limits on changes (`app.sis.guard`).

    A delta may have no file for a kind, which means that the kind has not changed. `left_out` has the kinds that the
    settings of the source leave out, and the kinds that could not be read.
    """
    delivery = deliveries.get(kind.name)
    if delivery is None:
        is_full = bool(deliveries) and all(each.complete for each in deliveries.values())
        may_be_silent = kind.optional or kind.name in left_out or not is_full
    else:
        may_be_silent = not delivery.complete
    return PlannedKind(
        plural=kind.plural,
        known=counts.known,
        came=delivery is not None,
        fetched=counts.fetched,
        changed=counts.updated - counts.restored,
        removed=counts.removed + counts.absent,
        refused=counts.quarantined - counts.acknowledged,
        may_be_silent=may_be_silent,
        expired=counts.expired,
    )


def keep_unread(report: Report, forbidden: Collection[str], absent: Collection[str]) -> None:
    """Adds a warning to the report for each collection that can no longer be read and of which the roster has rows.

    These rows stay as they are. `forbidden` has the kinds of record that the source refuses to send. `absent` has the
    kinds for which the source has no collection. Of these, only optional kinds get a warning here: if a required kind
    is absent, the whole run is held.
    """
    for name in sorted({*forbidden, *(name for name in absent if BY_NAME[name].optional)}):
        if known := report.kinds[name].known:
            collection = next(title for title, kind in MAY_BE_LEFT_OUT.items() if kind == name)
            report.failed.append(name)
            report.warnings.append(
                f"{known:,} {BY_NAME[name].plural} are known, and stay as they are. To go on without them: aimline sis "
                f"set NAME --district DISTRICT --leave-out {collection}"
            )


async def count_expired(stage: Stage, kind: Kind) -> int:
    """Counts the rows that the plan removes and whose end date has passed. Only enrollments and classes can end."""
    has_ended = {
        "enrollment": "t.ends_on <= :today",
        "class": """cardinality(t.academic_session_ids) > 0 AND NOT EXISTS (
            SELECT FROM academic_session AS a WHERE a.district_id = :district
             AND a.id = ANY (t.academic_session_ids) AND a.ends_on > :today)""",
    }.get(kind.name)
    if has_ended is None:
        return 0
    return await stage.count(
        f"""SELECT count(*) FROM {stage.of_run("plan", kind.name)} AS p
            JOIN {kind.table} AS t ON t.district_id = :district AND t.id = p.id
            WHERE p.action IN {WENT} AND {has_ended}{key_filter_sql(stage, kind, WENT)}"""
    )
