"""Adds incidents of students with their kinds, and the signals and rules that refer to them."""

from alembic import op

from migrations.tenant import student_table, tenant_table

revision = "0033"
down_revision = "0032"

KINDS = """
DO $$ DECLARE d uuid; BEGIN
    FOR d IN SELECT district_id FROM district LOOP
        INSERT INTO incident_kind (district_id, id, code, name, from_version)
        SELECT d, gen_random_uuid(), k.code, k.name, 1
        FROM (VALUES ('disruption', 'Disruption'), ('defiance', 'Defiance or disrespect'),
                     ('inappropriate-language', 'Inappropriate language'),
                     ('physical-aggression', 'Physical aggression'), ('bullying', 'Bullying or harassment'),
                     ('property', 'Damage of property, or theft'), ('skipping', 'Skipping class, or tardiness'),
                     ('other', 'Other')) AS k (code, name)
        ON CONFLICT DO NOTHING;
    END LOOP;
END $$
"""


def upgrade() -> None:
    tenant_table(
        "incident_kind",
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
        more_indexes=("incident_kind_in_force_idx ON incident_kind (district_id, id) WHERE until_version IS NULL",),
    )
    op.execute(KINDS)
    student_table(
        "incident",
        """
        occurred_at timestamptz NOT NULL,
        occurred_on date NOT NULL,
        kind_id uuid NOT NULL,
        place text,
        response text,
        shared_reference text,
        recorded_by uuid,
        sender uuid,
        external_id text,
        recorded_at timestamptz NOT NULL,
        updated_at timestamptz NOT NULL DEFAULT now(),
        version integer NOT NULL,
        removed_at timestamptz,
        removed_because text
        """,
        refs={"kind_id": "incident_kind", "recorded_by": "person"},
        uniques=(("sender", "external_id"),),
        indexes=(
            *(("student_id", "occurred_on", "id"), ("occurred_on", "id"), ("updated_at", "id"), ("kind_id",)),
            ("shared_reference", "id"),
        ),
        by_school=("id",),
    )
    op.execute("ALTER TABLE signal ADD COLUMN incident_ids uuid[] NOT NULL DEFAULT '{}'")
    op.execute("ALTER TABLE signal_rule ADD COLUMN incident_kinds text[] NOT NULL DEFAULT '{}'")
