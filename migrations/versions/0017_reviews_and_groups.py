"""Adds groups of students. Also adds review dates, which a support may have instead of a measure and a goal."""

from alembic import op

from migrations.tenant import create_index, student_table, tenant_table

revision = "0017"
down_revision = "0016"


def upgrade() -> None:
    # squawk wants to be told that clients must expect an absent measure, baseline and goal.
    op.execute("ALTER TABLE support ADD COLUMN review_on date")
    op.execute("-- squawk-ignore ban-drop-not-null\nALTER TABLE support ALTER COLUMN measure_id DROP NOT NULL")
    op.execute("ALTER TABLE phase ADD COLUMN review_on date")
    for column in ("baseline", "goal", "goal_on"):
        op.execute(f"-- squawk-ignore ban-drop-not-null\nALTER TABLE phase ALTER COLUMN {column} DROP NOT NULL")
    create_index("support_review_idx ON support (district_id, review_on, id) WHERE review_on IS NOT NULL")
    _create_groups()


def _create_groups() -> None:
    """Creates the tables of groups; the sessions of supports refer to those of groups."""
    tenant_table(
        "support_group",
        """
        school_id uuid NOT NULL,
        name text NOT NULL,
        intervention text NOT NULL,
        area_id uuid NOT NULL,
        level_id uuid NOT NULL,
        measure_id uuid,
        lead_id uuid,
        provider_id uuid,
        minutes_per_session integer NOT NULL,
        sessions_per_week integer NOT NULL,
        starts_on date NOT NULL,
        ends_on date,
        goal_on date,
        review_on date,
        state text NOT NULL,
        size integer NOT NULL,
        secured_area text,
        created_at timestamptz NOT NULL,
        updated_at timestamptz NOT NULL DEFAULT now(),
        version integer NOT NULL
        """,
        refs={
            "school_id": "org",
            "area_id": "area",
            "level_id": "level",
            "measure_id": "measure",
            "lead_id": "person",
            "provider_id": "person",
        },
        indexes=(
            *(("school_id", "id"), ("area_id", "id"), ("level_id", "id"), ("state", "id"), ("updated_at", "id")),
            *(("lead_id",), ("provider_id",)),
        ),
        lock="secured_area",
    )
    student_table(
        "group_member",
        """
        group_id uuid NOT NULL,
        support_id uuid NOT NULL,
        from_on date NOT NULL,
        until_on date
        """,
        refs={"group_id": "support_group", "support_id": "support"},
        uniques=(("group_id", "support_id", "from_on"),),
        indexes=(("support_id",),),
    )
    tenant_table(
        "group_session",
        """
        group_id uuid NOT NULL,
        held_on date NOT NULL,
        number integer NOT NULL,
        planned_minutes integer NOT NULL,
        lost_because text,
        recorded_by uuid,
        sender uuid,
        external_id text,
        secured_area text,
        recorded_at timestamptz NOT NULL,
        version integer NOT NULL
        """,
        refs={"group_id": "support_group", "recorded_by": "person"},
        uniques=(("group_id", "held_on", "number"), ("sender", "external_id")),
        indexes=(("group_id", "id"),),
        lock="secured_area",
    )
    op.execute("ALTER TABLE session ADD COLUMN group_session_id uuid")
    create_index("session_group_idx ON session (district_id, group_session_id)")
    # No row names a group's session yet, so the constraint has nothing to check.
    op.execute(
        "-- squawk-ignore constraint-missing-not-valid, adding-foreign-key-constraint\n"
        "ALTER TABLE session ADD CONSTRAINT session_district_id_group_session_id_fkey "
        "FOREIGN KEY (district_id, group_session_id) REFERENCES group_session (district_id, id)"
    )
