"""What a sync changed is kept as it was for a time only; a district sends two zips at a time."""

from alembic import op

from migrations.tenant import grant, tenant_table

revision = "0015"
down_revision = "0014"


def upgrade() -> None:
    op.execute("ALTER TABLE sis_change ADD COLUMN expired_at timestamptz")
    grant("UPDATE (before, expired_at)", "sis_change", "worker")
    # Whether a run can still be undone is a face's to tell; how its rows were is not.
    grant("SELECT (expired_at)", "sis_change", "api")
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
    with op.get_context().autocommit_block():
        op.execute(
            "CREATE INDEX CONCURRENTLY IF NOT EXISTS sis_change_kept_idx ON sis_change (district_id, run_id) "
            "WHERE before IS NOT NULL"
        )
