"""Adds protocols, series of meetings, meetings, and the items of their agendas. The playbook defines the items'
order.
"""

from alembic import op

from migrations.tenant import tenant_table

revision = "0025"
down_revision = "0024"

OF_TEAM = "team_id uuid NOT NULL, team_school_id uuid"
TEAM = ("team_id", "team_school_id")
CHANGES = """
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL DEFAULT now(),
    version integer NOT NULL
"""


def upgrade() -> None:
    op.execute("ALTER TABLE playbook_version ADD COLUMN agenda_order text[] NOT NULL DEFAULT '{}'")
    tenant_table(
        "protocol",
        """
        code text NOT NULL,
        number integer NOT NULL,
        name text NOT NULL,
        steps jsonb NOT NULL,
        published_by uuid,
        published_at timestamptz NOT NULL,
        retired_at timestamptz,
        updated_at timestamptz NOT NULL DEFAULT now()
        """,
        refs={"district_id": "district", "published_by": "person"},
        uniques=(("code", "number"),),
        indexes=(("updated_at", "id"),),
    )
    _create_meetings()
    _create_items()


def _create_meetings() -> None:
    # The series begins at a local time of day, which stays when the clock changes: so it has no time zone.
    tenant_table(
        "meeting_series",
        f"""
        {OF_TEAM},
        protocol_id uuid,
        rule text NOT NULL,
        -- squawk-ignore prefer-timestamp-tz
        begins_at timestamp NOT NULL,
        minutes integer NOT NULL,
        place text,
        state text NOT NULL,
        ended_on date,
        {CHANGES}
        """,
        refs={"team_id": "team", "protocol_id": "protocol"},
        indexes=(("team_id", "id"), ("state", "id"), ("updated_at", "id")),
        team=TEAM,
    )
    tenant_table(
        "meeting",
        f"""
        {OF_TEAM},
        series_id uuid,
        occurs_on date,
        protocol_id uuid,
        starts_at timestamptz NOT NULL,
        minutes integer NOT NULL,
        place text,
        state text NOT NULL,
        present uuid[] NOT NULL,
        agenda_order text[] NOT NULL,
        opened_at timestamptz,
        closed_at timestamptz,
        cancelled_because text,
        fell_on_break boolean NOT NULL,
        {CHANGES}
        """,
        refs={"team_id": "team", "series_id": "meeting_series", "protocol_id": "protocol"},
        uniques=(("series_id", "occurs_on"),),
        indexes=(
            *(("team_id", "id"), ("series_id", "id"), ("state", "id"), ("updated_at", "id")),
            *(("starts_at", "id"), ("team_id", "starts_at", "id")),
        ),
        team=TEAM,
    )
    # The table is empty, so the index is built at once.
    op.execute(
        "-- squawk-ignore require-concurrent-index-creation\n"
        "CREATE UNIQUE INDEX meeting_open_idx ON meeting (district_id, team_id) WHERE state = 'open'"
    )


def _create_items() -> None:
    tenant_table(
        "agenda_item",
        f"""
        {OF_TEAM},
        student_id uuid,
        school_ids uuid[] NOT NULL,
        secured_area text,
        meeting_id uuid,
        kind text NOT NULL,
        subject_kind text NOT NULL,
        subject_id uuid NOT NULL,
        basis text NOT NULL,
        since date NOT NULL,
        reasons jsonb NOT NULL,
        rank integer NOT NULL,
        state text NOT NULL,
        text text,
        minutes text,
        decision_id uuid,
        dropped_because text,
        carried_from uuid,
        suspended_on date,
        suspended_because text,
        times_carried integer NOT NULL,
        added_by uuid,
        settled_by uuid,
        settled_at timestamptz,
        {CHANGES}
        """,
        refs={
            **{"team_id": "team", "student_id": "person", "meeting_id": "meeting", "decision_id": "decision"},
            **{"carried_from": "agenda_item", "added_by": "person", "settled_by": "person"},
        },
        indexes=(
            *(("team_id", "id"), ("student_id", "id"), ("state", "id"), ("updated_at", "id")),
            *(("meeting_id", "id"), ("team_id", "subject_id", "kind")),
        ),
        student="student_id",
        unless="student_id IS NULL",
        lock="secured_area",
        team=TEAM,
    )
    # The table is empty, so the index is built at once.
    op.execute(
        "-- squawk-ignore require-concurrent-index-creation\n"
        "CREATE UNIQUE INDEX agenda_item_open_idx ON agenda_item (district_id, team_id, subject_id, kind) "
        "WHERE state = 'open'"
    )
