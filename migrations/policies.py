"""Defines the conditions of row-level security as SQL, for the migrations.

The file is frozen: a policy changes by a new migration. A table has one permissive policy for the run-time roles, which
joins its conditions with AND. The policy contains no subquery and no function that reads a table. On a sharded server a
RESTRICTIVE policy would make other districts' rows visible.
"""

DISTRICT = "district_id = nullif(current_setting('app.district_id', true), '')::uuid"
SECURED = (
    "({lock} IS NULL OR {lock} = ANY (nullif(current_setting('app.opens', true), '')::text[])"
    " OR '*' = ANY (nullif(current_setting('app.opens', true), '')::text[]))"
)
"""SQL that is true if the bound principal may access the row's secured area, or if the row has none."""
REACHED = (
    "(current_setting('app.reach', true) = 'district'"
    " OR (current_setting('app.reach', true) = 'schools'"
    " AND {schools} && nullif(current_setting('app.schools', true), '')::uuid[])"
    " OR (current_setting('app.reach', true) IN ('schools', 'caseload')"
    " AND strpos(current_setting('app.students_' || right({student}::text, 1), true), {student}::text) > 0))"
)
"""SQL that is true if the student is within the bound principal's reach.

The reach is the district, some schools, or named students: a caseload, or the students of teams at other schools.
Before 0014 only a caseload named students, so that the condition compared the reach with `caseload` alone; 0014 puts
this condition in the place of that one, and the revisions before it have the same effect with either.
"""
TEAM = (
    "(current_setting('app.reach', true) = 'district'"
    " OR (current_setting('app.reach', true) = 'schools'"
    " AND {school} = ANY (nullif(current_setting('app.schools', true), '')::uuid[]))"
    " OR {team} = ANY (nullif(current_setting('app.teams', true), '')::uuid[]))"
)
"""SQL that is true if the bound principal may see a team: the whole district, the team's school, or a membership."""


def condition_of(
    student: str | None,
    schools: str,
    unless: str | None,
    lock: str | None,
    team: tuple[str, str] | None = None,
) -> str:
    """Returns the condition of a tenant table's policy.

    `student` is the column of the student whom a row is about, and `schools` is an expression for that student's
    schools. `unless` is a condition under which the row is about no student. `lock` is an expression for the secured
    area or null. `team` has the columns of the team that a row belongs to and of that team's school.
    """
    parts = [DISTRICT]
    if team is not None:
        parts.append(TEAM.format(team=team[0], school=team[1]))
    if student is not None:
        reached = REACHED.format(student=student, schools=schools)
        parts.append(f"({unless} OR {reached})" if unless else reached)
    if lock is not None:
        parts.append(SECURED.format(lock=lock))
    return " AND ".join(parts)
