"""Adds to action items the agenda item at which they were agreed."""

from alembic import op

from migrations.tenant import create_index

revision = "0028"
down_revision = "0027"


def upgrade() -> None:
    # No row names an item of an agenda yet, so the constraint has nothing to check.
    op.execute(
        "-- squawk-ignore constraint-missing-not-valid, adding-foreign-key-constraint\n"
        "ALTER TABLE action_item ADD CONSTRAINT action_item_district_id_agenda_item_id_fkey "
        "FOREIGN KEY (district_id, agenda_item_id) REFERENCES agenda_item (district_id, id)"
    )
    create_index("action_item_district_id_agenda_item_id_idx ON action_item (district_id, agenda_item_id)")
