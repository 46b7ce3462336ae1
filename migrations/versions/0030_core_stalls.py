"""Adds core stalls: between two screening windows, the share of a grade's students who reach the benchmark falls."""

from migrations.tenant import tenant_table

revision = "0030"
down_revision = "0029"


def upgrade() -> None:
    tenant_table(
        "core_stall",
        """
        rule_id uuid NOT NULL,
        window_id uuid NOT NULL,
        window_before_id uuid NOT NULL,
        measure_id uuid NOT NULL,
        area_id uuid NOT NULL,
        secured_area text,
        school_id uuid,
        grade text NOT NULL,
        state text NOT NULL,
        digest text NOT NULL,
        seen_on date NOT NULL,
        fell_by integer NOT NULL,
        counted_at_least integer NOT NULL,
        settled_by uuid,
        settled_at timestamptz,
        settled_because text,
        created_at timestamptz NOT NULL,
        updated_at timestamptz NOT NULL DEFAULT now(),
        version integer NOT NULL
        """,
        refs={
            "rule_id": "signal_rule",
            "window_id": "screening_window",
            "window_before_id": "screening_window",
            "measure_id": "measure",
            "area_id": "area",
            "school_id": "org",
            "settled_by": "person",
        },
        uniques=(("digest",),),
        indexes=(
            *(("area_id", "id"), ("state", "id"), ("updated_at", "id"), ("window_id", "id")),
            *(("window_before_id",), ("measure_id",), ("school_id", "id"), ("rule_id",)),
        ),
        lock="secured_area",
        school="school_id",
    )
