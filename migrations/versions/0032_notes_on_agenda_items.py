"""Adds notes on agenda items. If an agenda item is about no student, its notes belong only to the team."""

from alembic import op

from migrations.policies import DISTRICT, REACHED, SECURED, TEAM
from migrations.tenant import create_index

revision = "0032"
down_revision = "0031"

CONDITION = " AND ".join(
    (
        DISTRICT,
        f"(agenda_team_id IS NULL OR {TEAM.format(team='agenda_team_id', school='agenda_team_school_id')})",
        f"(student_id IS NULL OR {REACHED.format(student='student_id', schools='school_ids')})",
        SECURED.format(lock="secured_area"),
    )
)
"""SQL that is true if the principal sees the note's student, if any, and the team of its agenda item, if any."""
OF_NO_STUDENT = "WHERE student_id IS NULL"


def upgrade() -> None:
    for table in ("note", "note_change"):
        op.execute(f"ALTER TABLE {table} ADD COLUMN agenda_team_id uuid, ADD COLUMN agenda_team_school_id uuid")
        # A process of the older version may meet a note without a student during the minutes until it is replaced.
        op.execute(f"-- squawk-ignore ban-drop-not-null\nALTER TABLE {table} ALTER COLUMN student_id DROP NOT NULL")
        # Every row has a student, and none names a team yet, so the constraints have nothing to find.
        op.execute(
            "-- squawk-ignore constraint-missing-not-valid\n"
            f"ALTER TABLE {table} ADD CONSTRAINT {table}_reach_check "
            "CHECK (student_id IS NOT NULL OR agenda_team_id IS NOT NULL)"
        )
        op.execute(
            "-- squawk-ignore constraint-missing-not-valid, adding-foreign-key-constraint\n"
            f"ALTER TABLE {table} ADD CONSTRAINT {table}_district_id_agenda_team_id_fkey "
            "FOREIGN KEY (district_id, agenda_team_id) REFERENCES team (district_id, id)"
        )
        create_index(f"{table}_district_id_agenda_team_id_idx ON {table} (district_id, agenda_team_id)")
        op.execute(f"ALTER POLICY tenant ON {table} USING ({CONDITION}) WITH CHECK ({CONDITION})")
    create_index(f"note_of_no_student_idx ON note (district_id, id) {OF_NO_STUDENT}")
    create_index(f"note_of_no_student_updated_idx ON note (district_id, updated_at, id) {OF_NO_STUDENT}")
