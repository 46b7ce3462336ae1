"""Stores a source's address twice: without secrets, for the APIs to show, and completely, but encrypted."""

from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    # The api may write the column, as it may write the whole table, and cannot read it: it is granted single columns.
    op.execute("ALTER TABLE sis_source ADD COLUMN url_sealed text")
