"""What a sync changed is kept as it was for a time only: the worker blanks it, oldest runs first."""

from alembic import op

from migrations.tenant import grant

revision = "0015"
down_revision = "0012"


def upgrade() -> None:
    op.execute("ALTER TABLE sis_change ADD COLUMN expired_at timestamptz")
    grant("UPDATE (before, expired_at)", "sis_change", "worker")
    # Whether a run can still be undone is a face's to tell; how its rows were is not.
    grant("SELECT (expired_at)", "sis_change", "api")
    with op.get_context().autocommit_block():
        op.execute(
            "CREATE INDEX CONCURRENTLY IF NOT EXISTS sis_change_kept_idx ON sis_change (district_id, run_id) "
            "WHERE before IS NOT NULL"
        )
