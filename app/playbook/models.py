"""Defines the playbook's tables. A published version is never changed."""

from datetime import date, datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ARRAY, Text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from app.core.db import Base, HasChangeTime, TenantRow


class Area(HasChangeTime, TenantRow, Base):
    """An area of concern in the district's tree of areas.

    A secured area is visible only to callers with the area's own scope.
    """

    __tablename__ = "area"

    code: Mapped[str]
    name: Mapped[str]
    parent_id: Mapped[UUID | None]
    secured: Mapped[bool]
    position: Mapped[int] = mapped_column(default=0, server_default="0")
    version: Mapped[int] = mapped_column(default=1, server_default="1")
    retired_at: Mapped[datetime | None]


class Level(HasChangeTime, TenantRow, Base):
    """A level of support; 1 is core. A level describes the support, not the child."""

    __tablename__ = "level"

    rank: Mapped[int]
    name: Mapped[str]
    version: Mapped[int] = mapped_column(default=1, server_default="1")
    retired_at: Mapped[datetime | None]


class Measure(HasChangeTime, TenantRow, Base):
    """An instrument that gives scores.

    * `direction` says whether a higher (`up`) or a lower (`down`) score is better.
    * `kind` is `growth` for values that grow along a line. The kinds `count`, `percentage` and `criterion` have their
      own decision rules.
    * `sem` is the standard error of measurement (SEM). `sems` has its values for some grades or ranges of score, as
      objects with the fields of `measures.noise.NewSemRange`; `sem` applies elsewhere.
    * `forms` are the versions of the test, such as its passages. None means that the district does not list them.
    """

    __tablename__ = "measure"

    code: Mapped[str]
    name: Mapped[str]
    area_id: Mapped[UUID]
    unit: Mapped[str]
    direction: Mapped[str]
    sem: Mapped[float | None]
    lowest: Mapped[float]
    highest: Mapped[float]
    kind: Mapped[str] = mapped_column(default="growth")
    forms: Mapped[list[str] | None] = mapped_column(ARRAY(Text))
    sems: Mapped[list[Any]] = mapped_column(default=list, server_default="[]")
    version: Mapped[int] = mapped_column(default=1, server_default="1")


class PlaybookVersion(TenantRow, Base):
    """A published version of the playbook.

    * `areas` and `levels` are those that were in force, as JSON.
    * `rules` are the decision rules, keyed by measure code, area or school; the rule under `*` applies where no other
      does.
    * `reminders` says after how many days of instruction a reminder is due, keyed by the kind of reminder. A kind that
      is missing has the default.
    """

    __tablename__ = "playbook_version"

    number: Mapped[int]
    published_at: Mapped[datetime]
    rules: Mapped[dict[str, Any]]
    reminders: Mapped[dict[str, Any]] = mapped_column(default=dict)
    areas: Mapped[list[Any]] = mapped_column(JSONB, default=list)
    levels: Mapped[list[Any]] = mapped_column(JSONB, default=list)
    agenda_order: Mapped[list[str]] = mapped_column(ARRAY(Text), default=list, server_default="{}")


class HypothesisKind(HasChangeTime, TenantRow, Base):
    """A kind of cause that teams suspect, such as a missing skill.

    `from_version` is the number of the first version of the playbook that has the row. `until_version` is the number of
    the first version after it that does not have the row, or None.
    """

    __tablename__ = "hypothesis_kind"

    code: Mapped[str]
    name: Mapped[str]
    from_version: Mapped[int]
    until_version: Mapped[int | None]


class IncidentKind(HasChangeTime, TenantRow, Base):
    """A kind of incident, such as disruption.

    `from_version` is the number of the first version of the playbook that has the row. `until_version` is the number of
    the first version after it that does not have the row, or None.
    """

    __tablename__ = "incident_kind"

    code: Mapped[str]
    name: Mapped[str]
    from_version: Mapped[int]
    until_version: Mapped[int | None]


class Benchmark(HasChangeTime, TenantRow, Base):
    """The norms and benchmarks of a measure for one grade, from one source.

    * `citation` names the source.
    * `season` is the season of the school year, or None for figures of the whole year.
    * `published` is false for a district's own figures.
    * `p10` to `p90` are percentiles. Growth is the improvement per week in the measure's units. It is positive.
    * `from_version` is the number of the first version of the playbook that has the row. `until_version` is the number
      of the first version after it that does not have the row, or None.
    """

    __tablename__ = "benchmark"

    measure_id: Mapped[UUID]
    grade: Mapped[str]
    season: Mapped[str | None]
    citation: Mapped[str]
    published: Mapped[bool]
    checked_on: Mapped[date | None]
    p10: Mapped[float | None]
    p25: Mapped[float | None]
    p50: Mapped[float | None]
    p75: Mapped[float | None]
    p90: Mapped[float | None]
    benchmark_goal: Mapped[float | None] = mapped_column("benchmark")
    risk_cut: Mapped[float | None]
    typical_growth: Mapped[float | None]
    realistic_growth: Mapped[float | None]
    from_version: Mapped[int]
    until_version: Mapped[int | None]
