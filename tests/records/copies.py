"""Finds the tables that copy a student's schools, and compares each copy with the student's row."""

from tests.sis.roster_zip import ask
from tests.town import Town

WITHOUT_COPY = {"event", "disclosure"}
"""Tables whose rows keep the schools of the time at which they were written."""
COPIES = """SELECT c.relname FROM pg_class c
    JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = 'school_ids'
    JOIN pg_attribute s ON s.attrelid = c.oid AND s.attname = 'student_id'
    WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p')"""


async def rows_out_of_step(town: Town) -> dict[str, int]:
    """Returns the number of rows in each table whose copy of the student's schools is wrong."""
    tables = {name: "student_id" for (name,) in await ask(town, COPIES) if name not in WITHOUT_COPY}
    rows_by_table = {}
    for table, student in sorted((tables | {"demographics": "person_id"}).items()):
        ((count,),) = await ask(
            town,
            f"""SELECT count(*) FROM {table} t JOIN person p ON p.district_id = :district AND p.id = t.{student}
                WHERE t.district_id = :district AND t.school_ids IS DISTINCT FROM p.school_ids""",
        )
        if count:
            rows_by_table[table] = count
    return rows_by_table
