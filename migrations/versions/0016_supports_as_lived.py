"""Adds columns and tables for the life of a support: it starts by itself, changes, is handed over, and is suspended
with its student.
"""

from alembic import op

from migrations.tenant import create_index, student_table

revision = "0016"
down_revision = "0015"

INTERVENTIONS = """
DO $$ DECLARE d uuid; BEGIN
    FOR d IN SELECT district_id FROM district LOOP
        UPDATE phase AS p SET intervention = s.intervention FROM support AS s
        WHERE p.district_id = d AND s.district_id = d AND s.id = p.support_id;
        UPDATE phase AS p SET verb = 'change' WHERE p.district_id = d AND p.number > 1;
    END LOOP;
END $$
"""
"""A phase before this revision has the intervention of its support, and the way in which it began is not known."""


def upgrade() -> None:
    op.execute(
        """ALTER TABLE support
           ADD COLUMN starts text NOT NULL DEFAULT 'on_its_day',
           ADD COLUMN suspended_on date[] NOT NULL DEFAULT '{}',
           ADD COLUMN resumed_on date[] NOT NULL DEFAULT '{}',
           ADD COLUMN unled_since date,
           ADD COLUMN moved_on date"""
    )
    op.execute(
        """ALTER TABLE phase
           ADD COLUMN intervention text NOT NULL DEFAULT '',
           ADD COLUMN group_size integer,
           ADD COLUMN verb text NOT NULL DEFAULT 'plan',
           ADD COLUMN changes text[] NOT NULL DEFAULT '{}'"""
    )
    op.execute(INTERVENTIONS)
    create_index("support_start_idx ON support (district_id, starts_on, id) WHERE state = 'planned'")
    create_index("support_unled_idx ON support (district_id, id) WHERE unled_since IS NOT NULL")
    create_index("support_moved_idx ON support (district_id, id) WHERE moved_on IS NOT NULL")
    student_table(
        "handover",
        """
        support_id uuid NOT NULL,
        handed_over_on date NOT NULL,
        lead_before uuid,
        lead_id uuid,
        provider_before uuid,
        provider_id uuid,
        because text NOT NULL,
        made_by uuid,
        made_by_client uuid,
        created_at timestamptz NOT NULL
        """,
        refs={
            "support_id": "support",
            "lead_before": "person",
            "lead_id": "person",
            "provider_before": "person",
            "provider_id": "person",
            "made_by": "person",
        },
        indexes=(("support_id", "id"),),
        api="SELECT, INSERT",
    )
