"""Adds a sourcedId and an acknowledgement to quarantined rows, and an exit code and likely new sourcedIds to runs."""

from alembic import op

from migrations.tenant import grant, tenant_table

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    # `content` is a digest of the row, by which a later run sees whether an acknowledged row has changed.
    op.execute(
        """ALTER TABLE sis_quarantine ADD COLUMN sourced_id text, ADD COLUMN content text,
           ADD COLUMN acknowledged boolean NOT NULL DEFAULT false"""
    )
    op.execute("ALTER TABLE sis_run ADD COLUMN exit_code integer, ADD COLUMN rekeys jsonb NOT NULL DEFAULT '[]'")
    grant("UPDATE (acknowledged)", "sis_quarantine", "api")
    tenant_table(
        "sis_acknowledgement",
        """
        source_id uuid NOT NULL,
        kind text NOT NULL,
        sourced_id text NOT NULL,
        field text NOT NULL,
        code text NOT NULL,
        content text NOT NULL,
        acknowledged_by text NOT NULL,
        acknowledged_at timestamptz NOT NULL
        """,
        refs={"source_id": "source"},
        indexes=(("source_id", "kind"),),
        api="SELECT, INSERT",
    )
