"""Adds the revocations of tokens and of clients' access to a district, with a function that lists them."""

from alembic import op

from migrations.tenant import directory_function, tenant_table

revision = "0005"
down_revision = "0004"

# As in the baseline, without grants that were revoked. Replacing a function keeps its owner and its grants.
CLIENT_DIRECTORY = """
CREATE OR REPLACE FUNCTION app.client_directory(asked uuid)
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
                     WHERE g.client_id = asked AND g.revoked_at IS NULL), '[]'::jsonb)
    FROM public.client c WHERE c.client_id = asked
$$
"""
REVOCATIONS = """
CREATE FUNCTION app.revocations_in_force()
RETURNS TABLE (district_id uuid, client_id uuid, token_id uuid, revoked_at timestamptz)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT r.district_id, r.client_id, r.token_id, r.revoked_at
    FROM public.token_revocation AS r WHERE r.expires_at > now()
$$
"""


def upgrade() -> None:
    op.execute("ALTER TABLE client_grant ADD COLUMN revoked_at timestamptz")
    tenant_table(
        "token_revocation",
        """
        client_id uuid NOT NULL,
        token_id uuid,
        revoked_at timestamptz NOT NULL,
        expires_at timestamptz NOT NULL
        """,
        refs={"district_id": "district", "client_id": "client"},
        indexes=(("client_id",), ("expires_at",)),
        api="",
        worker="SELECT, INSERT",
    )
    op.execute(CLIENT_DIRECTORY)
    directory_function(REVOCATIONS, "app.revocations_in_force()", "api")
