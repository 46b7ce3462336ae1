"""Adds measures that a support has besides its first one, each with a goal in each phase and verdicts of its own."""

from alembic import op

from migrations.tenant import create_index, student_table

revision = "0019"
down_revision = "0018"

# What was judged before this revision has the one measure of its support.
BACKFILLED = """
DO $$ DECLARE d uuid; BEGIN
    FOR d IN SELECT district_id FROM district LOOP
        UPDATE verdict AS v SET measure_id = s.measure_id FROM support AS s
        WHERE v.district_id = d AND s.district_id = d AND s.id = v.support_id;
        UPDATE response_state SET verdict_ids = ARRAY[verdict_id] WHERE district_id = d;
    END LOOP;
END $$
"""


def upgrade() -> None:
    student_table(
        "support_measure",
        """
        support_id uuid NOT NULL,
        measure_id uuid NOT NULL,
        followed_from date NOT NULL,
        followed_until date,
        created_at timestamptz NOT NULL,
        version integer NOT NULL
        """,
        refs={"support_id": "support", "measure_id": "measure"},
        uniques=(("support_id", "measure_id"),),
        indexes=(("measure_id",),),
    )
    student_table(
        "phase_goal",
        """
        support_id uuid NOT NULL,
        support_measure_id uuid NOT NULL,
        phase_id uuid NOT NULL,
        measure_id uuid NOT NULL,
        begins_on date NOT NULL,
        baseline double precision NOT NULL,
        goal double precision NOT NULL,
        goal_on date NOT NULL,
        required_rate double precision,
        required_rate_before double precision,
        realistic_rate double precision,
        rate_check text,
        benchmark_id uuid
        """,
        refs={
            "support_id": "support",
            "support_measure_id": "support_measure",
            "phase_id": "phase",
            "measure_id": "measure",
            "benchmark_id": "benchmark",
        },
        uniques=(("phase_id", "measure_id"),),
        indexes=(("support_measure_id",), ("support_id",)),
    )
    create_index("level_order_idx ON level (district_id, rank, id)")
    op.execute("ALTER TABLE support ADD COLUMN more_measures uuid[] NOT NULL DEFAULT '{}'")
    create_index(
        "support_more_measures_idx ON support (district_id, school_id, id) WHERE cardinality(more_measures) > 0"
    )
    op.execute("ALTER TABLE verdict ADD COLUMN measure_id uuid, ADD COLUMN measures integer NOT NULL DEFAULT 1")
    op.execute("ALTER TABLE response_state ADD COLUMN verdict_ids uuid[] NOT NULL DEFAULT '{}'")
    op.execute(BACKFILLED)
    # Every row got its measure above, from its support. No other table refers to the column yet.
    op.execute("-- squawk-ignore adding-not-nullable-field\nALTER TABLE verdict ALTER COLUMN measure_id SET NOT NULL")
    op.execute(
        "-- squawk-ignore adding-foreign-key-constraint, constraint-missing-not-valid\n"
        "ALTER TABLE verdict ADD CONSTRAINT verdict_district_id_measure_id_fkey FOREIGN KEY (district_id, measure_id) "
        "REFERENCES measure (district_id, id)"
    )
