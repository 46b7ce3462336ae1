"""Adds to each job a claim number, its last fault, and the worker that has claimed the job.

Also adds one function that lists the districts with due jobs.
"""

from alembic import op

from migrations.tenant import directory_function, grant, tenant_table

revision = "0002"
down_revision = "0001"

COLUMNS = """ADD COLUMN claim_number integer NOT NULL DEFAULT 0, ADD COLUMN worker text,
    ADD COLUMN fault text, ADD COLUMN fault_place text"""
# Claim numbers continue from the count of attempts, because no number may be used twice. The answer to a held run is
# now a job: it becomes due when an API receives it, and its attempts are counted from then on.
COUNTED = """
DO $$ DECLARE d uuid; BEGIN
    FOR d IN SELECT district_id FROM district LOOP
        UPDATE sis_run SET claim_number = attempts WHERE district_id = d;
        UPDATE sis_run SET due = coalesce(due, began_at), attempts = 0
        WHERE district_id = d AND state IN ('approved', 'discarded');
        UPDATE settlement SET claim_number = attempts, attempts = 0 WHERE district_id = d;
        UPDATE webhook_delivery SET claim_number = attempts, attempts = attempts - asked_after WHERE district_id = d;
    END LOOP;
END $$
"""
# Every part of the UNION reads a partial index of rows that wait, so a district without any costs nothing.
DUE = """
CREATE FUNCTION app.districts_with_jobs_due(most integer) RETURNS TABLE (job text, district_id uuid)
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
$$
"""
STANDING = """
CREATE FUNCTION app.sync_standing()
RETURNS TABLE (district_id uuid, source_id uuid, hours double precision, held bigint, failed bigint,
               failed_to_apply bigint, silent boolean)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT s.district_id, s.id,
           extract(epoch FROM now() - max(r.ended_at) FILTER (WHERE r.state = 'applied' AND r.undoes IS NULL)) / 3600,
           count(*) FILTER (WHERE r.state = 'held'),
           count(*) FILTER (WHERE r.state = 'failed' AND NOT r.dry AND r.ended_at > now() - interval '26 hours'),
           count(*) FILTER (WHERE r.state = 'failed_to_apply'),
           s.cron IS NOT NULL AND s.paused_at IS NULL AND (s.overdue_at IS NULL OR s.overdue_at <= now())
    FROM public.sis_source AS s
    LEFT JOIN public.sis_run AS r ON r.district_id = s.district_id AND r.source_id = s.id
    GROUP BY s.district_id, s.id
$$
"""
REPLACED = (
    "app.sync_standing()",
    "app.districts_with_webhooks_due(timestamptz, integer)",
    "app.districts_with_syncs_due(integer)",
    "app.districts_with_syncs_answered(integer)",
    "app.districts_with_settlements_due(integer)",
)


def upgrade() -> None:
    for table in ("sis_run", "settlement", "webhook_delivery"):
        op.execute(f"ALTER TABLE {table} {COLUMNS}")
    op.execute(COUNTED)
    # The attempts have been reduced by this number above, and nothing else reads it.
    op.execute("-- squawk-ignore ban-drop-column\nALTER TABLE webhook_delivery DROP COLUMN asked_after")
    grant("UPDATE (due, attempts)", "sis_run", "api")
    tenant_table(
        "task",
        """
        kind text NOT NULL,
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
        refs={"district_id": "district"},
        uniques=(("kind",),),
        api="",
    )
    for function in REPLACED:
        # A new function of this migration takes its place.
        op.execute(f"-- squawk-ignore ban-drop-function\nDROP FUNCTION {function}")
    for body, signature in ((DUE, "app.districts_with_jobs_due(integer)"), (STANDING, "app.sync_standing()")):
        directory_function(body, signature, "worker")
