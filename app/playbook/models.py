"""Defines the playbook's tables. A published version is never changed."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ARRAY, Text
from sqlalchemy.orm import Mapped, mapped_column

from app.core.db import Base, HasChangeTime, TenantRow


class Area(HasChangeTime, TenantRow, Base):
    """An area of concern in the district's tree of areas. A secured area is visible only with a scope of its own."""

    __tablename__ = "area"

    code: Mapped[str]
    name: Mapped[str]
    parent_id: Mapped[UUID | None]
    secured: Mapped[bool]


class Level(HasChangeTime, TenantRow, Base):
    """A level of support (it describes the support, not the child); 1 is core."""

    __tablename__ = "level"

    rank: Mapped[int]
    name: Mapped[str]


class Measure(HasChangeTime, TenantRow, Base):
    """An instrument that gives scores: its unit, direction (`up` or `down` is better), standard error of measurement,
    range.

    `kind` is `growth` for values that grow along a line, otherwise `count`, `percentage` or `criterion`, which have
    rules of their own. `forms` are its passages or versions; None means that the district does not list them.
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
    version: Mapped[int] = mapped_column(default=1, server_default="1")


class PlaybookVersion(TenantRow, Base):
    """A published version of the playbook.

    `rules` are the decision rules keyed by measure code, area or school; `*` applies to all others. `reminders` are the
    days of instruction after which each kind of reminder is due; a missing kind has its default.
    """

    __tablename__ = "playbook_version"

    number: Mapped[int]
    published_at: Mapped[datetime]
    rules: Mapped[dict[str, Any]]
    reminders: Mapped[dict[str, Any]] = mapped_column(default=dict)
