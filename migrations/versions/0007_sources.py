"""Sources: settings, sealed credentials, schedules, guard limits; runs that are asked for."""

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    pass
