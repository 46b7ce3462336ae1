"""The house: schemas, the binding, districts, clients, the disclosure log, events."""

from alembic import op

from app.access.policies import ENTER
from migrations.tenant import grant, roles, tenant_table

revision = "0001"
down_revision = None

CLIENT_DIRECTORY = """
CREATE FUNCTION app.client_directory(asked uuid)
RETURNS TABLE (name text, fingerprints text[], grants jsonb)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public AS $$
    SELECT c.name,
           ARRAY (SELECT s.fingerprint FROM public.client_secret s
                  WHERE s.client_id = c.client_id AND s.revoked_at IS NULL),
           coalesce((SELECT jsonb_agg(jsonb_build_object(
                        'district_id', g.district_id, 'slug', d.slug,
                        'scopes', g.scopes, 'school_ids', g.school_ids) ORDER BY d.slug)
                     FROM public.client_grant g
                     JOIN public.district d ON d.district_id = g.district_id
                     WHERE g.client_id = c.client_id), '[]'::jsonb)
    FROM public.client c WHERE c.client_id = asked
$$
"""

DISTRICT_DIRECTORY = """
CREATE FUNCTION app.district_directory(asked text) RETURNS uuid
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public AS $$
    SELECT d.district_id FROM public.district d WHERE d.slug = asked
$$
"""


def upgrade() -> None:
    api, worker = roles()["api"], roles()["worker"]
    op.execute("CREATE SCHEMA app")
    op.execute("CREATE SCHEMA staging")
    op.execute(f'GRANT USAGE ON SCHEMA app, public TO "{api}", "{worker}"')
    op.execute(f'GRANT USAGE, CREATE ON SCHEMA staging TO "{worker}"')
    op.execute(ENTER)

    tenant_table(
        "district",
        "slug text NOT NULL CONSTRAINT district_slug_key UNIQUE, name text NOT NULL, "
        "time_zone text NOT NULL, created_at timestamptz NOT NULL",
        key=(),
        api="SELECT",
    )
    op.execute(
        "CREATE TABLE client (client_id uuid NOT NULL, name text NOT NULL, created_at timestamptz NOT NULL, "
        "CONSTRAINT client_pkey PRIMARY KEY (client_id))"
    )
    op.execute(
        "CREATE TABLE client_secret (client_id uuid NOT NULL, fingerprint text NOT NULL, "
        "created_at timestamptz NOT NULL, revoked_at timestamptz, "
        "CONSTRAINT client_secret_pkey PRIMARY KEY (client_id, fingerprint), "
        "CONSTRAINT client_secret_client_id_fkey FOREIGN KEY (client_id) REFERENCES client (client_id))"
    )
    grant("SELECT, INSERT", "client", "worker")
    grant("SELECT, INSERT, UPDATE", "client_secret", "worker")
    tenant_table(
        "client_grant",
        "client_id uuid NOT NULL, scopes text[] NOT NULL, school_ids uuid[] NOT NULL, created_at timestamptz NOT NULL, "
        "CONSTRAINT client_grant_client_id_fkey FOREIGN KEY (client_id) REFERENCES client (client_id)",
        key=("client_id",),
        refs={"district_id": "district"},
        api="SELECT",
    )
    for function, signature, who in (
        (CLIENT_DIRECTORY, "app.client_directory(uuid)", (api, worker)),
        (DISTRICT_DIRECTORY, "app.district_directory(text)", (api, worker)),
    ):
        op.execute(function)
        op.execute(f"REVOKE ALL ON FUNCTION {signature} FROM PUBLIC")
        for role in who:
            op.execute(f'GRANT EXECUTE ON FUNCTION {signature} TO "{role}"')

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
    tenant_table(
        "event_counter",
        "last bigint NOT NULL, epoch uuid NOT NULL",
        key=(),
        refs={"district_id": "district"},
        api="SELECT, UPDATE",
    )
    tenant_table(
        "event",
        """
        seq bigint NOT NULL,
        id uuid NOT NULL,
        type text NOT NULL,
        version integer NOT NULL,
        at timestamptz NOT NULL,
        subject_kind text NOT NULL,
        subject_id uuid NOT NULL,
        subject_version integer NOT NULL,
        student_id uuid,
        school_ids uuid[] NOT NULL,
        secured_area text,
        ids jsonb NOT NULL
        """,
        key=("seq",),
        refs={"district_id": "district"},
        uniques=(("id",),),
        indexes=(("at",),),
        student="student_id",
        unless="student_id IS NULL",
        lock="secured_area",
        api="SELECT, INSERT",
        worker="SELECT, INSERT",
    )
