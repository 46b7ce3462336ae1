"""Adds screening windows, the measures that are expected in them, and the results that are stored when a window
closes.
"""

from migrations.tenant import create_index, student_table, tenant_table

revision = "0021"
down_revision = "0020"


def upgrade() -> None:
    tenant_table(
        "screening_window",
        """
        season text NOT NULL,
        school_year integer NOT NULL,
        school_id uuid,
        opens_on date NOT NULL,
        closes_on date NOT NULL,
        group_by text,
        state text NOT NULL,
        scheduled_by uuid,
        created_at timestamptz NOT NULL,
        closed_at timestamptz,
        playbook_number integer,
        updated_at timestamptz NOT NULL DEFAULT now(),
        version integer NOT NULL
        """,
        refs={"school_id": "org", "scheduled_by": "person"},
        indexes=(("school_id", "id"), ("state", "id"), ("school_year", "id"), ("updated_at", "id")),
    )
    tenant_table(
        "screening_expectation",
        """
        window_id uuid NOT NULL,
        measure_id uuid NOT NULL,
        grades text[] NOT NULL
        """,
        refs={"window_id": "screening_window", "measure_id": "measure"},
        uniques=(("window_id", "measure_id"),),
        indexes=(("measure_id",),),
    )
    student_table(
        "screening_result",
        """
        window_id uuid NOT NULL,
        measure_id uuid NOT NULL,
        grade text NOT NULL,
        score_id uuid,
        value double precision,
        level integer,
        percentile double precision,
        level_before integer,
        served boolean NOT NULL
        """,
        refs={"window_id": "screening_window", "measure_id": "measure", "score_id": "score"},
        uniques=(("window_id", "measure_id", "student_id"),),
        indexes=(("window_id", "student_id", "measure_id"),),
        api="SELECT",
    )
    tenant_table(
        "screening_count",
        """
        window_id uuid NOT NULL,
        measure_id uuid NOT NULL,
        school_id uuid,
        grade text,
        level text,
        group_value text,
        dimensions text[] NOT NULL,
        students integer NOT NULL,
        secured_area text
        """,
        refs={"window_id": "screening_window", "measure_id": "measure", "school_id": "org"},
        indexes=(("window_id", "measure_id"),),
        lock="secured_area",
        api="SELECT",
    )
    create_index(
        "score_screening_idx ON score (district_id, measure_id, taken_on) "
        "WHERE purpose = 'screening' AND removed_at IS NULL"
    )
