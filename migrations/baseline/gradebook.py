"""Creates the gradebook's tables, such as line items and results, and the table of the roles of OneRoster 1.2."""

from migrations.tenant import tenant_table

FROM_SOURCE = """
    removed_at timestamptz,
    arrived_in uuid
"""
"""The columns of every row that comes from a source.

They are the time at which it was removed (a tombstone), and the run that brought it first.
"""

OWN_ALIAS = f"source_id uuid NOT NULL, sourced_id text NOT NULL, {FROM_SOURCE}"
"""The columns of a row that no other row refers to.

Such a row has its sourcedId itself, so that a million of them need no rows in the alias table.
"""

LIKE_THE_ROSTER = {"api": "SELECT", "worker": "SELECT, INSERT, UPDATE, MAINTAIN"}

SCORED = """
    student_id uuid NOT NULL,
    school_ids uuid[] NOT NULL,
    score_scale_id uuid,
    score_status text,
    score double precision,
    text_score text,
    score_date date,
    comment text,
    in_progress boolean,
    incomplete boolean,
    late boolean,
    missing boolean,
    learning_objectives jsonb,
"""
"""The columns that results and assessment results have in common; both are about a student at the student's schools."""

FOR_SCORES = """
    title text NOT NULL,
    description text,
    class_id uuid,
    score_scale_id uuid,
    result_value_min double precision,
    result_value_max double precision,
    learning_objectives jsonb,
"""
"""The columns that line items and assessment line items have in common."""


def create_tables() -> None:
    """Creates the tables of the gradebook."""
    _create_items()
    _create_results()
    tenant_table(
        "person_role",
        f"""person_id uuid NOT NULL, org_id uuid, role text NOT NULL, role_type text, is_student boolean NOT NULL,
        begins_on date, ends_on date, {OWN_ALIAS}""",
        refs={"person_id": "person", "org_id": "org"},
        uniques=(("source_id", "sourced_id"),),
        indexes=(("person_id",),),
        student="person_id",
        schools="ARRAY[org_id]",
        unless="NOT is_student",
        **LIKE_THE_ROSTER,
    )


def _create_items() -> None:
    tenant_table(
        "category",
        f"title text NOT NULL, weight double precision, {FROM_SOURCE}",
        refs={"district_id": "district"},
        **LIKE_THE_ROSTER,
    )
    tenant_table(
        "score_scale",
        f"""title text NOT NULL, type text, org_id uuid, course_id uuid, class_id uuid, scale_values text[] NOT NULL,
        {FROM_SOURCE}""",
        refs={"org_id": "org", "course_id": "course", "class_id": "class"},
        **LIKE_THE_ROSTER,
    )
    tenant_table(
        "line_item",
        f"""{FOR_SCORES} assigned_at timestamptz, due_at timestamptz, category_id uuid, grading_period_id uuid,
        academic_session_id uuid, school_id uuid, {FROM_SOURCE}""",
        refs={
            "class_id": "class",
            "category_id": "category",
            "grading_period_id": "academic_session",
            "academic_session_id": "academic_session",
            "school_id": "org",
            "score_scale_id": "score_scale",
        },
        indexes=(("class_id",),),
        **LIKE_THE_ROSTER,
    )
    tenant_table(
        "assessment_line_item",
        f"{FOR_SCORES} parent_id uuid, {FROM_SOURCE}",
        refs={"class_id": "class", "parent_id": "assessment_line_item", "score_scale_id": "score_scale"},
        **LIKE_THE_ROSTER,
    )


def _create_results() -> None:
    # There is no foreign key to the source, because checking it for each of a million rows would be slow.
    tenant_table(
        "result",
        f"line_item_id uuid NOT NULL, class_id uuid, {SCORED} {OWN_ALIAS}",
        refs={
            "student_id": "person",
            "line_item_id": "line_item",
            "class_id": "class",
            "score_scale_id": "score_scale",
        },
        uniques=(("source_id", "sourced_id"),),
        indexes=(("student_id",), ("line_item_id",)),
        student="student_id",
        **LIKE_THE_ROSTER,
    )
    tenant_table(
        "assessment_result",
        f"assessment_line_item_id uuid NOT NULL, score_percentile double precision, {SCORED} {OWN_ALIAS}",
        refs={
            "student_id": "person",
            "assessment_line_item_id": "assessment_line_item",
            "score_scale_id": "score_scale",
        },
        uniques=(("source_id", "sourced_id"),),
        indexes=(("student_id",), ("assessment_line_item_id",)),
        student="student_id",
        **LIKE_THE_ROSTER,
    )
