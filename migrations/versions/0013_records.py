"""Whoever writes about a student locks the student's row; a sync says what it found out of step and put right."""

from alembic import op

from migrations.tenant import roles

revision = "0013"
down_revision = "0012"


def upgrade() -> None:
    # To lock a row one needs the right to update a column of it. This one can hold nothing: the api may lock people,
    # and change nothing of them.
    op.execute("ALTER TABLE person ADD COLUMN row_lock boolean")
    op.execute("ALTER TABLE person ADD CONSTRAINT person_row_lock_check CHECK (row_lock IS NULL)")
    op.execute(f'GRANT UPDATE (row_lock) ON person TO "{roles()["api"]}"')
    op.execute("ALTER TABLE sis_run ADD COLUMN repaired jsonb NOT NULL DEFAULT '{}'")
    op.execute("ALTER TABLE sis_run ALTER COLUMN repaired DROP DEFAULT")
