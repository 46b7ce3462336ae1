"""Adds hypotheses about the causes of concerns, and the intervention library, whose entries supports refer to."""

from alembic import op

from migrations.tenant import create_index, student_table, tenant_table

revision = "0023"
down_revision = "0022"

KINDS = """
DO $$ DECLARE d uuid; BEGIN
    FOR d IN SELECT district_id FROM district LOOP
        INSERT INTO hypothesis_kind (district_id, id, code, name, from_version)
        SELECT d, gen_random_uuid(), k.code, k.name, 1
        FROM (VALUES ('skill', 'A missing skill'), ('task', 'The task does not fit'),
                     ('environment', 'The environment'), ('motivation', 'Motivation'), ('attendance', 'Attendance'),
                     ('language', 'The language of instruction'), ('health', 'Health')) AS k (code, name)
        ON CONFLICT DO NOTHING;
    END LOOP;
END $$
"""


def upgrade() -> None:
    _create_hypotheses()
    _create_library()


def _create_library() -> None:
    """Creates the table of the intervention library, and the columns of other tables that refer to it.

    Supports, phases and groups refer to entries of the library. Sessions state which parts of an entry's checklist were
    done.
    """
    tenant_table(
        "intervention",
        """
        code text NOT NULL,
        number integer NOT NULL,
        state text NOT NULL,
        name text NOT NULL,
        area_ids uuid[] NOT NULL,
        levels integer[] NOT NULL,
        minutes_per_session integer,
        sessions_per_week integer,
        group_from integer,
        group_to integer,
        materials text,
        steps text[] NOT NULL,
        checklist text[] NOT NULL,
        entry_criteria text,
        exit_criteria text,
        evidence_note text,
        languages text[] NOT NULL,
        published_at timestamptz,
        retired_at timestamptz,
        created_at timestamptz NOT NULL,
        updated_at timestamptz NOT NULL DEFAULT now(),
        version integer NOT NULL
        """,
        refs={"district_id": "district"},
        uniques=(("code", "number"),),
        indexes=(("state", "id"), ("updated_at", "id")),
    )
    for table in ("support", "phase", "support_group"):
        op.execute(f"ALTER TABLE {table} ADD COLUMN intervention_id uuid")
        # No row cites an entry yet, so the constraint has nothing to check.
        op.execute(
            "-- squawk-ignore constraint-missing-not-valid, adding-foreign-key-constraint\n"
            f"ALTER TABLE {table} ADD CONSTRAINT {table}_district_id_intervention_id_fkey "
            "FOREIGN KEY (district_id, intervention_id) REFERENCES intervention (district_id, id)"
        )
        create_index(f"{table}_intervention_idx ON {table} (district_id, intervention_id)")
    op.execute("ALTER TABLE session ADD COLUMN done_parts integer[]")
    op.execute("ALTER TABLE session ADD COLUMN checklist_size integer")


def _create_hypotheses() -> None:
    tenant_table(
        "hypothesis_kind",
        """
        code text NOT NULL,
        name text NOT NULL,
        from_version integer NOT NULL,
        until_version integer,
        updated_at timestamptz NOT NULL DEFAULT now()
        """,
        refs={"district_id": "district"},
        uniques=(("code", "from_version"),),
        indexes=(("updated_at", "id"),),
        more_indexes=("hypothesis_kind_in_force_idx ON hypothesis_kind (district_id, id) WHERE until_version IS NULL",),
    )
    op.execute(KINDS)
    student_table(
        "hypothesis",
        """
        concern_id uuid NOT NULL,
        kind_id uuid NOT NULL,
        statement text NOT NULL,
        refuted_if text NOT NULL,
        evidence_for text[] NOT NULL,
        evidence_against text[] NOT NULL,
        state text NOT NULL,
        support_id uuid,
        testing_since date,
        verdict_state text,
        due_since date NOT NULL DEFAULT '9999-01-01',
        due_because text,
        proposed_by uuid,
        proposed_by_client uuid,
        proposed_on date NOT NULL,
        closed_by uuid,
        closed_on date,
        closed_because text,
        verdict_id uuid,
        dosage jsonb,
        created_at timestamptz NOT NULL,
        updated_at timestamptz NOT NULL DEFAULT now(),
        version integer NOT NULL
        """,
        refs={
            "concern_id": "concern",
            "kind_id": "hypothesis_kind",
            "support_id": "support",
            "proposed_by": "person",
            "closed_by": "person",
            "verdict_id": "verdict",
        },
        indexes=(
            *(("concern_id", "id"), ("support_id", "id"), ("state", "id"), ("due_since", "id"), ("updated_at", "id")),
            ("kind_id",),
        ),
        more_indexes=("hypothesis_due_idx ON hypothesis (district_id, id) WHERE due_because IS NOT NULL",),
        by_school=("id",),
    )
