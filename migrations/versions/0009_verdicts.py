"""Verdicts: interval, odds, stated rates, alerts and their retraction; calibrations."""

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    pass
