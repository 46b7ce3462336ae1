"""A district's breaks. Who says one also says what its weeks are, in the same transaction."""

from migrations.tenant import grant, tenant_table

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    tenant_table(
        "school_break",
        """
        school_id uuid,
        begins_on date NOT NULL,
        ends_on date NOT NULL,
        name text,
        declared_at timestamptz NOT NULL,
        removed_at timestamptz
        """,
        refs={"district_id": "district", "school_id": "org"},
        indexes=(("school_id", "begins_on"),),
        worker="SELECT",
    )
    grant("UPDATE", "school_week", "api")
