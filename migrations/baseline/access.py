"""Creates the schemas, the function that binds a principal, and the tables of districts, clients and disclosures."""

from alembic import op

from migrations.tenant import add_references, directory_function, distribute, grant, roles, tenant_table

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

# Each subquery names `asked`: on Citus a correlated subquery next to a table that is on every node is refused.
#
# `pg_temp` must be named, and last: PostgreSQL searches it first where it is not named, and then a temporary view of
# the caller takes a table's place. Without `public` a table without its schema is an error when a function is made.
CLIENT_DIRECTORY = """
CREATE FUNCTION app.client_directory(asked uuid)
RETURNS TABLE (name text, fingerprints text[], grants jsonb)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT c.name,
           ARRAY (SELECT s.fingerprint FROM public.client_secret s
                  WHERE s.client_id = asked AND s.revoked_at IS NULL),
           coalesce((SELECT jsonb_agg(jsonb_build_object(
                        'district_id', g.district_id, 'slug', d.slug,
                        'scopes', g.scopes, 'school_ids', g.school_ids) ORDER BY d.slug)
                     FROM public.client_grant g
                     JOIN public.district d ON d.district_id = g.district_id
                     WHERE g.client_id = asked), '[]'::jsonb)
    FROM public.client c WHERE c.client_id = asked
$$
"""

DISTRICT_DIRECTORY = """
CREATE FUNCTION app.district_directory(asked text) RETURNS uuid
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT d.district_id FROM public.district d WHERE d.slug = asked
$$
"""


def create_schemas() -> None:
    """Creates the schemas, and the function that sets the caller of a transaction for row-level security."""
    api, worker = roles()["api"], roles()["worker"]
    op.execute("CREATE SCHEMA app")
    op.execute("CREATE SCHEMA staging")
    op.execute(f'GRANT USAGE ON SCHEMA app, public TO "{api}", "{worker}"')
    op.execute(f'GRANT USAGE, CREATE ON SCHEMA staging TO "{worker}"')
    op.execute(ENTER)


def create_tables() -> None:
    """Creates the tables of districts, clients and disclosures.

    Also creates the functions that read them before the district of a request is known.
    """
    tenant_table(
        "district",
        "slug text NOT NULL CONSTRAINT district_slug_key UNIQUE, name text NOT NULL, "
        "time_zone text NOT NULL, created_at timestamptz NOT NULL",
        key=(),
        api="SELECT",
    )
    # There is a row for each purpose that only one transaction of a district may have at a time; it locks the row.
    tenant_table("district_lock", "name text NOT NULL", key=("name",), refs={"district_id": "district"})
    op.execute(
        "CREATE TABLE client (client_id uuid NOT NULL, name text NOT NULL, created_at timestamptz NOT NULL, "
        "CONSTRAINT client_pkey PRIMARY KEY (client_id))"
    )
    op.execute(
        "CREATE TABLE client_secret (client_id uuid NOT NULL, fingerprint text NOT NULL, "
        "created_at timestamptz NOT NULL, revoked_at timestamptz, "
        "CONSTRAINT client_secret_pkey PRIMARY KEY (client_id, fingerprint))"
    )
    # Clients are never changed. The privilege is for Citus, where writing a secret locks the client on every node.
    grant("SELECT, INSERT, UPDATE", "client", "worker")
    grant("SELECT, INSERT, UPDATE", "client_secret", "worker")
    distribute("client")
    distribute("client_secret")
    add_references("client_secret", {"client_id": "client"})
    tenant_table(
        "client_grant",
        "client_id uuid NOT NULL, scopes text[] NOT NULL, school_ids uuid[] NOT NULL, created_at timestamptz NOT NULL",
        key=("client_id",),
        refs={"district_id": "district", "client_id": "client"},
        api="SELECT",
    )
    directory_function(CLIENT_DIRECTORY, "app.client_directory(uuid)", "api", "worker")
    directory_function(DISTRICT_DIRECTORY, "app.district_directory(text)", "api", "worker")
    tenant_table(
        "disclosure",
        """
        at timestamptz NOT NULL,
        client_id uuid,
        person_id uuid,
        principal text NOT NULL,
        operation text NOT NULL,
        student_ids uuid[] NOT NULL,
        kinds text[] NOT NULL
        """,
        refs={"district_id": "district"},
        indexes=(("at",),),
        api="SELECT, INSERT",
        worker="SELECT, INSERT",
    )
