"""Fills a team of 120 students with a year of data, to measure agendas and lists of what is due (`bench.teams`)."""

from __future__ import annotations

from datetime import date
from typing import Final
from uuid import UUID

from sqlalchemy import text

from app.access.permission import Can
from app.access.work import Work, needs

STUDENTS: Final = 120
WEEKS: Final = 36
_STUDENT: Final = "CAST(md5('student' || n) AS uuid)"
_SCHOOL: Final = "CAST(md5('school0') AS uuid)"
_SUPPORT: Final = "CAST(md5('support' || n) AS uuid)"
ROWS: Final = (
    f"""INSERT INTO team (district_id, id, name, purpose, school_id, state, formed_on, created_at, version)
        VALUES (:district, :team, 'Grade team', 'grade', {_SCHOOL}, 'active', :today, now(), 1)""",
    f"""INSERT INTO team_scope (district_id, id, team_id, team_school_id, kind, served_school_id, grade, school_ids,
                                from_on, version)
        VALUES (:district, :team, :team, {_SCHOOL}, 'grade', {_SCHOOL}, '01', '{{}}', :today, 1)""",
    f"""INSERT INTO team_student (district_id, id, student_id, school_ids, team_id, team_school_id, scope_id, from_on)
        SELECT :district, gen_random_uuid(), {_STUDENT}, ARRAY[{_SCHOOL}], :team, {_SCHOOL}, :team,
               CAST(:today AS date) - 200
        FROM generate_series(1, :students) AS n""",
    f"""INSERT INTO concern (district_id, id, student_id, school_ids, area_id, state, description, raised_on,
                             unserved_since, created_at, version)
        SELECT :district, gen_random_uuid(), {_STUDENT}, ARRAY[{_SCHOOL}], a.id,
               CASE n % 4 WHEN 0 THEN 'raised' WHEN 1 THEN 'accepted' ELSE 'resolved' END, '',
               CAST(:today AS date) - 40, CASE WHEN n % 8 = 1 THEN CAST(:today AS date) - 30 END, now(), 1
        FROM generate_series(1, :students) AS n, area AS a
        WHERE a.district_id = :district AND a.code = 'ela.fluency'""",
    f"""INSERT INTO phase (district_id, id, student_id, school_ids, support_id, number, level_id, begins_on, baseline,
                           goal, goal_on, minutes_per_session, sessions_per_week, because)
        SELECT :district, s.id, s.student_id, s.school_ids, s.id, 1, s.level_id, CAST(:today AS date) - 250, 40, 90,
               CAST(:today AS date) + CASE WHEN n % 40 = 0 THEN -3 ELSE 10 END, 30, 3, ''
        FROM generate_series(10, :students, 10) AS n
        JOIN support AS s ON s.district_id = :district AND s.id = {_SUPPORT}
        """,
    f"""INSERT INTO verdict (district_id, id, student_id, school_ids, support_id, phase_id, measure_id, number, state,
                             because, sentence, required_rate, rule, rule_version, parameters, score_ids,
                             playbook_version_id, judged_at)
        SELECT :district, s.id, s.student_id, s.school_ids, s.id, s.id, s.measure_id, 1,
               CASE n % 20 WHEN 0 THEN 'not_responding' ELSE 'goal_met' END, '[]', '', 1, 'r', 1, '{{}}', '{{}}',
               s.playbook_version_id, now()
        FROM generate_series(10, :students, 10) AS n
        JOIN support AS s ON s.district_id = :district AND s.id = {_SUPPORT}
        """,
    f"""INSERT INTO response_state (district_id, student_id, school_ids, support_id, verdict_id, verdict_ids, state,
                                    since, since_on)
        SELECT :district, v.student_id, v.school_ids, v.support_id, v.id, ARRAY[v.id], v.state,
               now() - interval '20 days', CAST(:today AS date) - 20
        FROM generate_series(10, :students, 10) AS n
        JOIN verdict AS v ON v.district_id = :district AND v.id = {_SUPPORT}
        """,
    f"""INSERT INTO score (district_id, id, student_id, school_ids, measure_id, purpose, taken_on, attempt, value,
                           recorded_at, version)
        SELECT :district, gen_random_uuid(), {_STUDENT}, ARRAY[{_SCHOOL}], m.id, 'progress',
               CAST(:today AS date) - 30 - 7 * w, 1, 40 + w, now(), 1
        FROM generate_series(1, :students) AS n, generate_series(1, :weeks) AS w, measure AS m
        WHERE m.district_id = :district AND m.code = 'orf'""",
)
"""The statements that fill the team. They use the students and supports of `bench.teams`."""
OF_TEACHER: Final = (
    f"""INSERT INTO person (district_id, id, role, is_student, given_name, family_name, enabled, grades, school_ids,
                            user_ids, agent_sourced_ids, pinned)
        VALUES (:district, :team, 'teacher', false, 'A', 'B', true, '{{}}', ARRAY[{_SCHOOL}], '{{}}', '{{}}',
                '{{}}')""",
    """UPDATE support AS s SET lead_id = :team
       WHERE s.district_id = :district AND s.student_id = ANY (CAST(:students AS uuid[]))""",
    f"""INSERT INTO action_item (district_id, id, team_id, team_school_id, student_id, school_ids, text, owner_id,
                                 due_on, state, agreed_on, created_at, version)
        SELECT :district, gen_random_uuid(), :team, {_SCHOOL}, s, ARRAY[{_SCHOOL}], 'Call.', :team,
               CAST(:today AS date) + 3, 'open', :today, now(), 1
        FROM unnest(CAST(:students AS uuid[])) AS s""",
)
"""The statements that give the team a teacher, who leads its supports and owns its action items. Both have one id."""


@needs(Can.SYNC_ROSTER)
async def fill_team(work: Work, team_id: UUID, today: date) -> None:
    """Fills the team with its students, their concerns, supports, verdicts, and scores of a year."""
    values = {"district": work.district_id, "team": team_id, "today": today, "students": STUDENTS, "weeks": WEEKS}
    for sql in ROWS:
        statement = text(sql)
        await work.db.execute(statement, {name: values[name] for name in statement._bindparams})


@needs(Can.SYNC_ROSTER)
async def fill_teacher(work: Work, team_id: UUID, today: date) -> tuple[UUID, ...]:
    """Creates a teacher who leads the supports and owns the action items of a team's students.

    The teacher has the same id as the team. Returns the students.
    """
    of_team = text("SELECT student_id FROM team_student WHERE district_id = :district AND team_id = :team")
    given = {"district": work.district_id, "team": team_id}
    students = list(await work.db.scalars(of_team, given))
    values = {**given, "today": today, "students": students}
    for sql in OF_TEACHER:
        statement = text(sql)
        await work.db.execute(statement, {name: values[name] for name in statement._bindparams})
    return tuple(students)
