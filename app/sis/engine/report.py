"""Owns what a run says of itself: the report, and the numbers that the guard weighs. Never changes a row."""

# ruff: noqa: S608  # what is put into a statement are our own names; values are bound

from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from app.core import ids
from app.sis.engine.plan import known_rows_sql
from app.sis.engine.stage import Stage, key_filter_sql
from app.sis.guard import PlannedKind, ShrunkGroup
from app.sis.kinds import BY_NAME, Kind
from app.sis.port import Delivery

MANY: Final = 500  # changes below which what the planner knows of the tables still holds
FIRST: Final = 20  # quarantined rows that a report names
CAME: Final = "('create', 'restore', 'update')"
WENT: Final = "('remove', 'absent')"


@dataclass
class Counts:
    """One kind's rows: `fetched` = unchanged + created + updated + removed + quarantined.

    `fetched` is what the file holds, a row repeated word for word counted once. `removed` are rows that the file
    marks `tobedeleted` and that were there. `absent` were known, are not in the file, and are removed too: they
    stand apart, since nothing was fetched of them. `restored` says how many of the updated had been removed,
    `expired` how many of the removed and absent had come to their end before.
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

    @property
    def changes(self) -> int:
        """Rows of the roster that the plan touches."""
        return self.created + self.updated + self.removed + self.absent


@dataclass(frozen=True, slots=True)
class Refusal:
    """A quarantined row: where it stands (the header is row 1) and why."""

    file: str
    row: int
    field: str
    code: str


@dataclass
class Report:
    """What a run did, or would do: `state` is applied, held, dry or failed; `sentence` says it in plain words.

    `plan` is there while a held plan waits for its answer; its `digest` is what an approval names. `mode` is full or
    delta, `weighed` what each rule of the guard found, `taken` the file that was read, `pulled_at` as of when it is.
    `repaired` is how many rows of each table were in other schools than their student, and were put right.
    """

    run_id: UUID
    state: str = "running"
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

    @property
    def overturned(self) -> list[str]:
        """Kinds of which a tenth or more changed, in a run of many changes: the planner should look at them anew."""
        if self.total("changes") < MANY:
            return []
        return [name for name, counts in self.kinds.items() if counts.changes and 10 * counts.changes >= counts.known]

    def total(self, what: str) -> int:
        """The sum of one count over all kinds."""
        return sum(int(getattr(counts, what)) for counts in self.kinds.values())

    def as_json(self) -> dict[str, Any]:
        """The report as plain values; ids as faces show them."""
        return {
            **asdict(self),
            "run_id": ids.show("run", self.run_id),
            "plan": self.plan and self.plan["digest"],
            "began_at": self.began_at.isoformat() if self.began_at else None,
            "ended_at": self.ended_at.isoformat() if self.ended_at else None,
            "pulled_at": self.pulled_at.isoformat() if self.pulled_at else None,
        }


async def count_known(stage: Stage, kind: Kind) -> int:
    """How many rows of a kind the source has in the roster now."""
    rows = await stage.count(f"SELECT count(*) FROM ({known_rows_sql(kind)}) AS t WHERE t.removed_at IS NULL")
    stage.known_rows[kind.name] = rows
    return rows


async def count_planned(stage: Stage, kind: Kind) -> dict[str, int]:
    """How many rows the plan holds for each action."""
    rows = await stage.rows(
        f"SELECT action, count(*) AS rows FROM {stage.table('plan', kind.name)} "
        "WHERE district_id = :district GROUP BY action"
    )
    stage.planned_rows[kind.name] = {row["action"]: row["rows"] for row in rows}
    return stage.planned_rows[kind.name]


async def count_faults(stage: Stage, kind: Kind) -> tuple[int, int]:
    """How many staged rows cannot be taken as they are, and how many of those have no sourcedId."""
    (row,) = await stage.rows(
        "SELECT count(*) FILTER (WHERE fault IS NOT NULL) AS faulty, "
        "count(*) FILTER (WHERE sourced_id IS NULL) AS nameless "
        f"FROM {stage.table('staged', kind.name)} WHERE district_id = :district"
    )
    return row["faulty"], row["nameless"]


async def count_quarantined(stage: Stage, kind: Kind) -> int:
    """How many of a kind's rows this run put into quarantine."""
    return await stage.count(
        f"SELECT count(*) FROM sis_quarantine WHERE district_id = :district AND run_id = :run AND kind = '{kind.name}'"
    )


async def first_refusals(stage: Stage) -> list[Refusal]:
    """The first rows in quarantine, by file and row."""
    rows = await stage.rows(
        "SELECT file, row_number, field, code FROM sis_quarantine WHERE district_id = :district "
        f"AND run_id = :run ORDER BY kind, row_number LIMIT {FIRST}"
    )
    return [Refusal(row["file"], row["row_number"], row["field"], row["code"]) for row in rows]


async def loose_references(stage: Stage, kind: Kind, delivery: Delivery) -> list[str]:
    """Sentences about optional references that nothing answers: the rows are taken without them."""
    said = []
    for ref in kind.refs:
        if ref.header not in delivery.header or (ref.required and not ref.many):
            continue
        key = stage.table("key", ref.kind)
        item = "unnest(string_to_array(s.ref_{0}, ','))" if ref.many else "s.ref_{0}"
        one = f"SELECT FROM {key} AS o WHERE o.district_id = :district AND o.sourced_id = btrim(s.ref_{ref.column})"
        rows = await stage.count(
            f"""SELECT count(DISTINCT u.row_number) FROM (
                    SELECT s.row_number, {item.format(ref.column)} AS item
                    FROM {stage.table("staged", kind.name)} AS s
                    WHERE s.district_id = :district AND s.fault IS NULL AND NOT s.gone
                      AND s.ref_{ref.column} IS NOT NULL AND NOT EXISTS ({one})) AS u
                WHERE NOT EXISTS (SELECT FROM {key} AS k
                                  WHERE k.district_id = :district AND k.sourced_id = btrim(u.item))"""
        )
        if rows:
            said.append(
                f"{delivery.file}: {rows:,} rows name in {ref.header} {BY_NAME[ref.kind].plural} that are not "
                "there; what they name is left out."
            )
    return said


async def find_shrunk_groups(stage: Stage, kinds: Mapping[str, Counts]) -> list[ShrunkGroup]:
    """Schools and classes that would lose students; a class that goes with its students is not one that shrinks."""
    found = []
    people, enrollments = kinds["person"], kinds["enrollment"]
    if people.updated + people.removed + people.absent:
        rows = await stage.rows(
            f"""SELECT count(*) AS students,
                       count(*) FILTER (WHERE p.id IS NOT NULL
                                        AND NOT (p.action IN {CAME} AND t.school_id = ANY (p.school_ids))) AS lost
                FROM (SELECT t.id, unnest(t.school_ids) AS school_id FROM person AS t
                      WHERE t.district_id = :district AND t.is_student AND t.removed_at IS NULL OFFSET 0) AS t
                JOIN org AS s ON s.district_id = :district AND s.id = t.school_id AND s.type = 'school'
                LEFT JOIN {stage.table("plan", "person")} AS p
                  ON p.district_id = :district AND p.id = t.id AND p.action <> 'refuse'
                GROUP BY s.id"""
        )
        found += [ShrunkGroup("school", row["lost"], row["students"]) for row in rows if row["lost"]]
    if enrollments.removed + enrollments.absent:
        plan, classes = stage.table("plan", "enrollment"), stage.table("key", "class")
        few = key_filter_sql(stage, BY_NAME["enrollment"], WENT)
        those = " AND t.class_id = ANY (ARRAY(SELECT l.class_id FROM lost AS l))" if few else ""
        rows = await stage.rows(
            f"""WITH lost AS (
                    SELECT t.class_id, count(DISTINCT t.person_id) AS students
                    FROM {plan} AS p JOIN enrollment AS t ON t.district_id = :district AND t.id = p.id
                    WHERE p.district_id = :district AND p.action IN {WENT} AND t.is_student{few}
                      AND (t.ends_on IS NULL OR t.ends_on > :today)
                      AND t.class_id IN (SELECT k.id FROM {classes} AS k WHERE k.district_id = :district)
                      AND NOT EXISTS (SELECT FROM {plan} AS c WHERE c.district_id = :district
                                      AND c.action IN {CAME} AND c.class_id = t.class_id
                                      AND c.person_id = t.person_id)
                    GROUP BY t.class_id)
                SELECT lost.students AS lost, count(DISTINCT t.person_id) AS students FROM lost
                JOIN enrollment AS t ON t.district_id = :district AND t.class_id = lost.class_id
                 AND t.is_student AND t.removed_at IS NULL{those}
                GROUP BY lost.class_id, lost.students"""
        )
        found += [ShrunkGroup("class", row["lost"], row["students"]) for row in rows]
    return found


async def count_rekeyed(stage: Stage, delivered: Mapping[str, Delivery]) -> int:
    """People who would go and come anew: the same identifier, e-mail or username under another sourcedId."""
    if "person" not in delivered:
        return 0
    plan = stage.table("plan", "person")
    matches = " UNION ".join(
        f"""SELECT t.id FROM {plan} AS p
            JOIN person AS t ON t.district_id = :district AND t.id = p.id
            JOIN {plan} AS n ON n.district_id = :district AND n.action = 'create' AND lower(n.{c}) = lower(t.{c})
            WHERE p.district_id = :district AND p.action IN {WENT}"""
        for c in ("identifier", "email", "username")
        if c in delivered["person"].header
    )
    return await stage.count(f"SELECT count(*) FROM ({matches}) AS m") if matches else 0


def planned_kind(
    kind: Kind, counts: Counts, deliveries: Mapping[str, Delivery], left_out: Collection[str] = ()
) -> PlannedKind:
    """One kind's counts as the guard takes them. Where any file is a delta, a kind without changes has no file."""
    delivery = deliveries.get(kind.name)
    if delivery is None:
        whole = bool(deliveries) and all(one.complete for one in deliveries.values())
        silent = kind.optional or kind.name in left_out or not whole
    else:
        silent = not delivery.complete
    return PlannedKind(
        plural=kind.plural,
        known=counts.known,
        came=delivery is not None,
        fetched=counts.fetched,
        changed=counts.updated - counts.restored,
        removed=counts.removed + counts.absent,
        refused=counts.quarantined,
        may_be_silent=silent,
        expired=counts.expired,
    )


async def count_expired(stage: Stage, kind: Kind) -> int:
    """How many of the removals are of enrollments and classes whose time was over; the end of each is exclusive."""
    over = {
        "enrollment": "t.ends_on <= :today",
        "class": """cardinality(t.academic_session_ids) > 0 AND NOT EXISTS (
            SELECT FROM academic_session AS a WHERE a.district_id = :district
             AND a.id = ANY (t.academic_session_ids) AND a.ends_on > :today)""",
    }.get(kind.name)
    if over is None:
        return 0
    return await stage.count(
        f"""SELECT count(*) FROM {stage.table("plan", kind.name)} AS p
            JOIN {kind.table} AS t ON t.district_id = :district AND t.id = p.id
            WHERE p.district_id = :district AND p.action IN {WENT} AND {over}{key_filter_sql(stage, kind, WENT)}"""
    )
