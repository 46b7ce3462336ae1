"""Creates the tables of webhooks: endpoints, deliveries, attempts, and each district's position in the feed."""

from migrations.tenant import directory_function, tenant_table

# One look at each district that has a position, and at each endpoint that is neither paused nor slowed down; the
# partial index of turns ends it at the first row that is due.
DISTRICTS_DUE = """
CREATE FUNCTION app.districts_with_webhooks_due(at timestamptz, most integer) RETURNS SETOF uuid
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
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


def create_tables() -> None:
    """Creates the tables and the function that lists the districts with due deliveries."""
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
        version integer NOT NULL,
        versions jsonb NOT NULL DEFAULT '{}',
        signature text NOT NULL DEFAULT 'hmac-sha256',
        public_key text,
        former_public_key text
        """,
        refs={"district_id": "district"},
    )
    # A delivery's event is kept as long as the delivery, by the process that deletes both. A foreign key would be
    # checked at each delivery, and would need an index of its own for each event that expires.
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
        ended_at timestamptz
        """,
        refs={"endpoint_id": "webhook_endpoint"},
        uniques=(("endpoint_id", "event_seq"),),
        # Both indexes stay small: one has the pending deliveries in the order of their turns, the other the leased.
        more_indexes=(
            "webhook_delivery_turn_idx ON webhook_delivery (district_id, endpoint_id, due, id) WHERE state = 'pending'",
            "webhook_delivery_out_idx ON webhook_delivery (district_id, endpoint_id) WHERE leased_until IS NOT NULL",
        ),
        worker="SELECT, INSERT, UPDATE, DELETE",
    )
    # A response from an unknown network counts as private, and is not shown.
    tenant_table(
        "webhook_attempt",
        """
        delivery_id uuid NOT NULL,
        number integer NOT NULL,
        at timestamptz NOT NULL,
        milliseconds integer NOT NULL,
        status integer,
        failure text,
        answer text,
        from_private_network boolean NOT NULL DEFAULT true
        """,
        refs={"delivery_id": "webhook_delivery"},
        uniques=(("delivery_id", "number"),),
        api="SELECT",
        worker="SELECT, INSERT, DELETE",
    )
    tenant_table(
        "webhook_position",
        "seq bigint NOT NULL",
        key=(),
        refs={"district_id": "district"},
        api="INSERT",
    )
    directory_function(DISTRICTS_DUE, "app.districts_with_webhooks_due(timestamptz, integer)", "worker")
