"""Creates the district of the benchmark: 10,000 students in ten schools, and a teacher who leads 150 supports."""

from dataclasses import dataclass
from uuid import UUID

import asyncpg

from app.access.principal import Reach
from app.cli.district import open_district
from app.core.db import open_engine
from app.settings import Settings

STUDENTS, SCHOOLS, DETAILED, CASELOAD = 10_000, 10, 300, 150
"""Students, schools, the students who have concerns, supports and scores, and the students whom the teacher serves."""
FILL = """
INSERT INTO org (district_id, id, name, type) SELECT $1, md5('school' || n)::uuid, 'School ' || n, 'school'
FROM generate_series(1, {schools}) n;
INSERT INTO person (district_id, id, role, is_student, given_name, family_name, enabled, grades, school_ids, user_ids,
                    agent_sourced_ids, pinned)
SELECT $1, md5('teacher')::uuid, 'teacher', false, 'Tess', 'Teacher', true, '{{}}', ARRAY[md5('school1')::uuid],
       '{{}}', '{{}}', '{{}}';
INSERT INTO person (district_id, id, role, is_student, given_name, family_name, enabled, grades, school_ids, user_ids,
                    agent_sourced_ids, pinned)
SELECT $1, md5('student' || n)::uuid, 'student', true, 'Given' || n, 'Family' || lpad(n::text, 5, '0'), true, '{{03}}',
       ARRAY[md5('school' || 1 + n % {schools})::uuid], '{{}}', '{{}}', '{{}}'
FROM generate_series(1, {students}) n;
INSERT INTO concern (district_id, id, student_id, school_ids, area_id, state, description, raised_on, created_at,
                     version)
SELECT $1, md5('concern' || n || '-' || k)::uuid, p.id, p.school_ids, a.id, 'raised', 'Reads slowly.', current_date,
       now(), 1
FROM generate_series(1, {detailed}) n CROSS JOIN generate_series(1, 2) k
JOIN person p ON p.district_id = $1 AND p.id = md5('student' || n)::uuid
JOIN (SELECT id FROM area WHERE district_id = $1 ORDER BY code LIMIT 1) a ON true;
INSERT INTO support (district_id, id, student_id, school_ids, intervention, area_id, level_id, measure_id, state,
                     lead_id, starts_on, playbook_version_id, created_at, version)
SELECT $1, md5('support' || n || '-' || k)::uuid, p.id, p.school_ids, 'Reading', m.area_id, l.id, m.id, 'active',
       CASE WHEN n <= {caseload} THEN md5('teacher')::uuid END, current_date - 60, v.id, now(), 1
FROM generate_series(1, {detailed}) n CROSS JOIN generate_series(1, 2) k
JOIN person p ON p.district_id = $1 AND p.id = md5('student' || n)::uuid
JOIN (SELECT id, area_id FROM measure WHERE district_id = $1 ORDER BY code LIMIT 1) m ON true
JOIN (SELECT id FROM level WHERE district_id = $1 ORDER BY rank LIMIT 1) l ON true
JOIN (SELECT id FROM playbook_version WHERE district_id = $1 ORDER BY number DESC LIMIT 1) v ON true;
INSERT INTO caseload (district_id, staff_id, student_id, via, support_id, school_ids)
SELECT $1, lead_id, student_id, 'lead', id, school_ids FROM support WHERE district_id = $1 AND lead_id IS NOT NULL;
INSERT INTO score (district_id, id, student_id, school_ids, measure_id, purpose, taken_on, attempt, value, recorded_at,
                   version)
SELECT $1, md5('score' || n || '-' || k)::uuid, p.id, p.school_ids, m.id, 'progress', current_date - 7 * k, 1, 40 + k,
       now(), 1
FROM generate_series(1, {detailed}) n CROSS JOIN generate_series(1, 10) k
JOIN person p ON p.district_id = $1 AND p.id = md5('student' || n)::uuid
JOIN (SELECT id FROM measure WHERE district_id = $1 ORDER BY code LIMIT 1) m ON true
"""


@dataclass(frozen=True, slots=True)
class Made:
    """The district and its people."""

    district_id: UUID
    teacher_id: UUID
    student_ids: list[UUID]
    """The first students, those of the teacher first."""

    def caseload(self, reach: Reach) -> tuple[UUID, ...]:
        """Returns the ids of the students in the teacher's caseload if `reach` is `CASELOAD`, and otherwise no ids."""
        return tuple(self.student_ids[:CASELOAD]) if reach is Reach.CASELOAD else ()


async def make_district(settings: Settings) -> Made:
    """Makes the district in a migrated database, and returns it with its first students."""
    worker = open_engine(settings.url_of("worker"), name="bench worker")
    district_id = await open_district(worker, settings.keyring, "bench", "Bench", "UTC")
    await worker.dispose()
    connection = await asyncpg.connect(settings.url_of("owner"))
    sizes = {"students": STUDENTS, "schools": SCHOOLS, "detailed": DETAILED, "caseload": CASELOAD}
    for statement in FILL.format(**sizes).replace("$1", f"'{district_id}'").split(";\n"):
        await connection.execute(statement)
    await connection.execute("VACUUM ANALYZE")
    teacher_id = await connection.fetchval("SELECT md5('teacher')::uuid")
    rows = await connection.fetch("SELECT md5('student' || n)::uuid FROM generate_series(1, 200) n")
    await connection.close()
    return Made(district_id, teacher_id, [row[0] for row in rows])
