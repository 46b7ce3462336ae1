"""Builds the SQL conditions of the row-level security policies for every kind of table.

Tests compare these conditions with the database's catalogue. The migrations contain them as frozen text, so a change
here also needs a migration.

Each table has one permissive policy for each role. It joins all conditions with AND, and contains no subquery and no
function that reads a table. (A RESTRICTIVE policy would expose other districts' rows on a sharded server.)
"""

DISTRICT = "district_id = nullif(current_setting('app.district_id', true), '')::uuid"
_REACH = "current_setting('app.reach', true)"
_SCHOOLS = "nullif(current_setting('app.schools', true), '')::uuid[]"
# The caseload is text, because parsing 150 ids into an array for every row costs thirty times as much as searching the
# text. It is split into sixteen parts by an id's last digit, so that each row searches a sixteenth of the caseload.
_STUDENTS = "current_setting('app.students_' || right({student}::text, 1), true)"
_OPENS = "nullif(current_setting('app.opens', true), '')::text[]"


_TEAMS = "nullif(current_setting('app.teams', true), '')::uuid[]"


def reaches(student: str, schools: str = "school_ids") -> str:
    """Returns the SQL condition that the transaction's principal may see a student.

    `student` is the column of the student's id, and `schools` an expression for the student's schools. A principal sees
    all students of the district, the students of some schools, or only the students in a list (a caseload). A principal
    for some schools may also have a list, for a person who sees students of other schools through a team.
    """
    return (
        f"({_REACH} = 'district'"
        f" OR ({_REACH} = 'schools' AND {schools} && {_SCHOOLS})"
        f" OR ({_REACH} IN ('schools', 'caseload')"
        f" AND strpos({_STUDENTS.format(student=student)}, {student}::text) > 0))"
    )


def sees_team(team: str, school: str) -> str:
    """Returns the SQL condition that the transaction's principal may see a team.

    The principal sees the teams of its district or schools. If it acts for a person, it also sees the teams of which
    the person is a member.
    """
    return (
        f"({_REACH} = 'district' OR ({_REACH} = 'schools' AND {school} = ANY ({_SCHOOLS})) OR {team} = ANY ({_TEAMS}))"
    )


def unlocks(lock: str) -> str:
    """Returns the SQL condition that the transaction's principal has access to the secured area of a row.

    A secured area, such as counselling, needs a permission of its own. `lock` is the column with the row's secured
    area; where it is null, the condition is true.
    """
    return f"({lock} IS NULL OR {lock} = ANY ({_OPENS}) OR '*' = ANY ({_OPENS}))"


def policy(
    *,
    student: str | None = None,
    schools: str = "school_ids",
    unless: str | None = None,
    lock: str | None = None,
    team: tuple[str, str] | None = None,
) -> str:
    """Returns the condition of a table's row-level security policy.

    * `student` is the column of the student that a row is about, or None.
    * `schools` is an expression for that student's schools.
    * `unless` is None, or a condition that is true for rows about no student, such as the rows of staff. Every
      principal of the district sees such rows.
    * `lock` is an expression for the row's secured area, which may be null.
    * `team` is a pair of columns, or None: the team that a row belongs to, and the school of that team.
    """
    parts = [DISTRICT]
    if team is not None:
        parts.append(sees_team(*team))
    if student is not None:
        reach = reaches(student, schools)
        parts.append(f"({unless} OR {reach})" if unless else reach)
    if lock is not None:
        parts.append(unlocks(lock))
    return " AND ".join(parts)
