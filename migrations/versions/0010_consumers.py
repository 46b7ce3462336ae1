"""The feed's named consumers; endpoints by school and with a pinned version."""

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    pass
