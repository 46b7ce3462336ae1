"""Updates the list of students whom each team serves, according to the teams' scopes and the roster.

A scope is a grade at a school, a class, or a single student. One SQL statement compares the students in the scopes with
the rows of `team_student` that have no end, and writes only the differences. Commands run it for one team. A sync runs
it for the whole district after changing the roster, so that a student who moves leaves the team that night.
"""

# ruff: noqa: S608  # only our own names are formatted into statements; values are bound

from collections.abc import Collection
from dataclasses import dataclass
from datetime import date
from typing import Any, Final
from uuid import UUID

from sqlalchemy import Date, Text, TextClause, Uuid, any_, bindparam, cast, select, text

from app.access.permission import Can
from app.access.work import Work, needs
from app.core.district_lock import WAIT_FOR_LOCK, DistrictLock
from app.core.ids import new_id
from app.events.catalogue import TEAM_MEMBERS_CHANGED, TEAM_STUDENTS_CHANGED, EventType, NewEvent
from app.events.outbox import record
from app.roster.lookup import IdList, today_of
from app.roster.student_lock import lock_newcomers, lock_students
from app.team.models import Team, TeamScope, TeamStudent, lasts_beyond
from app.team.rules import ScopeKind, TeamState

ON_ROSTER: Final = "p.district_id = :district AND p.is_student AND p.removed_at IS NULL AND p.merged_into IS NULL"
EXPECTED: Final = f"""
SELECT s.team_id, s.team_school_id, s.id AS scope_id, c.student_id, c.school_ids,
       greatest(s.from_on, CAST(:today AS date)) AS from_on, least(s.until_on, c.leaves_on) AS until_on
FROM team_scope AS s
JOIN team AS t ON t.district_id = :district AND t.id = s.team_id AND t.state = '{TeamState.ACTIVE}'
CROSS JOIN LATERAL (
    SELECT p.id AS student_id, p.school_ids, CAST(NULL AS date) AS leaves_on FROM person AS p
    WHERE s.kind = '{ScopeKind.GRADE}' AND {ON_ROSTER}
      AND (p.school_id = s.served_school_id OR p.second_school_id = s.served_school_id
           OR p.third_school_id = s.served_school_id
           OR (p.has_more_schools IS TRUE AND s.served_school_id = ANY (p.school_ids)))
      AND (p.grade = s.grade OR (p.has_more_grades IS TRUE AND s.grade = ANY (p.grades)))
    UNION ALL
    SELECT p.id, p.school_ids, CASE WHEN bool_or(e.ends_on IS NULL) THEN NULL ELSE max(e.ends_on) END
    FROM enrollment AS e JOIN person AS p ON p.id = e.person_id AND {ON_ROSTER}
    WHERE s.kind = '{ScopeKind.CLASS}' AND e.district_id = :district AND e.class_id = s.class_id AND e.is_student
      AND e.removed_at IS NULL AND (e.ends_on IS NULL OR e.ends_on > CAST(:today AS date))
    GROUP BY p.id, p.school_ids
    UNION ALL
    SELECT p.id, p.school_ids, CAST(NULL AS date) FROM person AS p
    WHERE s.kind = '{ScopeKind.STUDENT}' AND {ON_ROSTER} AND p.id = s.student_id
    OFFSET 0) AS c
WHERE s.district_id = :district AND (s.until_on IS NULL OR s.until_on > CAST(:today AS date))"""
"""The students whom active teams must serve according to their open scopes, with the day on which the service ends.

The OFFSET makes PostgreSQL look up the students of each scope by an index, whatever the statistics say. The
service ends with the scope or with the enrollment in the class. If the end date is known, it is written to the row, so
that the row ends without a further sync.
"""
DIFFERENT: Final = """
expected AS MATERIALIZED ({expected}{of_scope}),
present AS MATERIALIZED (
    SELECT m.id, m.team_id, m.scope_id, m.student_id, m.from_on, m.until_on FROM team_student AS m
    WHERE m.district_id = :district AND (m.until_on IS NULL OR m.until_on >= CAST(:today AS date)){of_row}),
compared AS MATERIALIZED (
    SELECT m.id, e.team_id, e.team_school_id, e.scope_id, coalesce(e.student_id, m.student_id) AS student_id,
           e.school_ids, e.from_on, m.until_on AS former,
           CASE WHEN e.student_id IS NULL THEN greatest(m.from_on, CAST(:today AS date)) ELSE e.until_on END AS until_on
    FROM expected AS e FULL JOIN present AS m ON m.scope_id = e.scope_id AND m.student_id = e.student_id),
different AS MATERIALIZED (
    SELECT * FROM compared AS d WHERE d.id IS NULL OR d.former IS DISTINCT FROM d.until_on)"""
"""The rows of `team_student` that must be added, and the rows whose end date must be set, changed or cleared.

If a student's row ended today and the student must still be served, the row is continued. No new row is added.
"""
WRITE: Final = """
WITH {different},
changed AS (
    UPDATE team_student AS m SET until_on = d.until_on FROM different AS d
    WHERE m.district_id = :district AND m.id = d.id
      AND m.id = ANY (ARRAY (SELECT x.id FROM different AS x WHERE x.id IS NOT NULL)) RETURNING m.team_id),
added AS (
    INSERT INTO team_student (district_id, id, team_id, team_school_id, scope_id, student_id, school_ids, from_on,
                              until_on)
    SELECT CAST(:district AS uuid),
           CAST(overlay(overlay(md5(CAST(:salt AS text) || d.scope_id || d.student_id)
                placing CAST(:stamp AS text) from 1 for 13) placing '8' from 17 for 1) AS uuid),
           d.team_id, d.team_school_id, d.scope_id, d.student_id, d.school_ids, d.from_on, d.until_on
    FROM different AS d WHERE d.id IS NULL
    ON CONFLICT DO NOTHING RETURNING team_id)
SELECT w.team_id, count(*) FROM (SELECT c.team_id FROM changed AS c UNION ALL SELECT a.team_id FROM added AS a) AS w
GROUP BY w.team_id ORDER BY w.team_id"""
"""Writes the rows of `DIFFERENT` to `team_student`.

The ids of the rows to update are given as an array, because PostgreSQL then finds these rows by their key, whatever
the statistics say.
"""
MEMBERS_GONE: Final = text(
    """UPDATE team_member AS m SET until_on = greatest(m.from_on, CAST(:today AS date)), version = m.version + 1
       FROM person AS p
       WHERE m.district_id = :district AND p.district_id = :district AND p.id = m.person_id
         AND p.removed_at IS NOT NULL AND (m.until_on IS NULL OR m.until_on > greatest(m.from_on, :today))
       RETURNING m.team_id"""
).bindparams(bindparam("district", type_=Uuid), bindparam("today", type_=Date))


@dataclass(frozen=True, slots=True)
class Only:
    """Limits an update of `team_student` to one team or to one scope.

    If neither is set, the whole district is updated.
    """

    team_id: UUID | None = None
    scope_id: UUID | None = None

    def conditions(self) -> dict[str, str]:
        """Returns two SQL conditions that select the rows to be updated.

        `of_scope` is a condition on scopes, and `of_row` is a condition on rows of `team_student`. Both are empty if
        all rows of the district are to be updated.
        """
        if self.scope_id is not None:
            return {"of_scope": " AND s.id = :only", "of_row": " AND m.scope_id = :only"}
        if self.team_id is not None:
            return {"of_scope": " AND s.team_id = :only", "of_row": " AND m.team_id = :only"}
        return {"of_scope": "", "of_row": ""}


DISTRICT_WIDE: Final = Only()


def select_differing_students(only: Only = DISTRICT_WIDE) -> str:
    """Returns an SQL query for the ids of the students whose rows in `team_student` are wrong and must change.

    The parameters of the query are `:district`, `:today` and, unless `only` is `DISTRICT_WIDE`, `:only`.
    """
    different = DIFFERENT.format(expected=EXPECTED, **only.conditions())
    return f"WITH {different}\nSELECT DISTINCT d.student_id FROM different AS d"


@needs(Can.SYNC_ROSTER)
async def follow_roster(work: Work) -> int:
    """Updates the students of all teams after the roster has changed. Ends the memberships of staff who have left.

    Records an event for each team that changed. Returns how many rows of `team_student` were written. The calling sync
    has already locked these students.
    """
    await lock_team_students(work)
    today = await today_of(work)
    left = set(await work.db.scalars(MEMBERS_GONE, {"district": work.district_id, "today": today}))
    written = await _write(work, today, DISTRICT_WIDE)
    is_changed = Team.id == any_(cast([*left, *written], IdList))
    teams = await work.db.execute(
        select(Team.id, Team.version, Team.school_id).where(Team.district_id == work.district_id, is_changed)
    )
    for team_id, version, school_id in sorted(teams):
        if team_id in left:
            emit_team_event(work, TEAM_MEMBERS_CHANGED, team_id, version, school_id)
        if team_id in written:
            emit_team_event(work, TEAM_STUDENTS_CHANGED, team_id, version, school_id)
    return sum(written.values())


@needs(Can.SYNC_ROSTER)
async def count_out_of_step(work: Work) -> int:
    """Returns the number of students whose rows in `team_student` are wrong.

    They are wrong if they differ from what the teams' scopes and the roster require.
    """
    sql = f"SELECT count(*) FROM ({select_differing_students()}) AS d"
    values = _values(work, await today_of(work), DISTRICT_WIDE)
    return int(await work.db.scalar(_statement(sql, DISTRICT_WIDE), values) or 0)


async def lock_served_students(work: Work, only: Only) -> None:
    """Locks the students of a team or of a scope, before their rows in `team_student` are written.

    These are the students whom a scope names and the students whom the team serves. The lock is needed because a sync
    that moves one of these students writes the same rows. The function may read all students of the district. It checks
    no permission itself, because the calling command has checked one.
    """
    is_scope = TeamScope.id == only.scope_id if only.team_id is None else TeamScope.team_id == only.team_id
    is_row = TeamStudent.scope_id == only.scope_id if only.team_id is None else TeamStudent.team_id == only.team_id
    named = select(TeamScope.student_id).where(
        TeamScope.district_id == work.district_id, is_scope, TeamScope.student_id.is_not(None)
    )
    async with work.as_district("team students"):
        lasts = lasts_beyond(TeamStudent, await today_of(work))
        served = select(TeamStudent.student_id).where(TeamStudent.district_id == work.district_id, is_row, lasts)
        await lock_students(work, {*await work.db.scalars(named), *await work.db.scalars(served)})


async def follow_scopes(work: Work, today: date, only: Only) -> None:
    """Updates the rows in `team_student` of a team or a scope that has just changed.

    The function may read and write rows about all students of the district, as a sync does, because a class may have
    students from schools that the caller cannot see. It checks no permission itself, because the calling command has
    checked one.

    The students whose rows must change are locked first. A second lock then keeps syncs from writing such rows. A sync
    may have committed before this lock was taken, so the students are determined once more, and those who are new are
    locked too.
    """
    async with work.as_district("team students"):
        differing = await _differing(work, today, only)
        # A transaction that has locked students does not wait for further locks, whose order may be wrong.
        await (lock_newcomers if work.locked_students else lock_students)(work, differing)
        await lock_team_students(work)
        await lock_newcomers(work, await _differing(work, today, only))
        await _write(work, today, only)


def emit_team_event(work: Work, type_: EventType, team_id: UUID, version: int, school_id: UUID | None) -> None:
    """Records an event about a team."""
    schools = () if school_id is None else (school_id,)
    record(work, NewEvent(type_, team_id, version, {"team": team_id}, school_ids=schools))


async def lock_team_students(work: Work) -> None:
    """Makes other transactions that write the students of this district's teams wait until this transaction ends."""
    await work.db.execute(WAIT_FOR_LOCK, {"district": work.district_id, "name": DistrictLock.TEAM_STUDENTS})


async def _differing(work: Work, today: date, only: Only) -> set[UUID]:
    values = _values(work, today, only)
    return set(await work.db.scalars(_statement(select_differing_students(only), only), values))


async def _write(work: Work, today: date, only: Only) -> dict[UUID, int]:
    """Corrects the wrong rows of `team_student`, and returns how many were written, keyed by team."""
    sql = WRITE.format(different=DIFFERENT.format(expected=EXPECTED, **only.conditions()))
    salt = new_id().hex
    values = _values(work, today, only) | {"salt": salt, "stamp": f"{salt[:12]}7"}
    statement = _statement(sql, only).bindparams(bindparam("salt", type_=Text), bindparam("stamp", type_=Text))
    rows = await work.db.execute(statement, values)
    return {team_id: count for team_id, count in rows}  # noqa: C416  # rows are no tuples to mypy


def _values(work: Work, today: date, only: Only) -> dict[str, Any]:
    values: dict[str, Any] = {"district": work.district_id, "today": today}
    only_id = only.scope_id or only.team_id
    return values if only_id is None else values | {"only": only_id}


def _statement(sql: str, only: Only) -> TextClause:
    parameters: Collection[Any] = [bindparam("district", type_=Uuid), bindparam("today", type_=Date)]
    if only != DISTRICT_WIDE:
        parameters = [*parameters, bindparam("only", type_=Uuid)]
    return text(sql).bindparams(*parameters)
