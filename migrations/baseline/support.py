"""Creates the tables of concerns, of supports with their phases and sessions, and of decisions about supports."""

from migrations.tenant import student_table

APPENDED = "SELECT, INSERT"
"""The privileges of the api on rows that never change; the worker may also move them to a student's new school."""


def create_tables() -> None:
    """Creates the tables of concerns and supports. The tables of decisions follow later, because they refer to
    verdicts.
    """
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
        by_school=("id",),
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
        by_school=("id",),
    )
    student_table(
        "support_concern",
        "support_id uuid NOT NULL, concern_id uuid NOT NULL",
        key=("support_id", "concern_id"),
        refs={"support_id": "support", "concern_id": "concern"},
        indexes=(("concern_id",),),
        api=APPENDED,
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
    _create_sessions()


def create_decisions() -> None:
    """Creates the table of decisions."""
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
        by_school=("id",),
        api=APPENDED,
    )


def _create_sessions() -> None:
    student_table(
        "session",
        """
        support_id uuid NOT NULL,
        held_on date NOT NULL,
        number integer NOT NULL,
        planned_minutes integer NOT NULL,
        delivered_minutes integer NOT NULL,
        attended boolean NOT NULL,
        lost_because text,
        recorded_by uuid,
        sender uuid,
        external_id text,
        recorded_at timestamptz NOT NULL,
        version integer NOT NULL,
        removed_at timestamptz
        """,
        refs={"support_id": "support", "recorded_by": "person"},
        uniques=(("support_id", "held_on", "number"), ("sender", "external_id")),
    )
    student_table(
        "session_change",
        """
        session_id uuid NOT NULL,
        version integer NOT NULL,
        before jsonb NOT NULL,
        changed_by uuid,
        sender uuid,
        changed_at timestamptz NOT NULL
        """,
        refs={"session_id": "session", "changed_by": "person"},
        uniques=(("session_id", "version"),),
        api=APPENDED,
    )
