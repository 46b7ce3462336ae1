"""Creates the tables of events, event counters, consumers of the feed, and sent reminders."""

from migrations.tenant import directory_function, tenant_table

DISTRICTS_AFTER = """
CREATE FUNCTION app.districts_after(asked uuid, most integer) RETURNS SETOF uuid
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT c.district_id FROM public.event_counter c WHERE c.district_id > asked ORDER BY c.district_id LIMIT most
$$
"""


def create_tables() -> None:
    """Creates the tables of events, and the function that lists the districts."""
    tenant_table(
        "event_counter",
        "last bigint NOT NULL, epoch uuid NOT NULL, expired bigint NOT NULL DEFAULT 0",
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
        ids jsonb NOT NULL,
        counts jsonb
        """,
        key=("seq",),
        refs={"district_id": "district"},
        uniques=(("id",),),
        indexes=(("at",),),
        student="student_id",
        unless="student_id IS NULL",
        lock="secured_area",
        api="SELECT, INSERT",
        worker="SELECT, INSERT, DELETE",
    )
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
    directory_function(DISTRICTS_AFTER, "app.districts_after(uuid, integer)", "worker")
