"""Verdicts: interval, odds, stated rates, alerts and their retraction; changes of scores; settlements; calibrations."""

from alembic import op

from migrations.tenant import grant, roles, student_table, tenant_table

revision = "0009"
down_revision = "0008"

APPENDED = {"api": "SELECT, INSERT", "worker": "SELECT, INSERT, UPDATE"}
"""Rows that nobody changes; the worker may only move them to a student's new school."""

DUE = """
CREATE FUNCTION app.districts_with_settlements_due(most integer) RETURNS SETOF uuid
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public AS
$$ SELECT s.district_id FROM settlement AS s
   WHERE s.state = 'pending' AND s.due <= now() AND (s.leased_until IS NULL OR s.leased_until <= now())
   GROUP BY s.district_id ORDER BY min(s.due) LIMIT most $$
"""


def upgrade() -> None:
    tenant_table(
        "calibration",
        """
        number integer NOT NULL,
        measure_id uuid NOT NULL,
        grade text,
        made_at timestamptz NOT NULL,
        series integer NOT NULL,
        scores integer NOT NULL,
        published boolean NOT NULL,
        estimates jsonb NOT NULL,
        report jsonb NOT NULL
        """,
        refs={"measure_id": "measure"},
        uniques=(("number", "measure_id", "grade"),),
        api="SELECT",
        worker="SELECT, INSERT",
    )
    op.execute(
        "ALTER TABLE measure ADD COLUMN kind text NOT NULL DEFAULT 'growth', ADD COLUMN forms text[]",
    )
    op.execute(
        """ALTER TABLE verdict
           ADD COLUMN rate_low double precision, ADD COLUMN rate_high double precision,
           ADD COLUMN odds double precision, ADD COLUMN stated_far double precision,
           ADD COLUMN change_on date, ADD COLUMN last_on date, ADD COLUMN last_week integer,
           ADD COLUMN retracts uuid, ADD COLUMN calibration_id uuid"""
    )
    # The columns are new and empty: what is there needs no validating, and what comes is checked.
    for column, target in (("retracts", "verdict"), ("calibration_id", "calibration")):
        name = f"verdict_district_id_{column}_fkey"
        op.execute(
            f"ALTER TABLE verdict ADD CONSTRAINT {name} FOREIGN KEY (district_id, {column}) "
            f"REFERENCES {target} (district_id, id) NOT VALID"
        )
    op.execute(
        """ALTER TABLE response_state
           ADD COLUMN alert_id uuid, ADD COLUMN memory jsonb NOT NULL DEFAULT '{}', ADD COLUMN settled_on date"""
    )
    op.execute(
        "ALTER TABLE response_state ADD CONSTRAINT response_state_district_id_alert_id_fkey "
        "FOREIGN KEY (district_id, alert_id) REFERENCES verdict (district_id, id) NOT VALID"
    )
    student_table(
        "score_change",
        """
        score_id uuid NOT NULL,
        version integer NOT NULL,
        action text NOT NULL,
        because text,
        before jsonb NOT NULL,
        changed_by uuid,
        changed_by_client uuid,
        changed_at timestamptz NOT NULL
        """,
        refs={"score_id": "score", "changed_by": "person"},
        uniques=(("score_id", "version"),),
        **APPENDED,
    )
    tenant_table(
        "settlement",
        """
        kind text NOT NULL,
        measure_id uuid NOT NULL,
        school_id uuid NOT NULL,
        monday date NOT NULL,
        quiet boolean NOT NULL,
        state text NOT NULL,
        due timestamptz NOT NULL,
        attempts integer NOT NULL,
        leased_until timestamptz,
        ended_at timestamptz
        """,
        refs={"measure_id": "measure"},
        uniques=(("kind", "measure_id", "school_id", "monday"),),
    )
    op.execute("CREATE INDEX settlement_due_idx ON settlement (district_id, due) WHERE state = 'pending'")
    op.execute(DUE)
    op.execute("REVOKE ALL ON FUNCTION app.districts_with_settlements_due(integer) FROM PUBLIC")
    op.execute(f'GRANT EXECUTE ON FUNCTION app.districts_with_settlements_due(integer) TO "{roles()["worker"]}"')
    # A playbook is published through a face; a version, once there, is never changed.
    grant("INSERT", "playbook_version", "api")
