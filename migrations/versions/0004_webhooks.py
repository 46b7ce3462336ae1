"""Webhooks: endpoints with sealed secrets, deliveries, attempts, and how far each district is dispatched."""

from alembic import op

from migrations.tenant import roles, tenant_table

revision = "0004"
down_revision = "0003"

# One look at each district that has a position, and at each endpoint that is neither paused nor slowed down; the
# partial index of turns ends it at the first row that is due.
DUE = """
CREATE FUNCTION app.districts_with_webhooks_due(at timestamptz, most integer) RETURNS SETOF uuid
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public AS $$
    SELECT p.district_id
    FROM public.webhook_position p
    JOIN public.event_counter c ON c.district_id = p.district_id
    WHERE c.last > p.seq
       OR EXISTS (SELECT FROM public.webhook_endpoint e
                  WHERE e.district_id = p.district_id AND e.paused_at IS NULL
                    AND (e.slowed_until IS NULL OR e.slowed_until <= at)
                    AND (SELECT d.due FROM public.webhook_delivery d
                         WHERE d.district_id = p.district_id AND d.endpoint_id = e.id
                           AND d.state = 'pending' AND d.due <= at
                           AND (d.leased_until IS NULL OR d.leased_until <= at)
                         ORDER BY d.due, d.id LIMIT 1) IS NOT NULL)
    ORDER BY random() LIMIT most
$$
"""

# Small whatever the history is: what is pending, in the order of its turn; what is out.
INDEXES = (
    "webhook_delivery_turn_idx ON webhook_delivery (district_id, endpoint_id, due, id) WHERE state = 'pending'",
    "webhook_delivery_out_idx ON webhook_delivery (district_id, endpoint_id) WHERE leased_until IS NOT NULL",
)


def upgrade() -> None:
    tenant_table(
        "webhook_endpoint",
        """
        url text NOT NULL,
        description text,
        event_types text[] NOT NULL,
        secret_sealed text NOT NULL,
        former_sealed text,
        former_until timestamptz,
        opens text[] NOT NULL,
        school_ids uuid[] NOT NULL,
        after_seq bigint NOT NULL,
        created_by uuid,
        created_at timestamptz NOT NULL,
        disabled_at timestamptz,
        disabled_because text,
        paused_at timestamptz,
        failing_since timestamptz,
        slowed_until timestamptz,
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
        asked_after integer NOT NULL,
        leased_until timestamptz,
        created_at timestamptz NOT NULL,
        ended_at timestamptz,
        CONSTRAINT webhook_delivery_event_fkey FOREIGN KEY (district_id, event_seq)
            REFERENCES event (district_id, seq)
        """,
        refs={"endpoint_id": "webhook_endpoint"},
        uniques=(("endpoint_id", "event_seq"),),
    )
    for index in INDEXES:
        op.execute(f"CREATE INDEX {index}")
    tenant_table(
        "webhook_attempt",
        """
        delivery_id uuid NOT NULL,
        number integer NOT NULL,
        at timestamptz NOT NULL,
        milliseconds integer NOT NULL,
        status integer,
        failure text,
        answer text
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
        api="INSERT",
    )
    signature = "app.districts_with_webhooks_due(timestamptz, integer)"
    op.execute(DUE)
    op.execute(f"REVOKE ALL ON FUNCTION {signature} FROM PUBLIC")
    op.execute(f'GRANT EXECUTE ON FUNCTION {signature} TO "{roles()["worker"]}"')
