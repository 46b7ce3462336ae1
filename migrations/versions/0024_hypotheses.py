"""Hypotheses about the causes of concerns, and the playbook's kinds of hypotheses."""

from alembic import op

from migrations.tenant import student_table, tenant_table

revision = "0024"
down_revision = "0020"

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
        by_school=("id",),
    )
    op.execute("CREATE INDEX hypothesis_due_idx ON hypothesis (district_id, id) WHERE due_because IS NOT NULL")
