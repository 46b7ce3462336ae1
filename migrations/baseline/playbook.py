"""Creates the playbook's tables: areas, levels, measures, published versions, and the calibrations of measures."""

from migrations.tenant import tenant_table


def create_tables() -> None:
    """Creates the playbook's tables. A version that the APIs have published never changes."""
    tenant_table(
        "area",
        "code text NOT NULL, name text NOT NULL, parent_id uuid, secured boolean NOT NULL",
        refs={"district_id": "district", "parent_id": "area"},
        uniques=(("code",),),
        api="SELECT",
    )
    tenant_table(
        "level",
        "rank integer NOT NULL, name text NOT NULL",
        refs={"district_id": "district"},
        uniques=(("rank",),),
        api="SELECT",
    )
    tenant_table(
        "measure",
        """code text NOT NULL, name text NOT NULL, area_id uuid NOT NULL, unit text NOT NULL,
        direction text NOT NULL, sem double precision, lowest double precision NOT NULL,
        highest double precision NOT NULL, kind text NOT NULL DEFAULT 'growth', forms text[]""",
        refs={"area_id": "area"},
        uniques=(("code",),),
    )
    tenant_table(
        "playbook_version",
        """number integer NOT NULL, published_at timestamptz NOT NULL, rules jsonb NOT NULL,
        reminders jsonb NOT NULL DEFAULT '{}'""",
        refs={"district_id": "district"},
        uniques=(("number",),),
        api="SELECT, INSERT",
    )
    tenant_table(
        "calibration",
        """
        number integer NOT NULL,
        measure_id uuid NOT NULL,
        grade text,
        made_at timestamptz NOT NULL,
        series integer NOT NULL,
        scores integer NOT NULL,
        published boolean NOT NULL,
        estimates jsonb NOT NULL,
        report jsonb NOT NULL
        """,
        refs={"measure_id": "measure"},
        uniques=(("number", "measure_id", "grade"),),
        api="SELECT",
        worker="SELECT, INSERT",
    )
