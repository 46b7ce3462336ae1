"""Adds tables for the import of score files, and for notices about syncs.

Also restricts sources to schools, and lets metrics name a district by its short name.
"""

from alembic import context, op

from migrations.tenant import directory_function, distribute, grant, tenant_table

revision = "0012"
down_revision = "0011"

SCORE = """student_id uuid, measure_id uuid, secured_area text, taken_on date, attempt integer,
    value double precision, form text, purpose text"""
TABLES = {
    "staged_score": (
        f"row_number bigint NOT NULL, external_id text, student text, measure text, gone boolean, fault text, {SCORE}",
        "row_number",
    ),
    "plan_score": (
        f"""id uuid NOT NULL, external_id text, row_number bigint, action text, field text, code text,
        version integer, {SCORE}""",
        "id",
    ),
    "out_of_scope": ("kind text NOT NULL, sourced_id text NOT NULL, id uuid", "kind, sourced_id"),
    "score_measure": (
        """name text NOT NULL, measure_id uuid, secured_area text, lowest double precision,
        highest double precision, forms text[]""",
        "name",
    ),
}
DUE = """
CREATE OR REPLACE FUNCTION app.districts_with_jobs_due(most integer) RETURNS TABLE (job text, district_id uuid)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    (SELECT 'webhooks', p.district_id
     FROM public.webhook_position AS p
     JOIN public.event_counter AS c ON c.district_id = p.district_id
     WHERE c.last > p.seq
        OR EXISTS (SELECT FROM public.webhook_endpoint AS e
                   WHERE e.district_id = p.district_id AND e.paused_at IS NULL
                     AND (e.slowed_until IS NULL OR e.slowed_until <= now())
                     AND (SELECT d.due FROM public.webhook_delivery AS d
                          WHERE d.district_id = p.district_id AND d.endpoint_id = e.id
                            AND d.state = 'pending' AND d.due <= now()
                            AND (d.leased_until IS NULL OR d.leased_until <= now())
                          ORDER BY d.due, d.id LIMIT 1) IS NOT NULL)
     ORDER BY random() LIMIT most)
    UNION ALL
    (SELECT 'syncs', f.district_id FROM (
        SELECT s.district_id FROM public.sis_source AS s WHERE s.due <= now()
        UNION SELECT s.district_id FROM public.sis_source AS s WHERE s.overdue_at <= now()
        UNION SELECT s.district_id FROM public.sis_source AS s WHERE s.look_asked_at IS NOT NULL
        UNION SELECT r.district_id FROM public.sis_run AS r
            WHERE r.state = 'pending' AND r.due <= now() AND (r.leased_until IS NULL OR r.leased_until <= now())
        UNION SELECT r.district_id FROM public.sis_run AS r
            WHERE r.state = 'running' AND (r.leased_until IS NULL OR r.leased_until <= now())) AS f
     ORDER BY random() LIMIT most)
    UNION ALL
    (SELECT 'answers', f.district_id FROM (
        SELECT DISTINCT r.district_id FROM public.sis_run AS r
        WHERE (r.state = 'approved' OR (r.state = 'discarded' AND r.plan IS NOT NULL))
          AND r.due <= now() AND (r.leased_until IS NULL OR r.leased_until <= now())) AS f
     ORDER BY random() LIMIT most)
    UNION ALL
    (SELECT 'settlements', f.district_id FROM (
        SELECT DISTINCT s.district_id FROM public.settlement AS s
        WHERE s.state = 'pending' AND s.due <= now() AND (s.leased_until IS NULL OR s.leased_until <= now())) AS f
     ORDER BY random() LIMIT most)
    UNION ALL
    (SELECT 'tasks', f.district_id FROM (
        SELECT DISTINCT t.district_id FROM public.task AS t
        WHERE t.state = 'pending' AND t.due <= now() AND (t.leased_until IS NULL OR t.leased_until <= now())) AS f
     ORDER BY random() LIMIT most)
    UNION ALL
    (SELECT 'notices', f.district_id FROM (
        SELECT DISTINCT n.district_id FROM public.sis_notice AS n
        WHERE n.state = 'pending' AND n.due <= now() AND (n.leased_until IS NULL OR n.leased_until <= now())) AS f
     ORDER BY random() LIMIT most)
$$
"""
STANDING = """
CREATE FUNCTION app.sync_standing()
RETURNS TABLE (district text, source text, hours double precision, held bigint, failed bigint,
               failed_to_apply bigint, silent boolean)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT d.slug, o.name,
           extract(epoch FROM now() - max(r.ended_at) FILTER (WHERE r.state = 'applied' AND r.undoes IS NULL)) / 3600,
           count(*) FILTER (WHERE r.state = 'held'),
           count(*) FILTER (WHERE r.state = 'failed' AND NOT r.dry AND r.ended_at > now() - interval '26 hours'),
           count(*) FILTER (WHERE r.state = 'failed_to_apply'),
           s.cron IS NOT NULL AND s.paused_at IS NULL AND (s.overdue_at IS NULL OR s.overdue_at <= now())
    FROM public.sis_source AS s
    JOIN public.source AS o ON o.district_id = s.district_id AND o.id = s.id
    JOIN public.district AS d ON d.district_id = s.district_id
    LEFT JOIN public.sis_run AS r ON r.district_id = s.district_id AND r.source_id = s.id
    GROUP BY s.district_id, s.id, d.slug, o.name
$$
"""


def upgrade() -> None:
    tenant_table(
        "sis_notice",
        """
        source_id uuid NOT NULL,
        run_id uuid,
        kind text NOT NULL,
        channel text NOT NULL,
        state text NOT NULL,
        due timestamptz NOT NULL,
        claim_number integer NOT NULL DEFAULT 0,
        attempts integer NOT NULL DEFAULT 0,
        leased_until timestamptz,
        ended_at timestamptz,
        worker text,
        fault text,
        fault_place text
        """,
        refs={"source_id": "source", "run_id": "sis_run"},
        more_indexes=("sis_notice_due_idx ON sis_notice (district_id, due) WHERE state = 'pending'",),
        api="",
    )
    tenant_table(
        "sis_recipients",
        "emails text[] NOT NULL, chat_url_sealed text, changed_at timestamptz NOT NULL",
        key=(),
        refs={"district_id": "district"},
        api="",
    )
    op.execute(DUE)
    # The function is made anew in the same transaction, because it returns another column.
    op.execute("-- squawk-ignore ban-drop-function\nDROP FUNCTION app.sync_standing()")
    directory_function(STANDING, "app.sync_standing()", "worker")
    op.execute(
        """ALTER TABLE sis_source ADD COLUMN schools text[] NOT NULL DEFAULT '{}',
           ADD COLUMN excluded_users text[] NOT NULL DEFAULT '{}'"""
    )
    grant("SELECT (schools, excluded_users)", "sis_source", "api")
    unlogged = "" if context.config.attributes.get("citus") else "UNLOGGED "
    for name, (columns, key) in TABLES.items():
        op.execute(
            f"CREATE {unlogged}TABLE staging.{name} (district_id uuid NOT NULL, run_id uuid NOT NULL, {columns}, "
            f"CONSTRAINT {name}_pkey PRIMARY KEY (district_id, run_id, {key}))"
        )
        grant("SELECT, INSERT, UPDATE, DELETE", f"staging.{name}", "worker")
        distribute(f"staging.{name}")
