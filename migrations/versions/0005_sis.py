"""The sync: runs, the rows that could not be taken, the change log with before-images, answers to held runs."""

from alembic import op

from migrations.tenant import roles, tenant_table

revision = "0005"
down_revision = "0004"

WORKER_WRITES = {"api": "SELECT", "worker": "SELECT, INSERT, UPDATE"}


def upgrade() -> None:
    tenant_table(
        "sis_run",
        """
        source_id uuid NOT NULL,
        state text NOT NULL,
        dry boolean NOT NULL,
        began_at timestamptz NOT NULL,
        ended_at timestamptz,
        counts jsonb NOT NULL,
        warnings jsonb NOT NULL,
        sentence text NOT NULL,
        held_because jsonb NOT NULL,
        not_taken jsonb NOT NULL,
        plan jsonb,
        answer jsonb,
        undoes uuid
        """,
        refs={"source_id": "source", "undoes": "sis_run"},
        indexes=(("source_id", "began_at"),),
        **WORKER_WRITES,
    )
    op.execute(
        "CREATE INDEX sis_run_answered_idx ON sis_run (district_id) "
        "WHERE state = 'approved' OR (state = 'discarded' AND plan IS NOT NULL)"
    )
    # A face answers a held run; the worker carries the answer out.
    op.execute(f'GRANT UPDATE (state, answer, sentence) ON sis_run TO "{roles()["api"]}"')
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
        **WORKER_WRITES,
    )
    tenant_table(
        "sis_change",
        """
        run_id uuid NOT NULL,
        kind text NOT NULL,
        row_id uuid NOT NULL,
        action text NOT NULL,
        before jsonb
        """,
        refs={"run_id": "sis_run"},
        indexes=(("run_id", "kind"), ("row_id",)),
        api="",
        worker="SELECT, INSERT",
    )
    # Who was touched by which run is a face's to tell; how a row was is not.
    op.execute(f'GRANT SELECT (district_id, id, run_id, kind, row_id, action) ON sis_change TO "{roles()["api"]}"')
    op.execute(
        """CREATE FUNCTION app.districts_with_syncs_answered(most integer) RETURNS SETOF uuid
        LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public AS
        $$ SELECT DISTINCT r.district_id FROM sis_run AS r
           WHERE r.state = 'approved' OR (r.state = 'discarded' AND r.plan IS NOT NULL) LIMIT most $$"""
    )
    op.execute("REVOKE ALL ON FUNCTION app.districts_with_syncs_answered(integer) FROM PUBLIC")
    op.execute(f'GRANT EXECUTE ON FUNCTION app.districts_with_syncs_answered(integer) TO "{roles()["worker"]}"')
