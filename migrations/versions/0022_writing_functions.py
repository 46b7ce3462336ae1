"""Adds functions that write all rows of a commit at once, so that recording a score needs few round trips.

They run with the caller's rights, under row-level security. Each of their statements names the district, as a sharded
database requires. A sharded database would refuse a single statement with several INSERTs in WITH.
"""

# ruff: noqa: S608  # only our own names are formatted into statements

from alembic import op

revision = "0022"
down_revision = "0021"

# Within a function, each statement sees what was committed before it began. The answer is therefore read after the lock
# was taken, although both are one statement of the client.
CLAIM_KEY = """
CREATE FUNCTION app.claim_key(in_district uuid, in_digest bytea, in_lock bigint, in_since timestamptz,
                              OUT is_free boolean, OUT sealed text)
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    is_free := pg_try_advisory_xact_lock(in_lock);
    IF is_free THEN
        SELECT r.answer INTO sealed FROM public.idempotent_request AS r
        WHERE r.district_id = in_district AND r.digest = in_digest AND r.at > in_since;
    END IF;
END $$
"""

VERDICT = (
    *("id", "student_id", "school_ids", "secured_area", "support_id", "phase_id", "measure_id", "measures", "number"),
    *("state", "kind", "because"),
    *("sentence", "statistic", "threshold", "rate", "rate_low", "rate_high", "odds", "slow", "short", "on_pace"),
    *("label", "stated_far", "required_rate", "change_week", "change_on", "last_on", "last_week", "rule"),
    *("rule_version", "parameters", "score_ids", "playbook_version_id", "calibration_id", "sem", "retracts"),
    "judged_at",
)
STATE_KEYS = ("student_id", "school_ids", "secured_area", "support_id")
STATE = ("verdict_id", "verdict_ids", "state", "kind", "since", "since_on", "alert_id", "memory", "settled_on")
EVENT = (
    *("id", "type", "version", "at", "subject_kind", "subject_id", "subject_version", "student_id", "school_ids"),
    *("secured_area", "ids", "counts"),
)


def _insert(table: str, columns: tuple[str, ...], rows: str) -> str:
    """Returns an INSERT into a table of rows from a JSON array, in the array's order."""
    return (
        f"INSERT INTO public.{table} (district_id, {', '.join(columns)})\n"
        f"    SELECT in_district, {', '.join(f'r.{name}' for name in columns)}\n"
        f"    FROM jsonb_populate_recordset(NULL::public.{table}, {rows}) AS r"
    )


# The new times go to the supports and the students in the same call, because lists are sorted by them. At the end the
# caller's principal is bound again, if the call ends a step in which the district itself acted.
WRITE_VERDICTS = f"""
CREATE FUNCTION app.write_verdicts(in_district uuid, in_verdicts jsonb, in_states jsonb, in_supports jsonb,
                                   in_students jsonb, in_principal text[])
RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF jsonb_array_length(in_verdicts) > 0 THEN
    {_insert("verdict", VERDICT, "in_verdicts")}
    ON CONFLICT (district_id, id) DO NOTHING;
    UPDATE public.support AS s SET last_verdict_at = r.last_verdict_at, updated_at = now()
    FROM jsonb_to_recordset(in_supports) AS r (id uuid, last_verdict_at timestamptz)
    WHERE s.district_id = in_district AND s.id = r.id;
    END IF;
    IF jsonb_array_length(in_students) > 0 THEN
    UPDATE public.person AS p SET last_verdict_at = greatest(p.last_verdict_at, r.last_verdict_at),
        last_score_on = greatest(p.last_score_on, r.last_score_on)
    FROM jsonb_to_recordset(in_students) AS r (id uuid, last_verdict_at timestamptz, last_score_on date)
    WHERE p.district_id = in_district AND p.id = r.id
      AND (p.last_verdict_at < r.last_verdict_at OR p.last_score_on < r.last_score_on);
    END IF;
    IF jsonb_array_length(in_states) > 0 THEN
    {_insert("response_state", STATE_KEYS + STATE, "in_states")}
    ON CONFLICT (district_id, support_id) DO UPDATE SET {", ".join(f"{name} = excluded.{name}" for name in STATE)};
    END IF;
    IF in_principal IS NOT NULL THEN
        PERFORM app.enter(in_principal[1]::uuid, in_principal[2], in_principal[3], in_principal[4], in_principal[5],
                          in_principal[6]);
    END IF;
END $$
"""

# The weeks come before the events, because the district's counter is locked last. `in_more` numbers are reserved after
# those of the events; the first of all is returned.
WEEK = ("id", "kind", "measure_id", "school_id", "monday", "quiet", "state", "due")
WRITE_LAST = f"""
CREATE FUNCTION app.write_last(in_district uuid, in_weeks jsonb, in_events jsonb, in_count bigint)
RETURNS bigint LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    before_first bigint;
BEGIN
    IF jsonb_array_length(in_weeks) > 0 THEN
    INSERT INTO public.settlement AS w (district_id, {", ".join(WEEK)}, claim_number, attempts)
    SELECT in_district, {", ".join(f"r.{name}" for name in WEEK)}, 0, 0
    FROM jsonb_populate_recordset(NULL::public.settlement, in_weeks) AS r
    ON CONFLICT (district_id, kind, measure_id, school_id, monday) DO UPDATE SET
        state = excluded.state, due = excluded.due, attempts = excluded.attempts, leased_until = NULL, ended_at = NULL,
        fault = NULL, fault_place = NULL, claim_number = w.claim_number + 1,
        quiet = excluded.quiet AND (w.quiet OR NOT (w.kind = 'week' OR w.state = 'pending'));
    END IF;
    IF in_count > 0 THEN
    UPDATE public.event_counter AS c SET last = c.last + in_count WHERE c.district_id = in_district
    RETURNING c.last - in_count INTO STRICT before_first;
    INSERT INTO public.event (district_id, seq, {", ".join(EVENT)})
    SELECT in_district, before_first + r.place, {", ".join(f"r.{name}" for name in EVENT)}
    FROM jsonb_to_recordset(in_events) AS r (place bigint, id uuid, type text, version integer, at timestamptz,
        subject_kind text, subject_id uuid, subject_version integer, student_id uuid, school_ids uuid[],
        secured_area text, ids jsonb, counts jsonb)
    ON CONFLICT (district_id, id) DO NOTHING;
    END IF;
    RETURN before_first;
END $$
"""


def upgrade() -> None:
    for function in (CLAIM_KEY, WRITE_VERDICTS, WRITE_LAST):
        op.execute(function)
