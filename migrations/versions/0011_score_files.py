"""Creates the staging tables of CSV files of scores."""

from alembic import context, op

from migrations.tenant import distribute, grant

revision = "0011"
down_revision = "0008"

SCORE = """student_id uuid, measure_id uuid, secured_area text, taken_on date, attempt integer,
    value double precision, form text, purpose text"""
TABLES = {
    "staged_score": (
        f"row_number bigint NOT NULL, external_id text, student text, measure text, gone boolean, fault text, {SCORE}",
        "row_number",
    ),
    "plan_score": (
        f"""id uuid NOT NULL, external_id text, row_number bigint, action text, field text, code text,
        version integer, {SCORE}""",
        "id",
    ),
    "score_measure": (
        """name text NOT NULL, measure_id uuid, secured_area text, lowest double precision,
        highest double precision, forms text[]""",
        "name",
    ),
}


def upgrade() -> None:
    unlogged = "" if context.config.attributes.get("citus") else "UNLOGGED "
    for name, (columns, key) in TABLES.items():
        op.execute(
            f"CREATE {unlogged}TABLE staging.{name} (district_id uuid NOT NULL, run_id uuid NOT NULL, {columns}, "
            f"CONSTRAINT {name}_pkey PRIMARY KEY (district_id, run_id, {key}))"
        )
        grant("SELECT, INSERT, UPDATE, DELETE", f"staging.{name}", "worker")
        distribute(f"staging.{name}")
