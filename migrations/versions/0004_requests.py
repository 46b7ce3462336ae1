"""Adds tables for stored responses of requests with an idempotency key, versions of measures, and clients' origins."""

from alembic import op

from migrations.tenant import directory_function, tenant_table

revision = "0004"
down_revision = "0003"

ORIGINS = """
CREATE FUNCTION app.client_origins() RETURNS TABLE (client_id uuid, origins text[])
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT c.client_id, c.origins FROM public.client AS c WHERE c.origins <> '{}'
$$
"""


def upgrade() -> None:
    tenant_table(
        "idempotent_request",
        """
        digest bytea NOT NULL,
        client_id uuid,
        operation text NOT NULL,
        at timestamptz NOT NULL,
        answer text NOT NULL
            CONSTRAINT idempotent_request_answer_check CHECK (octet_length(answer) <= 2097152)
        """,
        key=("digest",),
        refs={"district_id": "district"},
        indexes=(("at",),),
        worker="SELECT, DELETE",
    )
    op.execute("ALTER TABLE measure ADD COLUMN version integer NOT NULL DEFAULT 1")
    op.execute("ALTER TABLE client ADD COLUMN origins text[] NOT NULL DEFAULT '{}'")
    directory_function(ORIGINS, "app.client_origins()", "api")
