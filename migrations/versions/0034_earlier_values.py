"""Stores when the values before a change of a score, a session or a note were deleted."""

from alembic import op

revision = "0034"
down_revision = "0033"


def upgrade() -> None:
    for table in ("score_change", "session_change", "note_change"):
        op.execute(f"ALTER TABLE {table} ADD COLUMN expired_at timestamptz")
        # The tables have one row for each amendment, so the index is built in a moment.
        op.execute(
            "-- squawk-ignore require-concurrent-index-creation\n"
            f"CREATE INDEX {table}_kept_idx ON {table} (district_id, changed_at, id) WHERE (expired_at IS NULL)"
        )
