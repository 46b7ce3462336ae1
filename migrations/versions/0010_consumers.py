"""The feed's named consumers; endpoints by pinned version and kind of signature; what is told once; what expires."""

from alembic import op

from migrations.tenant import grant, roles, tenant_table

revision = "0010"
down_revision = "0009"

DISTRICTS = """
CREATE FUNCTION app.districts_after(asked uuid, most integer) RETURNS SETOF uuid
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public AS $$
    SELECT c.district_id FROM public.event_counter c WHERE c.district_id > asked ORDER BY c.district_id LIMIT most
$$
"""
COLUMNS = (
    ("event_counter", "expired bigint NOT NULL DEFAULT 0"),
    ("event", "counts jsonb"),
    ("webhook_endpoint", "versions jsonb NOT NULL DEFAULT '{}'"),
    ("webhook_endpoint", "signature text NOT NULL DEFAULT 'hmac-sha256'"),
    ("webhook_endpoint", "public_key text"),
    ("webhook_endpoint", "former_public_key text"),
    ("playbook_version", "reminders jsonb NOT NULL DEFAULT '{}'"),
)


def upgrade() -> None:
    tenant_table(
        "event_consumer",
        """
        client_id uuid NOT NULL,
        name text NOT NULL,
        event_types text[] NOT NULL,
        versions jsonb NOT NULL,
        epoch uuid NOT NULL,
        seq bigint NOT NULL,
        seeks integer NOT NULL,
        created_at timestamptz NOT NULL,
        committed_at timestamptz,
        removed_at timestamptz
        """,
        key=("client_id", "name"),
        refs={"district_id": "district"},
        worker="SELECT",
    )
    tenant_table(
        "event_told",
        """
        type text NOT NULL,
        subject_id uuid NOT NULL,
        told_of text NOT NULL,
        at timestamptz NOT NULL
        """,
        key=("type", "subject_id"),
        refs={"district_id": "district"},
        api="",
    )
    for table, column in COLUMNS:
        op.execute(f"ALTER TABLE {table} ADD COLUMN {column}")
    # What a delivery tells of is kept as long as the delivery, by the one who deletes both. A key would be looked up
    # at each delivery, and would need an index of its own for each event that expires.
    op.execute(  # squawk: nothing that runs relies on the key that goes, as is said above
        "-- squawk-ignore ban-drop-constraint\nALTER TABLE webhook_delivery DROP CONSTRAINT webhook_delivery_event_fkey"
    )
    for table in ("event", "webhook_delivery", "webhook_attempt"):
        grant("DELETE", table, "worker")
    op.execute(DISTRICTS)
    op.execute("REVOKE ALL ON FUNCTION app.districts_after(uuid, integer) FROM PUBLIC")
    op.execute(f'GRANT EXECUTE ON FUNCTION app.districts_after(uuid, integer) TO "{roles()["worker"]}"')
