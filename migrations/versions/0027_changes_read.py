"""Stores which changes a computation of signals has read already, so that the next one does not read them again."""

from alembic import op

revision = "0027"
down_revision = "0026"


def upgrade() -> None:
    for column in ("read_students uuid[]", "read_marks numeric[]"):
        op.execute(f"ALTER TABLE signal_progress ADD COLUMN {column} NOT NULL DEFAULT '{{}}'")
