"""Sources: settings, sealed credentials, schedules, guard limits; runs that are asked for."""

from alembic import op

from migrations.tenant import roles, tenant_table

revision = "0007"
down_revision = "0006"

SETTINGS = """
    url text NOT NULL,
    gradebook_url text,
    token_url text,
    auth text,
    client_id text,
    scopes text[] NOT NULL,
    page_size integer,
    concurrency integer NOT NULL,
    left_out text[] NOT NULL,
    limits jsonb NOT NULL,
    rollover jsonb,
    mapping jsonb NOT NULL,
    cron text,
    jitter_minutes integer NOT NULL,
    frozen jsonb NOT NULL,
    full_cron text,
    overlap_hours integer NOT NULL,
    pull_minutes integer NOT NULL,
    pull_gb integer NOT NULL,
    due timestamptz,
    overdue_at timestamptz,
    pulled_until timestamptz,
    full_at timestamptz,
    look_asked_at timestamptz,
    findings jsonb,
    found_at timestamptz,
    paused_at timestamptz,
    created_at timestamptz NOT NULL,
    version integer NOT NULL
"""
RUN_COLUMNS = (
    "mode text",
    "asked_by text",
    "due timestamptz",
    "attempts integer NOT NULL DEFAULT 0",
    "leased_until timestamptz",
    "taken jsonb",
    "pulled_at timestamptz",
    "weighed jsonb NOT NULL DEFAULT '[]'",
)
# Each arm is a partial index of what waits: a district where nothing does costs nothing.
INDEXES = (
    "sis_source_due_idx ON sis_source (district_id, due) WHERE due IS NOT NULL",
    "sis_source_overdue_idx ON sis_source (district_id, overdue_at) WHERE overdue_at IS NOT NULL",
    "sis_source_look_idx ON sis_source (district_id) WHERE look_asked_at IS NOT NULL",
    "sis_run_open_idx ON sis_run (district_id) WHERE state IN ('pending', 'running')",
)
DUE = """
CREATE FUNCTION app.districts_with_syncs_due(most integer) RETURNS SETOF uuid
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public AS $$
    SELECT f.district_id FROM (
        SELECT s.district_id FROM public.sis_source AS s WHERE s.due <= now()
        UNION SELECT s.district_id FROM public.sis_source AS s WHERE s.overdue_at <= now()
        UNION SELECT s.district_id FROM public.sis_source AS s WHERE s.look_asked_at IS NOT NULL
        UNION SELECT r.district_id FROM public.sis_run AS r
            WHERE r.state = 'pending' AND r.due <= now() AND (r.leased_until IS NULL OR r.leased_until <= now())
        UNION SELECT r.district_id FROM public.sis_run AS r WHERE r.state = 'running' AND r.leased_until <= now()
    ) AS f ORDER BY random() LIMIT most
$$
"""

STANDING = """
CREATE FUNCTION app.sync_standing()
RETURNS TABLE (district_id uuid, source_id uuid, hours double precision, held bigint, failed bigint, silent boolean)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public AS $$
    SELECT s.district_id, s.id,
           extract(epoch FROM now() - max(r.ended_at) FILTER (WHERE r.state = 'applied' AND r.undoes IS NULL)) / 3600,
           count(*) FILTER (WHERE r.state = 'held'),
           count(*) FILTER (WHERE r.state = 'failed' AND NOT r.dry AND r.ended_at > now() - interval '26 hours'),
           s.cron IS NOT NULL AND s.paused_at IS NULL AND (s.overdue_at IS NULL OR s.overdue_at <= now())
    FROM public.sis_source AS s
    LEFT JOIN public.sis_run AS r ON r.district_id = s.district_id AND r.source_id = s.id
    GROUP BY s.district_id, s.id
$$
"""


def upgrade() -> None:
    tenant_table(
        "sis_source",
        SETTINGS + ", client_secret_sealed text",
        refs={"id": "source"},
        api="INSERT, UPDATE",
    )
    api, worker = roles()["api"], roles()["worker"]
    # The api seals a secret and never opens one: it cannot even read what it sealed.
    readable = ", ".join(line.split()[0] for line in SETTINGS.strip().splitlines())
    op.execute(f'GRANT SELECT (district_id, id, {readable}) ON sis_source TO "{api}"')
    op.execute(f'GRANT INSERT, UPDATE (kind) ON source TO "{api}"')
    for column in RUN_COLUMNS:
        op.execute(f"ALTER TABLE sis_run ADD COLUMN {column}")
    op.execute(f'GRANT INSERT ON sis_run TO "{api}"')
    tenant_table(
        "sis_upload",
        "run_id uuid NOT NULL, place integer NOT NULL, part bytea NOT NULL",
        refs={"run_id": "sis_run"},
        uniques=(("run_id", "place"),),
        api="INSERT",
        worker="SELECT, DELETE",
    )
    for index in INDEXES:  # squawk: the table is made here or still small, so that nobody waits for the lock
        op.execute(f"-- squawk-ignore require-concurrent-index-creation\nCREATE INDEX {index}")
    for function, signature in ((DUE, "app.districts_with_syncs_due(integer)"), (STANDING, "app.sync_standing()")):
        op.execute(function)
        op.execute(f"REVOKE ALL ON FUNCTION {signature} FROM PUBLIC")
        op.execute(f'GRANT EXECUTE ON FUNCTION {signature} TO "{worker}"')
