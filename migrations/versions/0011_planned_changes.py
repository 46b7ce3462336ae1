"""Adds the list of changes that a run would make, for runs that wait for approval (held) or are only tried (dry).

A person can read the list before and after the decision. `sis_planned_change` has digests of personal values; the
values themselves are in `sis_planned_value`. Reading the planned values of demographics needs the same scope as reading
demographics.
"""

from alembic import context, op

from migrations.tenant import create_index, distribute, grant, tenant_table

revision = "0011"
down_revision = "0010"

# A student whom the run would create is no row yet, so that no foreign key leads to students. The orgs are those before
# and after the change, and do not follow the student.
ABOUT = "student_id uuid, org_ids uuid[] NOT NULL"


def upgrade() -> None:
    op.execute("ALTER TABLE sis_run ADD COLUMN listed integer NOT NULL DEFAULT 0")
    create_index("sis_run_listed_idx ON sis_run (district_id, source_id, id) WHERE listed > 0")
    tenant_table(
        "sis_planned_change",
        f"""
        run_id uuid NOT NULL,
        kind text NOT NULL,
        action text NOT NULL,
        row_id uuid NOT NULL,
        sourced_id text,
        {ABOUT},
        fields jsonb NOT NULL
        """,
        refs={"run_id": "sis_run"},
        indexes=(("run_id", "id"), ("run_id", "kind", "id"), ("run_id", "row_id")),
        student="student_id",
        schools="org_ids",
        unless="student_id IS NULL",
        api="SELECT",
        worker="SELECT, INSERT, DELETE",
    )
    tenant_table(
        "sis_planned_value",
        f"""
        run_id uuid NOT NULL,
        {ABOUT},
        secured_area text,
        personal jsonb NOT NULL
        """,
        refs={"id": "sis_planned_change", "run_id": "sis_run"},
        indexes=(("run_id", "id"),),
        student="student_id",
        schools="org_ids",
        unless="student_id IS NULL",
        lock="secured_area",
        api="SELECT",
        worker="SELECT, INSERT, DELETE",
    )
    _create_left_out()


def _create_left_out() -> None:
    """Creates the staging table of the planned rows that a partial approval leaves out."""
    unlogged = "" if context.config.attributes.get("citus") else "UNLOGGED "
    op.execute(
        f"""CREATE {unlogged}TABLE staging.left_out (district_id uuid NOT NULL, run_id uuid NOT NULL, kind text,
            id uuid, action text, reason text, moves boolean,
            CONSTRAINT left_out_pkey PRIMARY KEY (district_id, run_id, kind, id))"""
    )
    grant("SELECT, INSERT, UPDATE, DELETE", "staging.left_out", "worker")
    distribute("staging.left_out")
