"""Adds columns to the table of verdicts: the probabilities of the student's growth, and a short label."""

from alembic import op

revision = "0010"
down_revision = "0009"

LABELS = """
DO $$ DECLARE d uuid; BEGIN
    FOR d IN SELECT district_id FROM district LOOP
        UPDATE verdict SET label = CASE
            WHEN kind = 'stopped' THEN 'Stopped responding'
            WHEN kind = 'never' THEN 'Not responding so far'
            WHEN state = 'insufficient_data' THEN 'Too few scores'
            WHEN state = 'responding' THEN 'Responding'
            WHEN state = 'below_pace' THEN 'Growing, below pace'
            WHEN state = 'goal_met' THEN 'Goal met'
            WHEN state = 'under_delivered' THEN 'Not delivered as planned'
            ELSE label END
        WHERE district_id = d;
    END LOOP;
END $$
"""


def upgrade() -> None:
    op.execute(
        """ALTER TABLE verdict
           ADD COLUMN slow double precision,
           ADD COLUMN short double precision,
           ADD COLUMN on_pace double precision,
           ADD COLUMN label text NOT NULL DEFAULT 'Not clear yet'"""
    )
    op.execute(LABELS)
