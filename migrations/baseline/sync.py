"""Creates the sync's tables: sources with settings, runs, quarantined rows, the change log and uploads.

The change log has the values of each row from before the change.
"""

from migrations.tenant import directory_function, tenant_table

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
READABLE = ", ".join(line.split()[0] for line in SETTINGS.strip().splitlines())
"""The columns of a source that the api may read; the columns with encrypted secrets are not among them."""

DISTRICTS_DUE = """
CREATE FUNCTION app.districts_with_syncs_due(most integer) RETURNS SETOF uuid
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
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

DISTRICTS_ANSWERED = """
CREATE FUNCTION app.districts_with_syncs_answered(most integer) RETURNS SETOF uuid
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT DISTINCT r.district_id FROM public.sis_run AS r
    WHERE r.state = 'approved' OR (r.state = 'discarded' AND r.plan IS NOT NULL) LIMIT most
$$
"""

STANDING = """
CREATE FUNCTION app.sync_standing()
RETURNS TABLE (district_id uuid, source_id uuid, hours double precision, held bigint, failed bigint, silent boolean)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
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


def create_tables() -> None:
    """Creates the tables and the functions that list the districts with work for the sync."""
    tenant_table(
        "sis_source",
        SETTINGS.rstrip() + ",\n    client_secret_sealed text",
        refs={"id": "source"},
        # Each index contains only rows that wait, so a district without any costs nothing.
        more_indexes=(
            "sis_source_due_idx ON sis_source (district_id, due) WHERE due IS NOT NULL",
            "sis_source_overdue_idx ON sis_source (district_id, overdue_at) WHERE overdue_at IS NOT NULL",
            "sis_source_look_idx ON sis_source (district_id) WHERE look_asked_at IS NOT NULL",
        ),
        api=f"INSERT, UPDATE, SELECT (district_id, id, {READABLE})",
    )
    _create_runs()
    _create_uploads()
    directory_function(DISTRICTS_DUE, "app.districts_with_syncs_due(integer)", "worker")
    directory_function(DISTRICTS_ANSWERED, "app.districts_with_syncs_answered(integer)", "worker")
    directory_function(STANDING, "app.sync_standing()", "worker")


def _create_runs() -> None:
    tenant_table(
        "sis_run",
        """
        source_id uuid NOT NULL,
        state text NOT NULL,
        mode text,
        dry boolean NOT NULL,
        asked_by text,
        due timestamptz,
        attempts integer NOT NULL DEFAULT 0,
        leased_until timestamptz,
        began_at timestamptz NOT NULL,
        pulled_at timestamptz,
        ended_at timestamptz,
        counts jsonb NOT NULL,
        warnings jsonb NOT NULL,
        sentence text NOT NULL,
        held_because jsonb NOT NULL,
        not_taken jsonb NOT NULL,
        weighed jsonb NOT NULL DEFAULT '[]',
        repaired jsonb NOT NULL,
        taken jsonb,
        plan jsonb,
        answer jsonb,
        undoes uuid
        """,
        refs={"source_id": "source", "undoes": "sis_run"},
        indexes=(("source_id", "began_at"),),
        more_indexes=(
            "sis_run_answered_idx ON sis_run (district_id) "
            "WHERE state = 'approved' OR (state = 'discarded' AND plan IS NOT NULL)",
            "sis_run_open_idx ON sis_run (district_id) WHERE state IN ('pending', 'running')",
        ),
        # An API records the answer to a held run; the worker carries the answer out.
        api="SELECT, INSERT, UPDATE (state, answer, sentence)",
    )
    tenant_table(
        "sis_quarantine",
        """
        run_id uuid NOT NULL,
        kind text NOT NULL,
        file text NOT NULL,
        row_number bigint NOT NULL,
        field text NOT NULL,
        code text NOT NULL
        """,
        refs={"run_id": "sis_run"},
        indexes=(("run_id", "kind"),),
        api="SELECT",
    )
    # The APIs show which rows a run changed, and whether it can still be undone, but not the rows' earlier values.
    tenant_table(
        "sis_change",
        """
        run_id uuid NOT NULL,
        kind text NOT NULL,
        row_id uuid NOT NULL,
        action text NOT NULL,
        before jsonb,
        expired_at timestamptz
        """,
        refs={"run_id": "sis_run"},
        indexes=(("run_id", "kind"), ("row_id",)),
        more_indexes=("sis_change_kept_idx ON sis_change (district_id, run_id) WHERE before IS NOT NULL",),
        api="SELECT (district_id, id, run_id, kind, row_id, action, expired_at)",
        worker="SELECT, INSERT, UPDATE (before, expired_at)",
    )


def _create_uploads() -> None:
    tenant_table(
        "sis_upload",
        "run_id uuid NOT NULL, place integer NOT NULL, part bytea NOT NULL",
        refs={"run_id": "sis_run"},
        uniques=(("run_id", "place"),),
        api="INSERT",
        worker="SELECT, DELETE",
    )
    tenant_table(
        "sis_upload_slot",
        """
        place integer NOT NULL,
        holder uuid NOT NULL,
        taken_at timestamptz NOT NULL,
        leased_until timestamptz NOT NULL
        """,
        key=("place",),
        refs={"district_id": "district"},
        worker="SELECT",
    )
