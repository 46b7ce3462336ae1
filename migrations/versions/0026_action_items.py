"""Adds action items, which teams agree on and which return on their agendas until they have an outcome."""

from migrations.tenant import tenant_table

revision = "0026"
down_revision = "0025"


def upgrade() -> None:
    tenant_table(
        "action_item",
        """
        team_id uuid NOT NULL,
        team_school_id uuid,
        student_id uuid,
        school_ids uuid[] NOT NULL,
        secured_area text,
        text text NOT NULL,
        owner_id uuid NOT NULL,
        due_on date NOT NULL,
        state text NOT NULL,
        agenda_item_id uuid,
        agreed_by uuid,
        agreed_by_client uuid,
        agreed_on date NOT NULL,
        closed_by uuid,
        closed_on date,
        closed_because text,
        created_at timestamptz NOT NULL,
        updated_at timestamptz NOT NULL DEFAULT now(),
        version integer NOT NULL
        """,
        refs={
            "team_id": "team",
            "student_id": "person",
            "owner_id": "person",
            "agreed_by": "person",
            "closed_by": "person",
        },
        indexes=(
            *(("team_id", "id"), ("student_id",), ("owner_id", "id"), ("state", "id"), ("due_on", "id")),
            ("updated_at", "id"),
        ),
        student="student_id",
        unless="student_id IS NULL",
        lock="secured_area",
        team=("team_id", "team_school_id"),
    )
