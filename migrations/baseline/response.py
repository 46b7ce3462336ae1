"""Creates the tables of scores and their changes, verdicts, each support's state, and settlements.

A settlement is a job that judges the series of a measure at a school again.
"""

from migrations.tenant import directory_function, student_table, tenant_table

APPENDED = "SELECT, INSERT"
"""The privileges of the api on rows that never change; the worker may also move them to a student's new school."""

DISTRICTS_DUE = """
CREATE FUNCTION app.districts_with_settlements_due(most integer) RETURNS SETOF uuid
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT s.district_id FROM public.settlement AS s
    WHERE s.state = 'pending' AND s.due <= now() AND (s.leased_until IS NULL OR s.leased_until <= now())
    GROUP BY s.district_id ORDER BY min(s.due) LIMIT most
$$
"""


def create_tables() -> None:
    """Creates the tables of scores, verdicts and settlements. A settlement is a job that judges series again.

    Also creates the function that lists the districts in which a settlement is due.
    """
    _create_scores()
    _create_verdicts()
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
        more_indexes=("settlement_due_idx ON settlement (district_id, due) WHERE state = 'pending'",),
    )
    directory_function(DISTRICTS_DUE, "app.districts_with_settlements_due(integer)", "worker")


def _create_scores() -> None:
    student_table(
        "score",
        """
        measure_id uuid NOT NULL,
        purpose text NOT NULL,
        taken_on date NOT NULL,
        attempt integer NOT NULL,
        value double precision NOT NULL,
        form text,
        given_by uuid,
        sender uuid,
        external_id text,
        recorded_at timestamptz NOT NULL,
        version integer NOT NULL,
        removed_at timestamptz
        """,
        refs={"measure_id": "measure", "given_by": "person"},
        uniques=(("student_id", "measure_id", "taken_on", "attempt"), ("sender", "external_id")),
        by_school=("id",),
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
        api=APPENDED,
    )


def _create_verdicts() -> None:
    student_table(
        "verdict",
        """
        support_id uuid NOT NULL,
        phase_id uuid NOT NULL,
        number integer NOT NULL,
        state text NOT NULL,
        kind text,
        because jsonb NOT NULL,
        sentence text NOT NULL,
        statistic double precision,
        threshold double precision,
        rate double precision,
        rate_low double precision,
        rate_high double precision,
        required_rate double precision NOT NULL,
        odds double precision,
        stated_far double precision,
        sem double precision,
        change_week integer,
        change_on date,
        last_on date,
        last_week integer,
        rule text NOT NULL,
        rule_version integer NOT NULL,
        parameters jsonb NOT NULL,
        score_ids uuid[] NOT NULL,
        retracts uuid,
        calibration_id uuid,
        playbook_version_id uuid NOT NULL,
        judged_at timestamptz NOT NULL
        """,
        refs={
            "support_id": "support",
            "phase_id": "phase",
            "retracts": "verdict",
            "calibration_id": "calibration",
            "playbook_version_id": "playbook_version",
        },
        uniques=(("support_id", "number"),),
        api=APPENDED,
    )
    student_table(
        "response_state",
        """
        support_id uuid NOT NULL,
        verdict_id uuid NOT NULL,
        alert_id uuid,
        state text NOT NULL,
        kind text,
        since timestamptz NOT NULL,
        memory jsonb NOT NULL DEFAULT '{}',
        settled_on date
        """,
        key=("support_id",),
        refs={"support_id": "support", "verdict_id": "verdict", "alert_id": "verdict"},
        indexes=(("state",),),
    )
