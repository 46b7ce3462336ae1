"""The processes read which migration the database has, to say that they are not ready over an older one."""

from migrations.tenant import grant

revision = "0016"
down_revision = "0015"


def upgrade() -> None:
    grant("SELECT", "alembic_version", "api", "worker")
