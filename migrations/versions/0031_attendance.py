"""Adds attendance records of students, and the signals that refer to them."""

from alembic import op

from migrations.tenant import student_table

revision = "0031"
down_revision = "0030"


def upgrade() -> None:
    student_table(
        "attendance_record",
        """
        day date NOT NULL,
        period text,
        class_id uuid,
        status text NOT NULL,
        excused boolean NOT NULL,
        minutes_missed integer,
        recorded_by uuid,
        sender uuid,
        external_id text,
        recorded_at timestamptz NOT NULL,
        updated_at timestamptz NOT NULL DEFAULT now(),
        version integer NOT NULL,
        removed_at timestamptz,
        removed_because text
        """,
        refs={"class_id": "class", "recorded_by": "person"},
        uniques=(("sender", "external_id"),),
        indexes=(("student_id", "day", "id"), ("day", "id"), ("updated_at", "id"), ("class_id",)),
        by_school=("id",),
    )
    op.execute("ALTER TABLE signal ADD COLUMN attendance_ids uuid[] NOT NULL DEFAULT '{}'")
