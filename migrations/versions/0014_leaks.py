"""Functions with the owner's rights see no schema but pg_catalog; an answer from a private network is not shown."""

from alembic import op

revision = "0014"
down_revision = "0013"

# `pg_temp` must be named, and last: PostgreSQL searches it first where it is not named, and then a temporary view of
# the caller takes a table's place. Without `public` a table without its schema is an error when a function is made.
QUALIFIED = (
    "app.client_directory(uuid)",
    "app.district_directory(text)",
    "app.districts_with_webhooks_due(timestamptz, integer)",
    "app.districts_with_syncs_due(integer)",
    "app.sync_standing()",
    "app.districts_after(uuid, integer)",
)
ANSWERED = """
CREATE OR REPLACE FUNCTION app.districts_with_syncs_answered(most integer) RETURNS SETOF uuid
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT DISTINCT r.district_id FROM public.sis_run AS r
    WHERE r.state = 'approved' OR (r.state = 'discarded' AND r.plan IS NOT NULL) LIMIT most
$$
"""
SETTLEMENTS = """
CREATE OR REPLACE FUNCTION app.districts_with_settlements_due(most integer) RETURNS SETOF uuid
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT s.district_id FROM public.settlement AS s
    WHERE s.state = 'pending' AND s.due <= now() AND (s.leased_until IS NULL OR s.leased_until <= now())
    GROUP BY s.district_id ORDER BY min(s.due) LIMIT most
$$
"""
# As `aimline migrate` does at each run; here for who applies the migrations by hand.
MAKE_NOTHING = """
DO $$ BEGIN
    EXECUTE format('REVOKE TEMPORARY, CREATE ON DATABASE %I FROM PUBLIC', current_database());
    REVOKE CREATE ON SCHEMA public FROM PUBLIC;
END $$
"""


def upgrade() -> None:
    op.execute(MAKE_NOTHING)
    op.execute(ANSWERED)
    op.execute(SETTLEMENTS)
    for function in QUALIFIED:
        op.execute(f"ALTER FUNCTION {function} SET search_path = pg_catalog, pg_temp")
    # Of what was answered before, nobody knows from where: it is not shown.
    op.execute("ALTER TABLE webhook_attempt ADD COLUMN from_private_network boolean NOT NULL DEFAULT true")
