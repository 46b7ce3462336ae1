"""A measure is made and amended through a face; a verdict keeps the standard error of measurement it rested on."""

from alembic import op

from migrations.tenant import grant

revision = "0012"
down_revision = "0011"


def upgrade() -> None:
    grant("INSERT, UPDATE", "measure", "api")
    op.execute("ALTER TABLE verdict ADD COLUMN sem double precision")
