"""Lets the standard error of measurement of a measure differ by grade and range of scores.

The published values are added for each district whose measure of oral reading fluency has the default error.
"""

from alembic import op

revision = "0018"
down_revision = "0017"

PUBLISHED = """
DO $$ DECLARE d uuid; BEGIN
    FOR d IN SELECT district_id FROM district LOOP
        UPDATE measure SET sems = '[
            {"sem": 3.5, "grade": null, "from_score": null, "to_score": 30.0},
            {"sem": 5.0, "grade": "01", "from_score": 30.0, "to_score": null},
            {"sem": 10.0, "grade": null, "from_score": 120.0, "to_score": null}]'
        WHERE district_id = d AND code = 'orf' AND sem = 8.0;
    END LOOP;
END $$
"""


def upgrade() -> None:
    op.execute("ALTER TABLE measure ADD COLUMN sems jsonb NOT NULL DEFAULT '[]'")
    op.execute(PUBLISHED)
