"""Owns the row-level security of every kind of table, as SQL. The house's tests compare it with the database.

The migrations have a frozen text of their own: whoever changes a condition here also writes a migration.

One permissive policy for a table and role with AND inside, no subquery, no function that reads a table
(a RESTRICTIVE policy would open other districts' rows on a sharded server).
"""

DISTRICT = "district_id = nullif(current_setting('app.district_id', true), '')::uuid"
_REACH = "current_setting('app.reach', true)"
_SCHOOLS = "nullif(current_setting('app.schools', true), '')::uuid[]"
# As text: to read 150 ids into an array for every row costs thirty times what finding one in the text does. In sixteen
# parts, by the last digit of an id: a row then looks through a sixteenth of the caseload.
_STUDENTS = "current_setting('app.students_' || right({student}::text, 1), true)"
_OPENS = "nullif(current_setting('app.opens', true), '')::text[]"


def reaches(student: str, schools: str = "school_ids") -> str:
    """True where the bound principal reaches this student: the district, their schools, or their caseload."""
    return (
        f"({_REACH} = 'district'"
        f" OR ({_REACH} = 'schools' AND {schools} && {_SCHOOLS})"
        f" OR ({_REACH} = 'caseload' AND strpos({_STUDENTS.format(student=student)}, {student}::text) > 0))"
    )


def unlocks(lock: str) -> str:
    """True where the lock is open to the bound principal, or there is none."""
    return f"({lock} IS NULL OR {lock} = ANY ({_OPENS}) OR '*' = ANY ({_OPENS}))"


def policy(
    *,
    student: str | None = None,
    schools: str = "school_ids",
    unless: str | None = None,
    lock: str | None = None,
) -> str:
    """The condition of a tenant table.

    `student` names the column that holds the student a row is about, `schools` an expression for that student's
    schools, `unless` a condition under which the row is about no student (staff), `lock` an expression that names
    the secured area or is null.
    """
    parts = [DISTRICT]
    if student is not None:
        reach = reaches(student, schools)
        parts.append(f"({unless} OR {reach})" if unless else reach)
    if lock is not None:
        parts.append(unlocks(lock))
    return " AND ".join(parts)
