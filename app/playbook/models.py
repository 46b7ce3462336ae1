"""Defines the playbook's tables. A published version is never changed."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ARRAY, Text
from sqlalchemy.orm import Mapped, mapped_column

from app.core.db import Base, HasChangeTime, TenantRow


class Area(HasChangeTime, TenantRow, Base):
    """An area of concern in the district's tree of areas. A secured area is visible only to callers with the area's own
    scope.
    """

    __tablename__ = "area"

    code: Mapped[str]
    name: Mapped[str]
    parent_id: Mapped[UUID | None]
    secured: Mapped[bool]


class Level(HasChangeTime, TenantRow, Base):
    """A level of support; 1 is core. A level describes the support, not the child."""

    __tablename__ = "level"

    rank: Mapped[int]
    name: Mapped[str]


class Measure(HasChangeTime, TenantRow, Base):
    """An instrument that gives scores.

    * `direction` says whether a higher (`up`) or a lower (`down`) score is better.
    * `kind` is `growth` for values that grow along a line. The kinds `count`, `percentage` and `criterion` have their
      own decision rules.
    * `sem` is the standard error of measurement (SEM). `sems` has its values for some grades or ranges of score, as
      objects with the fields of `noise.NewSemRange`; `sem` applies elsewhere.
    * `forms` are the passages or versions. None means that the district does not list them.
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

    * `rules` are the decision rules, keyed by measure code, area or school; `*` applies to all other series.
    * `reminders` has the days of instruction after which each kind of reminder is due. A kind that is not in it has the
      default.
    """

    __tablename__ = "playbook_version"

    number: Mapped[int]
    published_at: Mapped[datetime]
    rules: Mapped[dict[str, Any]]
    reminders: Mapped[dict[str, Any]] = mapped_column(default=dict)
