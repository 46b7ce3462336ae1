"""Creates the first schema: all tables, policies, grants and directory functions, in the order of their references.

The tables are defined by subject in the folder `migrations/baseline`. This file and that folder are never changed.
"""

from alembic import op

from migrations.baseline import access, events, gradebook, playbook, response, roster, support, sync, webhooks
from migrations.tenant import grant

revision = "0001"
down_revision = None

# `aimline migrate` does the same at each run; this is for those who apply the migrations by hand.
REVOKE_CREATION = """
DO $$ BEGIN
    EXECUTE format('REVOKE TEMPORARY, CREATE ON DATABASE %I FROM PUBLIC', current_database());
    REVOKE CREATE ON SCHEMA public FROM PUBLIC;
END $$
"""


def upgrade() -> None:
    op.execute(REVOKE_CREATION)
    access.create_schemas()
    access.create_tables()
    events.create_tables()
    roster.create_tables()
    gradebook.create_tables()
    playbook.create_tables()
    support.create_tables()
    response.create_tables()
    support.create_decisions()
    webhooks.create_tables()
    sync.create_tables()
    # The processes read the database's revision, to report that they are not ready with an older one.
    grant("SELECT", "alembic_version", "api", "worker")
