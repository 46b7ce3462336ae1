"""Creates the staging tables of the sync, and the table of leases. A district's sync holds a lease while it runs.

Earlier, each run created its staging tables itself. Now a run writes its rows with its own id, and deletes them before
it commits. Tables with such rows are unlogged. On Citus they are logged, because an unlogged table blocks the online
move of a district. `kept_plan` and `kept_rekey` contain plans that wait for approval; they are logged, and only their
own district can read them.
"""

from alembic import context, op

from migrations.policies import DISTRICT
from migrations.tenant import distribute, grant, roles, tenant_table

revision = "0006"
down_revision = "0005"

_LINE_ITEM = """title text, description text, result_value_min double precision, result_value_max double precision,
    learning_objectives jsonb"""
_RESULT = """score_status text, score double precision, text_score text, score_date date, comment text,
    in_progress boolean, incomplete boolean, late boolean, missing boolean, learning_objectives jsonb"""
# For each kind: its columns as they are delivered, its references, and the columns that are derived from others.
KINDS = {
    "org": ("name text, type text, identifier text", "parent_id uuid", ""),
    "academic_session": (
        "title text, type text, starts_on date, ends_on date, school_year integer",
        "parent_id uuid",
        "",
    ),
    "course": (
        "title text, code text, grades text[], subjects text[], subject_codes text[]",
        "org_id uuid, academic_session_id uuid",
        "",
    ),
    "class": (
        """title text, code text, type text, location text, grades text[], subjects text[], subject_codes text[],
        periods text[]""",
        "course_id uuid, school_id uuid, academic_session_ids uuid[]",
        "",
    ),
    "person": (
        """role text, given_name text, family_name text, middle_name text, username text, email text, sms text,
        phone text, identifier text, enabled boolean, grades text[], user_ids text[], agent_sourced_ids text[]""",
        "school_ids uuid[]",
        "is_student boolean",
    ),
    "enrollment": (
        "role text, is_primary boolean, begins_on date, ends_on date",
        "class_id uuid, person_id uuid, school_id uuid",
        "is_student boolean",
    ),
    "demographics": (
        """birth_date date, sex text, american_indian_or_alaska_native boolean, asian boolean,
        black_or_african_american boolean, native_hawaiian_or_other_pacific_islander boolean, white boolean,
        demographic_race_two_or_more_races boolean, hispanic_or_latino_ethnicity boolean, country_of_birth_code text,
        state_of_birth_abbreviation text, city_of_birth text, public_school_residence_status text""",
        "person_id uuid",
        "",
    ),
    "role": (
        "role text, role_type text, begins_on date, ends_on date",
        "person_id uuid, org_id uuid",
        "is_student boolean",
    ),
    "category": ("title text, weight double precision", "", ""),
    "score_scale": ("title text, type text, scale_values text[]", "org_id uuid, course_id uuid, class_id uuid", ""),
    "line_item": (
        f"{_LINE_ITEM}, assigned_at timestamptz, due_at timestamptz",
        """class_id uuid, category_id uuid, grading_period_id uuid, academic_session_id uuid, school_id uuid,
        score_scale_id uuid""",
        "",
    ),
    "result": (_RESULT, "line_item_id uuid, student_id uuid, class_id uuid, score_scale_id uuid", ""),
    "assessment_line_item": (_LINE_ITEM, "class_id uuid, parent_id uuid, score_scale_id uuid", ""),
    "assessment_result": (
        f"{_RESULT}, score_percentile double precision",
        "assessment_line_item_id uuid, student_id uuid, score_scale_id uuid",
        "",
    ),
}
WITHOUT_KEYS = ("enrollment", "demographics", "role", "result", "assessment_result")
"""The kinds whose rows no other row refers to by a sourcedId."""
OTHERS = {
    "repeat": ("kind text, first bigint, sourced_id text, differs boolean", "kind, first"),
    "id_list": ("kind text, ref text, place bigint, list text, ids uuid[], whole boolean", "kind, ref, place"),
    "composed": ("name text, sourced_id text, made_1 text, made_2 text", "name, sourced_id"),
    "moved": ("id uuid", "id"),
    "mapping_rule": (
        """n integer, line_item text, title text, category text, category_title text, assessment text,
        assessment_title text, measure_id uuid, secured_area text, lowest double precision, highest double precision,
        form text, attempt integer, purpose text""",
        "n",
    ),
    "mapping_item": ("kind text, item_id uuid, rule integer", "kind, item_id"),
    "incoming_score": (
        """student_id uuid, school_ids uuid[], measure_id uuid, secured_area text, purpose text, taken_on date,
        attempt integer, value double precision, form text, external_id text, score_id uuid""",
        "score_id",
    ),
    "candidate": (
        "place bigint, sourced_id text, id uuid, comes boolean, is_student boolean, value text, alike bigint",
        "place",
    ),
    "given_pair": ("number bigint, old text, new text", "number"),
}


def upgrade() -> None:
    for kind, (fields, refs, derived) in KINDS.items():
        names = [ref.split()[0] for ref in _split(refs)]
        planned = [*_split(fields), *_split(refs), *_split(derived)]
        if kind == "demographics":  # its reference is also its key
            planned = _split(fields)
        known = [f"t_{column}" for column in planned]
        if kind == "person":
            known.append("t_pinned text[]")
        _create(
            f"staged_{kind}",
            [
                *("place bigint", "row_number bigint", "sourced_id text", "gone boolean", "fault text"),
                *_split(fields),
                *(f"ref_{name} text" for name in names),
                *("t_sourced_id text", "t_key uuid", "t_removed_at timestamptz"),
                *known,
            ],
            "place",
        )
        common = ["id uuid", "sourced_id text", "row_number bigint", "action text", "field text"]
        _create(f"plan_{kind}", [*common, *planned], "id")
        if kind not in WITHOUT_KEYS:
            _create(f"key_{kind}", ["sourced_id text", "id uuid", "existed boolean"], "sourced_id")
    for name, (columns, key) in OTHERS.items():
        _create(name, _split(columns), key)
    _create_kept("kept_plan", "kind text NOT NULL, id uuid NOT NULL, planned jsonb NOT NULL", "kind, id")
    rekeyed = "kind text NOT NULL, row_id uuid NOT NULL, old text NOT NULL, new text NOT NULL"
    _create_kept("kept_rekey", rekeyed, "kind, row_id")
    tenant_table(
        "sis_lease",
        """
        holder uuid NOT NULL,
        worker text NOT NULL,
        taken_at timestamptz NOT NULL,
        renewed_at timestamptz NOT NULL,
        leased_until timestamptz NOT NULL
        """,
        key=(),
        refs={"district_id": "district"},
        api="SELECT",
    )


def _split(columns: str) -> list[str]:
    return [column.strip() for column in columns.split(",") if column.strip()]


def _create(name: str, columns: list[str], key: str) -> None:
    """Creates a table whose rows belong to one run and are deleted with it; only the worker can access the table."""
    unlogged = "" if context.config.attributes.get("citus") else "UNLOGGED "
    _create_table(f"CREATE {unlogged}TABLE", name, ", ".join(columns), key)
    _grant_and_distribute(name)


def _create_kept(name: str, columns: str, key: str) -> None:
    """Creates a table whose rows outlive their run, with the row-level security policy of their district."""
    table = f"staging.{name}"
    _create_table("CREATE TABLE", name, columns, key)
    op.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
    op.execute(f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY")
    condition = f"USING ({DISTRICT}) WITH CHECK ({DISTRICT})"
    op.execute(f'CREATE POLICY tenant ON {table} TO "{roles()["worker"]}" {condition}')
    op.execute(f"CREATE POLICY owner ON {table} TO CURRENT_USER USING (true) WITH CHECK (true)")
    _grant_and_distribute(name)


def _create_table(create: str, name: str, columns: str, key: str) -> None:
    op.execute(
        f"{create} staging.{name} (district_id uuid NOT NULL, run_id uuid NOT NULL, {columns}, "
        f"CONSTRAINT {name}_pkey PRIMARY KEY (district_id, run_id, {key}))"
    )


def _grant_and_distribute(name: str) -> None:
    grant("SELECT, INSERT, UPDATE, DELETE", f"staging.{name}", "worker")
    distribute(f"staging.{name}")
