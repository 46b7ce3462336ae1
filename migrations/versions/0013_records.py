"""Whoever writes about a student locks the student's row; lists by school and by caseload are served by btrees.

A caseload is bound in sixteen parts. Rows about a student name the student's first three schools in columns of their
own, generated from `school_ids`, since an index on the array cannot serve a list under row-level security.
"""

from alembic import op

from migrations.tenant import roles

revision = "0013"
down_revision = "0012"

ENTER = """
CREATE OR REPLACE FUNCTION app.enter(district uuid, reach text, schools text, students text, opens text)
RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    parts text[] := string_to_array(students, '|');
BEGIN
    EXECUTE format('SET LOCAL app.district_id = %L', district::text);
    EXECUTE format('SET LOCAL app.reach = %L', reach);
    EXECUTE format('SET LOCAL app.schools = %L', schools);
    IF reach = 'caseload' THEN
        FOR digit IN 0..15 LOOP
            EXECUTE format('SET LOCAL app.students_%s = %L', to_hex(digit), parts[digit + 1]);
        END LOOP;
    END IF;
    EXECUTE format('SET LOCAL app.opens = %L', opens);
END $$
"""
BIND_IN_PARTS = r"""
DO $$
DECLARE
    one record;
    condition text;
BEGIN
    FOR one IN SELECT c.relname, p.polname, pg_get_expr(p.polqual, p.polrelid) AS condition
               FROM pg_policy AS p JOIN pg_class AS c ON c.oid = p.polrelid
               WHERE strpos(pg_get_expr(p.polqual, p.polrelid), '''app.students''') > 0 LOOP
        condition := regexp_replace(one.condition, 'current_setting\(''app\.students''::text, true\), \((\w+)\)::text',
                                    'current_setting(''app.students_'' || right((\1)::text, 1), true), (\1)::text');
        EXECUTE format('ALTER POLICY %1$I ON %2$I USING (%3$s) WITH CHECK (%3$s)', one.polname, one.relname, condition);
    END LOOP;
END $$
"""
"""Policies that look through the whole caseload look through a part of it."""
LISTED = {
    "concern": ("id",),
    "support": ("id",),
    "score": ("id",),
    "decision": ("id",),
    "person": ("family_name", "given_name", "id"),
}
"""The tables that are listed by school, and the order of their lists."""
SCHOOLS = {
    "school_id": "school_ids[1]",
    "second_school_id": "school_ids[2]",
    "third_school_id": "school_ids[3]",
}


def upgrade() -> None:
    # To lock a row one needs the right to update a column of it. This one can hold nothing: the api may lock people,
    # and change nothing of them.
    op.execute("ALTER TABLE person ADD COLUMN row_lock boolean")
    op.execute("ALTER TABLE person ADD CONSTRAINT person_row_lock_check CHECK (row_lock IS NULL)")
    op.execute(f'GRANT UPDATE (row_lock) ON person TO "{roles()["api"]}"')
    op.execute("ALTER TABLE sis_run ADD COLUMN repaired jsonb NOT NULL DEFAULT '{}'")
    op.execute("ALTER TABLE sis_run ALTER COLUMN repaired DROP DEFAULT")
    op.execute(ENTER)
    op.execute(BIND_IN_PARTS)
    for table, order in LISTED.items():
        _index_by_school(table, ", ".join(order))


def _index_by_school(table: str, order: str) -> None:
    columns = [f"ADD COLUMN {name} uuid GENERATED ALWAYS AS ({value}) STORED" for name, value in SCHOOLS.items()]
    more = "CASE WHEN cardinality(school_ids) > 3 THEN true END"
    columns.append(f"ADD COLUMN has_more_schools boolean GENERATED ALWAYS AS ({more}) STORED")
    op.execute(f"ALTER TABLE {table} {', '.join(columns)}")
    op.execute(f"CREATE INDEX {table}_school_idx ON {table} (district_id, school_id, {order})")
    for which in ("second", "third"):
        column = f"{which}_school_id"
        op.execute(
            f"CREATE INDEX {table}_{which}_school_idx ON {table} (district_id, {column}, {order}) "
            f"WHERE {column} IS NOT NULL"
        )
    op.execute(
        f"CREATE INDEX {table}_more_schools_idx ON {table} (district_id, {order}) WHERE has_more_schools IS TRUE"
    )
