"""Adds the test clock of a sandbox district. Also adds the local date on which each support's response state began."""

from alembic import op

from migrations.tenant import grant, tenant_table

revision = "0013"
down_revision = "0012"

BEGAN_ON = """
DO $$ DECLARE d record; BEGIN
    FOR d IN SELECT t.district_id, coalesce(z.name, 'UTC') AS zone
             FROM district AS t LEFT JOIN pg_timezone_names AS z ON z.name = t.time_zone LOOP
        UPDATE response_state SET since_on = (since AT TIME ZONE d.zone)::date WHERE district_id = d.district_id;
    END LOOP;
END $$
"""


def upgrade() -> None:
    """Creates the table of test clocks.

    Only the operator adds rows, when a sandbox district is created, so that no request can give a district a clock.
    """
    tenant_table(
        "test_clock",
        "today date, moved_at timestamptz",
        key=(),
        refs={"district_id": "district"},
        api="SELECT, UPDATE",
        worker="SELECT, INSERT",
    )
    op.execute("ALTER TABLE response_state ADD COLUMN since_on date NOT NULL DEFAULT '1970-01-01'")
    op.execute(BEGAN_ON)
    # The default was only for the rows that had none; every new row names its day.
    op.execute("-- squawk-ignore ban-drop-default\nALTER TABLE response_state ALTER COLUMN since_on DROP DEFAULT")
    grant("SELECT (district_id, kind, state), UPDATE (due)", "task", "api")
