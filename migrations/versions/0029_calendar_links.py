"""Adds links with which a calendar program reads the meetings of teams. Also adds the areas of agenda items."""

from alembic import op

from migrations.tenant import create_index, tenant_table

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
    op.execute("ALTER TABLE agenda_item ADD COLUMN area_id uuid")
    # No row has an area yet, so the constraint has nothing to check.
    op.execute(
        "-- squawk-ignore constraint-missing-not-valid, adding-foreign-key-constraint\n"
        "ALTER TABLE agenda_item ADD CONSTRAINT agenda_item_district_id_area_id_fkey "
        "FOREIGN KEY (district_id, area_id) REFERENCES area (district_id, id)"
    )
    create_index("agenda_item_district_id_area_id_idx ON agenda_item (district_id, area_id)")
