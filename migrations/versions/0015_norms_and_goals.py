"""Adds norms and benchmarks by measure, grade and season, and required rates of phases.

Areas and levels can change from this revision on. A benchmark applies to the versions of the playbook from
`from_version` to the one before `until_version`. The published figures are added for each district that has the measure
of oral reading fluency.
"""

from alembic import op

from migrations.tenant import create_index, grant, tenant_table

revision = "0015"
down_revision = "0014"

HASBROUCK_TINDAL = "Hasbrouck and Tindal (2017), national norms"
DIBELS = "DIBELS 8th Edition, benchmark goals of July 2020"
FUCHS = "Fuchs and others (1993), as later authors cite it; not checked against the article"
PERCENTILES = {
    ("01", "winter"): (97, 59, 29, 16, 9),
    ("01", "spring"): (116, 91, 60, 34, 18),
    ("02", "fall"): (111, 84, 50, 36, 23),
    ("02", "winter"): (131, 109, 84, 59, 35),
    ("02", "spring"): (148, 124, 100, 72, 43),
    ("03", "fall"): (134, 104, 83, 59, 40),
    ("03", "winter"): (161, 137, 97, 79, 62),
    ("03", "spring"): (166, 139, 112, 91, 63),
    ("04", "fall"): (153, 125, 94, 75, 60),
    ("04", "winter"): (168, 143, 120, 95, 71),
    ("04", "spring"): (184, 160, 133, 105, 83),
    ("05", "fall"): (179, 153, 121, 87, 64),
    ("05", "winter"): (183, 160, 133, 109, 84),
    ("05", "spring"): (195, 169, 146, 119, 102),
    ("06", "fall"): (185, 159, 132, 112, 89),
    ("06", "winter"): (195, 166, 145, 116, 91),
    ("06", "spring"): (204, 173, 146, 122, 91),
}
"""The 90th, 75th, 50th, 25th and 10th percentile."""
TYPICAL = {"01": 1.9, "02": 1.6, "03": 0.9, "04": 1.2, "05": 0.8, "06": 0.3}
REALISTIC = {"01": 2.0, "02": 1.5, "03": 1.0, "04": 0.85, "05": 0.5, "06": 0.3}
CUTS = {
    ("01", "fall"): (10, 5),
    ("01", "winter"): (21, 10),
    ("01", "spring"): (39, 26),
    ("02", "fall"): (49, 29),
    ("02", "winter"): (78, 59),
    ("02", "spring"): (94, 77),
    ("03", "fall"): (73, 55),
    ("03", "winter"): (105, 85),
    ("03", "spring"): (114, 96),
}
"""The benchmark, and the score below which the need is intensive."""
CHECKED = "DATE '2026-11-28'"
SEEDED = """
DO $$ DECLARE d uuid; m uuid; BEGIN
    FOR d IN SELECT district_id FROM district LOOP
        SELECT id INTO m FROM measure WHERE district_id = d AND code = 'orf';
        CONTINUE WHEN m IS NULL;
        INSERT INTO benchmark (district_id, id, measure_id, grade, season, citation, published, checked_on, p90, p75,
                               p50, p25, p10, typical_growth, realistic_growth, benchmark, risk_cut, from_version)
        SELECT d, gen_random_uuid(), m, v.grade, v.season, v.citation, true, v.checked_on, v.p90, v.p75, v.p50, v.p25,
               v.p10, v.typical, v.realistic, v.benchmark, v.risk_cut, 1
        FROM (VALUES {rows}) AS v (grade, season, citation, checked_on, p90, p75, p50, p25, p10, typical, realistic,
                                   benchmark, risk_cut)
        ON CONFLICT DO NOTHING;
        UPDATE playbook_version SET
            areas = (SELECT coalesce(jsonb_agg(jsonb_build_object(
                         'id', a.id, 'code', a.code, 'name', a.name, 'parent', p.code, 'secured', a.secured)
                         ORDER BY a.code), '[]')
                     FROM area AS a LEFT JOIN area AS p ON p.district_id = d AND p.id = a.parent_id
                     WHERE a.district_id = d),
            levels = (SELECT coalesce(jsonb_agg(jsonb_build_object('id', l.id, 'rank', l.rank, 'name', l.name)
                          ORDER BY l.rank), '[]')
                      FROM level AS l WHERE l.district_id = d)
        WHERE district_id = d;
    END LOOP;
END $$
"""
EMPTY = "NULL::double precision"


def _values() -> str:
    rows = []
    for (grade, season), percentiles in PERCENTILES.items():
        figures = ", ".join(f"{figure}::double precision" for figure in percentiles)
        rows.append(
            f"('{grade}', '{season}', '{HASBROUCK_TINDAL}', {CHECKED}, {figures}, {EMPTY}, {EMPTY}, {EMPTY}, {EMPTY})"
        )
    none = ", ".join([EMPTY] * 5)
    for grade, growth in TYPICAL.items():
        rows.append(f"('{grade}', NULL, '{HASBROUCK_TINDAL}', {CHECKED}, {none}, {growth}, {EMPTY}, {EMPTY}, {EMPTY})")
    for grade, growth in REALISTIC.items():
        rows.append(f"('{grade}', NULL, '{FUCHS}', NULL, {none}, {EMPTY}, {growth}, {EMPTY}, {EMPTY})")
    for (grade, season), (benchmark, cut) in CUTS.items():
        rows.append(f"('{grade}', '{season}', '{DIBELS}', {CHECKED}, {none}, {EMPTY}, {EMPTY}, {benchmark}, {cut})")
    return ", ".join(rows)


def upgrade() -> None:
    tenant_table(
        "benchmark",
        """
        measure_id uuid NOT NULL,
        grade text NOT NULL,
        season text,
        citation text NOT NULL,
        published boolean NOT NULL,
        checked_on date,
        p10 double precision,
        p25 double precision,
        p50 double precision,
        p75 double precision,
        p90 double precision,
        benchmark double precision,
        risk_cut double precision,
        typical_growth double precision,
        realistic_growth double precision,
        from_version integer NOT NULL,
        until_version integer,
        updated_at timestamptz NOT NULL DEFAULT now()
        """,
        refs={"measure_id": "measure"},
        indexes=(("updated_at", "id"), ("measure_id", "id")),
    )
    op.execute(
        """ALTER TABLE phase
           ADD COLUMN required_rate double precision,
           ADD COLUMN required_rate_before double precision,
           ADD COLUMN realistic_rate double precision,
           ADD COLUMN rate_check text,
           ADD COLUMN benchmark_id uuid"""
    )
    op.execute("ALTER TABLE concern ADD COLUMN repeats_id uuid")
    create_index("phase_goal_idx ON phase (district_id, goal_on) WHERE ends_on IS NULL")
    create_index("concern_repeats_idx ON concern (district_id, repeats_id, id) WHERE repeats_id IS NOT NULL")
    for table in ("area", "level"):
        op.execute(
            f"ALTER TABLE {table} ADD COLUMN version integer NOT NULL DEFAULT 1, ADD COLUMN retired_at timestamptz"
        )
        grant("INSERT, UPDATE", table, "api")
    op.execute("ALTER TABLE area ADD COLUMN position integer NOT NULL DEFAULT 0")
    create_index("area_position_idx ON area (district_id, position, code)")
    # A retired level gives its rank to another one. The rank stays in its row, because verdicts cite it.
    op.execute("-- squawk-ignore ban-drop-constraint\nALTER TABLE level DROP CONSTRAINT level_district_id_rank_key")
    # A district has a handful of levels, so the index is built at once.
    op.execute(
        "-- squawk-ignore require-concurrent-index-creation\n"
        "CREATE UNIQUE INDEX level_rank_idx ON level (district_id, rank) WHERE retired_at IS NULL"
    )
    op.execute(
        """ALTER TABLE playbook_version
           ADD COLUMN areas jsonb NOT NULL DEFAULT '[]',
           ADD COLUMN levels jsonb NOT NULL DEFAULT '[]'"""
    )
    create_index("playbook_version_published_idx ON playbook_version (district_id, published_at, id)")
    op.execute(SEEDED.format(rows=_values()))
    # The columns are new and empty, so that the check of the rows takes no time.
    for table, column, target in (("phase", "benchmark_id", "benchmark"), ("concern", "repeats_id", "concern")):
        op.execute(
            "-- squawk-ignore adding-foreign-key-constraint, constraint-missing-not-valid\n"
            f"ALTER TABLE {table} ADD CONSTRAINT {table}_district_id_{column}_fkey FOREIGN KEY (district_id, {column}) "
            f"REFERENCES {target} (district_id, id)"
        )
