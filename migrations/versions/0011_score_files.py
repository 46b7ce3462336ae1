"""Creates the staging tables of CSV files of scores; restricts sources to schools; names the sources in the metrics."""

from alembic import context, op

from migrations.tenant import directory_function, distribute, grant

revision = "0011"
down_revision = "0008"

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
    "left_out": ("kind text NOT NULL, sourced_id text NOT NULL, id uuid", "kind, sourced_id"),
    "score_measure": (
        """name text NOT NULL, measure_id uuid, secured_area text, lowest double precision,
        highest double precision, forms text[]""",
        "name",
    ),
}
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
    op.execute("DROP FUNCTION app.sync_standing()")
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
