"""Adds notes about concerns and supports, and the day since which a concern has had no active support."""

from alembic import op

from migrations.tenant import create_index, student_table

revision = "0020"
down_revision = "0019"

UNSERVED = """
DO $$ DECLARE d uuid; BEGIN
    FOR d IN SELECT district_id FROM district LOOP
        UPDATE concern AS c SET unserved_since = coalesce(c.settled_at, c.created_at)::date, updated_at = now()
        WHERE c.district_id = d AND c.state = 'accepted' AND NOT EXISTS (
            SELECT FROM support_concern AS x
            JOIN support AS s ON s.district_id = d AND s.id = x.support_id AND s.state = 'active'
            WHERE x.district_id = d AND x.concern_id = c.id);
    END LOOP;
END $$
"""
"""States for the accepted concerns without an active support since when they were accepted."""

ONLY_UNSERVED = "WHERE unserved_since IS NOT NULL"


def upgrade() -> None:
    student_table(
        "note",
        """
        about_kind text NOT NULL,
        about_id uuid NOT NULL,
        text text NOT NULL,
        author_id uuid,
        author_client uuid,
        team_id uuid,
        written_on date NOT NULL,
        created_at timestamptz NOT NULL,
        updated_at timestamptz NOT NULL DEFAULT now(),
        version integer NOT NULL
        """,
        refs={"author_id": "person", "team_id": "team"},
        indexes=(("about_id", "id"),),
        by_school=("id",),
    )
    op.execute("CREATE INDEX note_updated_idx ON note (district_id, updated_at, id)")
    student_table(
        "note_change",
        """
        note_id uuid NOT NULL,
        version integer NOT NULL,
        text text NOT NULL,
        because text NOT NULL,
        changed_at timestamptz NOT NULL
        """,
        refs={"note_id": "note"},
        uniques=(("note_id", "version"),),
        api="SELECT, INSERT",
    )
    op.execute("ALTER TABLE concern ADD COLUMN unserved_since date")
    # A generated column rewrites the table once, in this transaction.
    op.execute(
        "-- squawk-ignore adding-field-with-default\n"
        "ALTER TABLE concern ADD COLUMN unserved_order date NOT NULL "
        "GENERATED ALWAYS AS (COALESCE(unserved_since, DATE '9999-01-01')) STORED"
    )
    create_index("concern_unserved_order_idx ON concern (district_id, unserved_order, id)")
    create_index(f"concern_unserved_idx ON concern (district_id, unserved_order, id) {ONLY_UNSERVED}")
    for column in ("school_id", "second_school_id", "third_school_id"):
        name = f"concern_unserved_{column.removesuffix('_id')}_idx"
        create_index(f"{name} ON concern (district_id, {column}, unserved_order, id) {ONLY_UNSERVED}")
    op.execute(UNSERVED)
