"""Creates the roster's tables: sources, aliases, orgs, terms, people, classes, enrollments, caseloads, school weeks."""

from migrations.tenant import tenant_table

FROM_SOURCE = """
    removed_at timestamptz,
    arrived_in uuid
"""
"""The columns of every row that comes from a source.

They are the time at which it was removed (a tombstone), and the run that brought it first.
"""

READ_ONLY = {"api": "SELECT", "worker": "SELECT, INSERT, UPDATE, MAINTAIN"}
"""The privileges on tables that only syncs write.

MAINTAIN lets a sync refresh the statistics of what it loads without owning the table.
"""


def create_tables() -> None:
    """Creates the tables of the roster."""
    tenant_table(
        "source",
        "name text NOT NULL, kind text NOT NULL, created_at timestamptz NOT NULL",
        refs={"district_id": "district"},
        uniques=(("name",),),
        api="SELECT, INSERT, UPDATE (kind)",
        worker=READ_ONLY["worker"],
    )
    tenant_table(
        "external_id",
        "source_id uuid NOT NULL, kind text NOT NULL, sourced_id text NOT NULL, row_id uuid NOT NULL",
        key=("source_id", "kind", "sourced_id"),
        refs={"source_id": "source"},
        indexes=(("row_id",),),
        **READ_ONLY,
    )
    tenant_table(
        "org",
        f"parent_id uuid, name text NOT NULL, type text NOT NULL, identifier text, {FROM_SOURCE}",
        refs={"district_id": "district", "parent_id": "org"},
        **READ_ONLY,
    )
    tenant_table(
        "academic_session",
        f"""parent_id uuid, title text NOT NULL, type text NOT NULL, starts_on date NOT NULL, ends_on date NOT NULL,
        school_year integer, {FROM_SOURCE}""",
        refs={"district_id": "district", "parent_id": "academic_session"},
        **READ_ONLY,
    )
    tenant_table(
        "course",
        f"""org_id uuid, academic_session_id uuid, title text NOT NULL, code text, grades text[] NOT NULL,
        subjects text[] NOT NULL, subject_codes text[] NOT NULL, {FROM_SOURCE}""",
        refs={"org_id": "org", "academic_session_id": "academic_session"},
        **READ_ONLY,
    )
    tenant_table(
        "class",
        f"""course_id uuid, school_id uuid NOT NULL, title text NOT NULL, code text, type text NOT NULL, location text,
        grades text[] NOT NULL, subjects text[] NOT NULL, subject_codes text[] NOT NULL, periods text[] NOT NULL,
        academic_session_ids uuid[] NOT NULL, {FROM_SOURCE}""",
        refs={"course_id": "course", "school_id": "org"},
        indexes=(("school_id",),),
        **READ_ONLY,
    )
    tenant_table(
        "person",
        f"""role text NOT NULL, is_student boolean NOT NULL, given_name text NOT NULL, family_name text NOT NULL,
        middle_name text, username text, email text, sms text, phone text, identifier text, enabled boolean NOT NULL,
        grades text[] NOT NULL, school_ids uuid[] NOT NULL, user_ids text[] NOT NULL, agent_sourced_ids text[] NOT NULL,
        pinned text[] NOT NULL, merged_into uuid, {FROM_SOURCE.rstrip()},
        row_lock boolean CONSTRAINT person_row_lock_check CHECK (row_lock IS NULL)""",
        refs={"district_id": "district", "merged_into": "person"},
        indexes=(("family_name", "given_name", "id"),),
        by_school=("family_name", "given_name", "id"),
        student="id",
        unless="NOT is_student",
        # To lock a row one needs the right to update a column of it. This one can hold nothing: the api may lock
        # people, and change nothing of them.
        api="SELECT, UPDATE (row_lock)",
        worker=READ_ONLY["worker"],
    )
    tenant_table(
        "school_membership",
        """person_id uuid NOT NULL, school_id uuid NOT NULL, is_student boolean NOT NULL,
        begins_on date NOT NULL, ends_on date""",
        refs={"person_id": "person", "school_id": "org"},
        indexes=(("person_id",),),
        student="person_id",
        schools="ARRAY[school_id]",
        unless="NOT is_student",
        **READ_ONLY,
    )
    tenant_table(
        "enrollment",
        f"""class_id uuid NOT NULL, person_id uuid NOT NULL, school_id uuid NOT NULL, role text NOT NULL,
        is_student boolean NOT NULL, is_primary boolean NOT NULL, begins_on date, ends_on date,
        source_id uuid NOT NULL, sourced_id text NOT NULL, {FROM_SOURCE}""",
        # There is no foreign key to the source, because checking it for each of a million rows would be slow.
        refs={"class_id": "class", "person_id": "person", "school_id": "org"},
        uniques=(("source_id", "sourced_id"),),
        indexes=(("person_id",), ("class_id",)),
        student="person_id",
        schools="ARRAY[school_id]",
        unless="NOT is_student",
        **READ_ONLY,
    )
    tenant_table(
        "demographics",
        f"""person_id uuid NOT NULL, school_ids uuid[] NOT NULL, birth_date date, sex text,
        american_indian_or_alaska_native boolean, asian boolean, black_or_african_american boolean,
        native_hawaiian_or_other_pacific_islander boolean, white boolean,
        demographic_race_two_or_more_races boolean, hispanic_or_latino_ethnicity boolean,
        country_of_birth_code text, state_of_birth_abbreviation text, city_of_birth text,
        public_school_residence_status text, source_id uuid NOT NULL, {FROM_SOURCE}""",
        key=("person_id",),
        refs={"person_id": "person"},
        student="person_id",
        lock="'demographics'",
        **READ_ONLY,
    )
    tenant_table(
        "caseload",
        """staff_id uuid NOT NULL, student_id uuid NOT NULL, school_ids uuid[] NOT NULL, via text NOT NULL,
        support_id uuid NOT NULL""",
        key=("staff_id", "student_id", "via", "support_id"),
        refs={"staff_id": "person", "student_id": "person"},
        student="student_id",
        api="SELECT, INSERT, DELETE",
        worker="SELECT, INSERT, UPDATE, DELETE",
    )
    tenant_table(
        "school_week",
        "school_id uuid NOT NULL, monday date NOT NULL, instructional boolean NOT NULL, n integer",
        key=("school_id", "monday"),
        refs={"school_id": "org"},
        api="SELECT, UPDATE",
        worker=READ_ONLY["worker"],
    )
    # The transaction that declares a break also changes its weeks.
    tenant_table(
        "school_break",
        """
        school_id uuid,
        begins_on date NOT NULL,
        ends_on date NOT NULL,
        name text,
        declared_at timestamptz NOT NULL,
        removed_at timestamptz
        """,
        refs={"district_id": "district", "school_id": "org"},
        indexes=(("school_id", "begins_on"),),
        worker="SELECT",
    )
