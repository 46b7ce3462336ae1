"""Adds teams, their members, their scopes, and the students whom they serve. Members can see these students.

A person who sees some schools may see students of other schools through a team. Therefore the policies of all tables
about students also look for the student among those whom a person sees individually.
"""

from alembic import op

from migrations.tenant import student_table, tenant_table

revision = "0014"
down_revision = "0013"

ENTER = """
CREATE FUNCTION app.enter(district uuid, reach text, schools text, students text, opens text, teams text)
RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    parts text[] := string_to_array(students, '|');
BEGIN
    EXECUTE format('SET LOCAL app.district_id = %L', district::text);
    EXECUTE format('SET LOCAL app.reach = %L', reach);
    EXECUTE format('SET LOCAL app.schools = %L', schools);
    IF students <> '' THEN
        FOR digit IN 0..15 LOOP
            EXECUTE format('SET LOCAL app.students_%s = %L', to_hex(digit), parts[digit + 1]);
        END LOOP;
    END IF;
    EXECUTE format('SET LOCAL app.opens = %L', opens);
    EXECUTE format('SET LOCAL app.teams = %L', teams);
END $$
"""
FOLLOW = """
DO $$
DECLARE
    p record;
    former constant text := '(current_setting(''app.reach''::text, true) = ''caseload''::text)';
    present constant text :=
        '(current_setting(''app.reach''::text, true) = ANY (ARRAY[''schools''::text, ''caseload''::text]))';
BEGIN
    FOR p IN SELECT n.schemaname, n.tablename, replace(n.qual, former, present) AS condition
             FROM pg_policies AS n WHERE n.policyname = 'tenant' AND position(former IN n.qual) > 0 LOOP
        EXECUTE format('ALTER POLICY tenant ON %I.%I USING (%s) WITH CHECK (%s)',
                       p.schemaname, p.tablename, p.condition, p.condition);
    END LOOP;
END $$
"""
"""Puts the present condition of reach in the place of the former one, in every policy that has that one."""
OF_TEAM = "team_id uuid NOT NULL, team_school_id uuid"
"""The team of a row and its school. A team never moves to another school."""


def upgrade() -> None:
    # The function with five arguments stays for processes of the former version, which run during the upgrade.
    op.execute(ENTER)
    op.execute(FOLLOW)
    tenant_table(
        "team",
        """
        name text NOT NULL,
        purpose text NOT NULL,
        school_id uuid,
        state text NOT NULL,
        formed_by uuid,
        formed_on date NOT NULL,
        archived_on date,
        created_at timestamptz NOT NULL,
        updated_at timestamptz NOT NULL DEFAULT now(),
        version integer NOT NULL
        """,
        refs={"district_id": "district", "school_id": "org", "formed_by": "person"},
        indexes=(("school_id", "id"), ("state", "id"), ("purpose", "id"), ("updated_at", "id")),
        team=("id", "school_id"),
    )
    tenant_table(
        "team_member",
        f"""
        {OF_TEAM},
        person_id uuid NOT NULL,
        role text NOT NULL,
        from_on date NOT NULL,
        until_on date,
        version integer NOT NULL
        """,
        refs={"team_id": "team", "person_id": "person"},
        indexes=(("team_id", "id"), ("person_id", "id")),
        team=("team_id", "team_school_id"),
    )
    tenant_table(
        "team_scope",
        f"""
        {OF_TEAM},
        kind text NOT NULL,
        served_school_id uuid,
        grade text,
        class_id uuid,
        student_id uuid,
        school_ids uuid[] NOT NULL,
        from_on date NOT NULL,
        until_on date,
        version integer NOT NULL
        """,
        refs={"team_id": "team", "served_school_id": "org", "class_id": "class", "student_id": "person"},
        indexes=(("team_id", "id"), ("student_id",)),
        student="student_id",
        unless="student_id IS NULL",
        team=("team_id", "team_school_id"),
    )
    student_table(
        "team_student",
        f"""
        {OF_TEAM},
        scope_id uuid NOT NULL,
        from_on date NOT NULL,
        until_on date
        """,
        refs={"team_id": "team", "scope_id": "team_scope"},
        uniques=(("scope_id", "student_id", "from_on"),),
        indexes=(("team_id", "id"),),
        team=("team_id", "team_school_id"),
    )
