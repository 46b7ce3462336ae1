"""The first schema: every table, policy, grant and directory function, in the order in which they refer to each other.

It is long, so that its tables stand in `migrations/baseline`, by subject. Both are frozen.
"""

from alembic import op

from migrations.baseline import access, events, gradebook, playbook, response, roster, support, sync, webhooks
from migrations.tenant import grant

revision = "0001"
down_revision = None

# As `aimline migrate` does at each run; here for who applies the migrations by hand.
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
    # The processes read which revision the database has, to say that they are not ready over an older one.
    grant("SELECT", "alembic_version", "api", "worker")
