"""The sync: runs, the rows that could not be taken, the change log with before-images."""

from migrations.tenant import tenant_table

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
        sentence text NOT NULL
        """,
        refs={"source_id": "source"},
        indexes=(("source_id", "began_at"),),
        **WORKER_WRITES,
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
