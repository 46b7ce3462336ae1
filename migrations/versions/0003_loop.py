"""The loop: playbook, evidence, concern, support, response, decision."""

from migrations.tenant import student_table, tenant_table

revision = "0003"
down_revision = "0002"

PLAYBOOK = {"api": "SELECT", "worker": "SELECT, INSERT, UPDATE"}
APPENDED = {"api": "SELECT, INSERT", "worker": "SELECT, INSERT, UPDATE"}
"""Rows that nobody changes; the worker may only move them to a student's new school."""


def upgrade() -> None:
    tenant_table(
        "area",
        "code text NOT NULL, name text NOT NULL, parent_id uuid, secured boolean NOT NULL",
        refs={"district_id": "district", "parent_id": "area"},
        uniques=(("code",),),
        **PLAYBOOK,
    )
    tenant_table(
        "level",
        "rank integer NOT NULL, name text NOT NULL",
        refs={"district_id": "district"},
        uniques=(("rank",),),
        **PLAYBOOK,
    )
    tenant_table(
        "measure",
        """code text NOT NULL, name text NOT NULL, area_id uuid NOT NULL, unit text NOT NULL,
        direction text NOT NULL, sem double precision, lowest double precision NOT NULL,
        highest double precision NOT NULL""",
        refs={"area_id": "area"},
        uniques=(("code",),),
        **PLAYBOOK,
    )
    tenant_table(
        "playbook_version",
        "number integer NOT NULL, published_at timestamptz NOT NULL, rules jsonb NOT NULL",
        refs={"district_id": "district"},
        uniques=(("number",),),
        **PLAYBOOK,
    )
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
    )
    student_table(
        "concern",
        """
        area_id uuid NOT NULL,
        state text NOT NULL,
        description text NOT NULL,
        raised_by uuid,
        raised_by_client uuid,
        raised_on date NOT NULL,
        settled_by uuid,
        settled_at timestamptz,
        settled_because text,
        created_at timestamptz NOT NULL,
        version integer NOT NULL
        """,
        refs={"area_id": "area", "raised_by": "person", "settled_by": "person"},
        indexes=(("state", "id"),),
    )
    student_table(
        "support",
        """
        intervention text NOT NULL,
        area_id uuid NOT NULL,
        level_id uuid NOT NULL,
        measure_id uuid NOT NULL,
        state text NOT NULL,
        lead_id uuid,
        provider_id uuid,
        starts_on date NOT NULL,
        ends_on date,
        ended_because text,
        playbook_version_id uuid NOT NULL,
        created_at timestamptz NOT NULL,
        version integer NOT NULL
        """,
        refs={
            "area_id": "area",
            "level_id": "level",
            "measure_id": "measure",
            "lead_id": "person",
            "provider_id": "person",
            "playbook_version_id": "playbook_version",
        },
        indexes=(("state", "id"), ("lead_id",)),
    )
    student_table(
        "support_concern",
        "support_id uuid NOT NULL, concern_id uuid NOT NULL",
        key=("support_id", "concern_id"),
        refs={"support_id": "support", "concern_id": "concern"},
        indexes=(("concern_id",),),
        **APPENDED,
    )
    student_table(
        "phase",
        """
        support_id uuid NOT NULL,
        number integer NOT NULL,
        level_id uuid NOT NULL,
        begins_on date NOT NULL,
        ends_on date,
        baseline double precision NOT NULL,
        goal double precision NOT NULL,
        goal_on date NOT NULL,
        minutes_per_session integer NOT NULL,
        sessions_per_week integer NOT NULL,
        because text NOT NULL
        """,
        refs={"support_id": "support", "level_id": "level"},
        uniques=(("support_id", "number"),),
    )
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
        required_rate double precision NOT NULL,
        change_week integer,
        rule text NOT NULL,
        rule_version integer NOT NULL,
        parameters jsonb NOT NULL,
        score_ids uuid[] NOT NULL,
        playbook_version_id uuid NOT NULL,
        judged_at timestamptz NOT NULL
        """,
        refs={"support_id": "support", "phase_id": "phase", "playbook_version_id": "playbook_version"},
        uniques=(("support_id", "number"),),
        **APPENDED,
    )
    student_table(
        "response_state",
        """
        support_id uuid NOT NULL,
        verdict_id uuid NOT NULL,
        state text NOT NULL,
        kind text,
        since timestamptz NOT NULL
        """,
        key=("support_id",),
        refs={"support_id": "support", "verdict_id": "verdict"},
        indexes=(("state",),),
    )
    student_table(
        "decision",
        """
        support_id uuid,
        phase_id uuid,
        verdict_id uuid,
        kind text NOT NULL,
        decided_on date NOT NULL,
        decided_by uuid,
        decided_by_client uuid,
        note text,
        playbook_version_id uuid NOT NULL,
        created_at timestamptz NOT NULL
        """,
        refs={
            "support_id": "support",
            "phase_id": "phase",
            "verdict_id": "verdict",
            "decided_by": "person",
            "playbook_version_id": "playbook_version",
        },
        indexes=(("support_id",),),
        **APPENDED,
    )
