"""Adds columns and indexes by which every list can be sorted, filtered and searched.

Every row gets the time of its last change, and people can be searched by name. The last score and the last verdict of a
student leave out secured areas, because the order of a list would otherwise reveal records that its reader may not see.
"""

from alembic import op

from migrations.tenant import create_index, grant

revision = "0009"
down_revision = "0008"

CHANGED = (
    *("org", "academic_session", "class", "person", "school_break", "area", "level", "measure"),
    *("score", "concern", "support", "decision", "sis_source", "sis_run", "webhook_endpoint"),
)
"""The tables of the lists whose rows change, each with an index in the order of `updated_since`."""
NEVER = "DATE '1900-01-01'"
"""Stands for no date in a column by which a list is sorted: a page cannot begin after a null."""
FOLDED = "replace(lower(normalize({}) COLLATE pg_c_utf8), ', ', ' ') COLLATE \"C\""
"""A text without its case, compared by bytes, so that a B-tree index serves a prefix under row-level security."""
INDEXES = (
    "person_search_family_idx ON person (district_id, search_family)",
    "person_search_given_idx ON person (district_id, search_given)",
    "person_search_email_idx ON person (district_id, search_email) WHERE search_email IS NOT NULL",
    "person_grade_idx ON person (district_id, grade, id) WHERE grade IS NOT NULL",
    "person_more_grades_idx ON person (district_id, id) WHERE has_more_grades IS TRUE",
    "person_last_score_idx ON person (district_id, last_score_on, id) WHERE is_student",
    "person_last_verdict_idx ON person (district_id, last_verdict_at, id) WHERE is_student",
    "score_measure_idx ON score (district_id, measure_id, id)",
    "score_day_idx ON score (district_id, taken_on, id)",
    "concern_area_idx ON concern (district_id, area_id, id)",
    "support_area_idx ON support (district_id, area_id, id)",
    "support_level_idx ON support (district_id, level_id, id)",
    "support_provider_idx ON support (district_id, provider_id)",
    "support_last_verdict_idx ON support (district_id, last_verdict_at, id)",
    "calibration_made_idx ON calibration (district_id, made_at, id)",
)
LATEST = """
DO $$ DECLARE d uuid; BEGIN
    FOR d IN SELECT district_id FROM district LOOP
        UPDATE person AS p SET last_score_on = greatest(s.day, {never})
        FROM (SELECT student_id, max(taken_on) AS day FROM score
              WHERE district_id = d AND removed_at IS NULL AND secured_area IS NULL GROUP BY student_id) AS s
        WHERE p.district_id = d AND p.id = s.student_id;
        UPDATE person AS p SET last_verdict_at = v.at
        FROM (SELECT student_id, max(judged_at) AS at FROM verdict
              WHERE district_id = d AND secured_area IS NULL GROUP BY student_id) AS v
        WHERE p.district_id = d AND p.id = v.student_id;
        UPDATE support AS s SET last_verdict_at = v.at
        FROM (SELECT support_id, max(judged_at) AS at FROM verdict WHERE district_id = d GROUP BY support_id) AS v
        WHERE s.district_id = d AND s.id = v.support_id;
    END LOOP;
END $$
"""


def upgrade() -> None:
    for table in CHANGED:
        op.execute(f"ALTER TABLE {table} ADD COLUMN updated_at timestamptz NOT NULL DEFAULT now()")
        create_index(f"{table}_updated_idx ON {table} (district_id, updated_at, id)")
    grant("SELECT (updated_at)", "sis_source", "api")
    grant("UPDATE (updated_at)", "sis_run", "api")
    family = FOLDED.format("family_name || ' ' || given_name")
    given = FOLDED.format("given_name || ' ' || family_name")
    email = FOLDED.format("email")
    # A generated column rewrites the table once, in this transaction; squawk wants to be told at each of them.
    op.execute(
        f"""ALTER TABLE person
            -- squawk-ignore adding-field-with-default
            ADD COLUMN search_family text COLLATE "C" GENERATED ALWAYS AS ({family}) STORED,
            -- squawk-ignore adding-field-with-default
            ADD COLUMN search_given text COLLATE "C" GENERATED ALWAYS AS ({given}) STORED,
            ADD COLUMN search_email text COLLATE "C"
            -- squawk-ignore adding-field-with-default
                GENERATED ALWAYS AS (CASE WHEN NOT is_student THEN {email} END) STORED,
            -- squawk-ignore adding-field-with-default
            ADD COLUMN grade text GENERATED ALWAYS AS (grades[1]) STORED,
            ADD COLUMN has_more_grades boolean
            -- squawk-ignore adding-field-with-default
                GENERATED ALWAYS AS (CASE WHEN cardinality(grades) > 1 THEN true END) STORED,
            ADD COLUMN last_score_on date NOT NULL DEFAULT {NEVER},
            ADD COLUMN last_verdict_at timestamptz NOT NULL DEFAULT TIMESTAMPTZ '1900-01-01 00:00:00+00'"""
    )
    op.execute(
        "ALTER TABLE support ADD COLUMN last_verdict_at timestamptz NOT NULL "
        "DEFAULT TIMESTAMPTZ '1900-01-01 00:00:00+00'"
    )
    for index in INDEXES:
        create_index(index)
    # Whoever records a score or a verdict notes it on the student; the api may change nothing else of people.
    grant("UPDATE (last_score_on, last_verdict_at)", "person", "api")
    op.execute(LATEST.format(never=NEVER))
