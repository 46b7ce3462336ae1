"""The gradebook: categories, line items, results, score scales, assessments."""

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    pass
