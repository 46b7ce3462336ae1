"""Sessions of a support: planned, delivered, attended; what each said before it was amended or removed."""

from migrations.tenant import student_table

revision = "0008"
down_revision = "0007"

APPENDED = {"api": "SELECT, INSERT", "worker": "SELECT, INSERT, UPDATE"}
"""Rows that nobody changes; the worker may only move them to a student's new school."""


def upgrade() -> None:
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
        **APPENDED,
    )
