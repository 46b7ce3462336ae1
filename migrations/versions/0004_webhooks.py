"""Webhooks: endpoints with sealed secrets, deliveries, attempts, and how far each district is dispatched."""

from alembic import op

from migrations.tenant import roles, tenant_table

revision = "0004"
down_revision = "0003"

DUE = """
CREATE FUNCTION app.districts_with_webhooks_due(at timestamptz, most integer) RETURNS SETOF uuid
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public AS $$
    SELECT district_id FROM (
        SELECT c.district_id, 0::bigint AS waiting
        FROM public.event_counter c
        JOIN public.webhook_position p ON p.district_id = c.district_id
        WHERE c.last > p.seq
        UNION
        SELECT d.district_id, 0::bigint
        FROM public.webhook_delivery d
        WHERE d.state = 'pending' AND d.due <= at AND (d.leased_until IS NULL OR d.leased_until <= at)
    ) waiting
    ORDER BY random() LIMIT most
$$
"""


def upgrade() -> None:
    tenant_table(
        "webhook_endpoint",
        """
        url text NOT NULL,
        description text,
        event_types text[] NOT NULL,
        secret_sealed text NOT NULL,
        opens text[] NOT NULL,
        school_ids uuid[] NOT NULL,
        created_by uuid,
        created_at timestamptz NOT NULL,
        disabled_at timestamptz,
        disabled_because text,
        removed_at timestamptz,
        version integer NOT NULL
        """,
        refs={"district_id": "district"},
    )
    tenant_table(
        "webhook_delivery",
        """
        endpoint_id uuid NOT NULL,
        event_seq bigint NOT NULL,
        event_id uuid NOT NULL,
        state text NOT NULL,
        due timestamptz NOT NULL,
        attempts integer NOT NULL,
        leased_until timestamptz,
        created_at timestamptz NOT NULL,
        ended_at timestamptz,
        CONSTRAINT webhook_delivery_event_fkey FOREIGN KEY (district_id, event_seq)
            REFERENCES event (district_id, seq)
        """,
        refs={"endpoint_id": "webhook_endpoint"},
        uniques=(("endpoint_id", "event_id"),),
        indexes=(("state", "due"),),
        api="SELECT",
    )
    tenant_table(
        "webhook_attempt",
        """
        delivery_id uuid NOT NULL,
        number integer NOT NULL,
        at timestamptz NOT NULL,
        milliseconds integer NOT NULL,
        status integer,
        failure text
        """,
        refs={"delivery_id": "webhook_delivery"},
        uniques=(("delivery_id", "number"),),
        api="SELECT",
        worker="SELECT, INSERT",
    )
    tenant_table(
        "webhook_position",
        "seq bigint NOT NULL",
        key=(),
        refs={"district_id": "district"},
        api="",
    )
    signature = "app.districts_with_webhooks_due(timestamptz, integer)"
    op.execute(DUE)
    op.execute(f"REVOKE ALL ON FUNCTION {signature} FROM PUBLIC")
    op.execute(f'GRANT EXECUTE ON FUNCTION {signature} TO "{roles()["worker"]}"')
