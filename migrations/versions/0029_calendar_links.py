"""Links by which a calendar program reads when teams meet."""

from migrations.tenant import tenant_table

revision = "0029"
down_revision = "0028"


def upgrade() -> None:
    tenant_table(
        "calendar_link",
        """
        digest text NOT NULL,
        team_id uuid,
        person_id uuid,
        created_by uuid NOT NULL,
        created_on date NOT NULL,
        until_on date NOT NULL,
        revoked_at timestamptz,
        revoked_because text,
        created_at timestamptz NOT NULL,
        updated_at timestamptz NOT NULL DEFAULT now(),
        version integer NOT NULL
        """,
        refs={"district_id": "district", "team_id": "team", "person_id": "person"},
        uniques=(("digest",),),
        indexes=(("created_by", "id"), ("team_id", "id"), ("person_id", "id"), ("updated_at", "id")),
    )
