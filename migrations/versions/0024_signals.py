"""Adds signal rules, the signals that they suggest about students, and the time up to which changes were evaluated."""

from migrations.tenant import student_table, tenant_table

revision = "0024"
down_revision = "0023"


def upgrade() -> None:
    tenant_table(
        "signal_rule",
        """
        code text NOT NULL,
        number integer NOT NULL,
        kind text NOT NULL,
        parameters jsonb NOT NULL,
        area_id uuid,
        measure_id uuid,
        published_by uuid,
        published_at timestamptz NOT NULL,
        retired_at timestamptz,
        updated_at timestamptz NOT NULL DEFAULT now()
        """,
        refs={"area_id": "area", "measure_id": "measure", "published_by": "person"},
        uniques=(("code", "number"),),
        indexes=(("updated_at", "id"),),
    )
    student_table(
        "signal",
        """
        rule_id uuid NOT NULL,
        kind text NOT NULL,
        area_id uuid NOT NULL,
        state text NOT NULL,
        digest text NOT NULL,
        seen_on date NOT NULL,
        score_id uuid,
        window_id uuid,
        support_id uuid,
        class_id uuid,
        result_ids uuid[] NOT NULL,
        settled_by uuid,
        settled_at timestamptz,
        settled_because text,
        concern_id uuid,
        merged_into uuid,
        created_at timestamptz NOT NULL,
        updated_at timestamptz NOT NULL DEFAULT now(),
        version integer NOT NULL
        """,
        refs={
            "rule_id": "signal_rule",
            "area_id": "area",
            "score_id": "score",
            "window_id": "screening_window",
            "support_id": "support",
            "class_id": "class",
            "settled_by": "person",
            "concern_id": "concern",
            "merged_into": "signal",
        },
        uniques=(("student_id", "kind", "digest"),),
        indexes=(("area_id", "id"), ("state", "id"), ("kind", "id"), ("updated_at", "id"), ("window_id",)),
        by_school=("id",),
    )
    tenant_table(
        "signal_progress",
        """
        full_on date,
        until timestamptz,
        digest text NOT NULL
        """,
        key=(),
        api="",
    )
    student_table(
        "signal_due", "marked_at timestamptz NOT NULL", key=("student_id",), indexes=(("marked_at",),), api=""
    )
