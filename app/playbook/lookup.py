"""Owns how commands find playbook rows. Opens no session itself: it works within the permission of whoever calls."""

from typing import TypeVar
from uuid import UUID

from sqlalchemy import ColumnElement, select

from app.access.work import Work
from app.core import ids
from app.core.errors import Forbidden, Invalid, NotFound, Violation
from app.playbook.models import Area, Level, Measure, PlaybookVersion

Row = TypeVar("Row", Area, Measure, Level)


async def locate_area(work: Work, name: str, pointer: str) -> Area:
    """The area named by code or id; raises `Invalid` at `pointer`."""
    return await _named(work, Area, "area", name, Area.code == name, pointer)


async def locate_measure(work: Work, name: str, pointer: str) -> Measure:
    """The measure named by code or id; raises `Invalid` at `pointer`."""
    return await _named(work, Measure, "measure", name, Measure.code == name, pointer)


async def locate_level(work: Work, rank: int, pointer: str) -> Level:
    """The level of this rank; raises `Invalid` at `pointer`."""
    if not 0 <= rank < 2**31:  # beyond an `integer`, which PostgreSQL would not take
        raise _unknown("level", pointer)
    return await _one(work, Level, "level", Level.rank == rank, pointer)


async def area_by_id(work: Work, area_id: UUID) -> Area:
    """The area of a row that names it."""
    return await _one(work, Area, "area", Area.id == area_id, "")


async def measure_by_id(work: Work, measure_id: UUID) -> Measure:
    """The measure of a row that names it."""
    return await _one(work, Measure, "measure", Measure.id == measure_id, "")


async def level_by_id(work: Work, level_id: UUID) -> Level:
    """The level of a row that names it."""
    return await _one(work, Level, "level", Level.id == level_id, "")


async def published(work: Work) -> PlaybookVersion:
    """The version in force."""
    version = await work.db.scalar(
        select(PlaybookVersion)
        .where(PlaybookVersion.district_id == work.district_id)
        .order_by(PlaybookVersion.number.desc())
        .limit(1)
    )
    if version is None:
        raise NotFound("playbook")
    return version


async def secured_code(work: Work, area: Area) -> str | None:
    """The code of the secured area that this one is or lies under; raises `Forbidden` where it is shut."""
    found: Area | None = area
    while found is not None and not found.secured:
        found = await area_by_id(work, found.parent_id) if found.parent_id else None
    if found is None:
        return None
    if not work.principal.opens_area(found.code):
        detail = f"The area {found.code} is secured: it needs the scope area:{found.code}."
        raise Forbidden(detail, code="area.secured")
    return found.code


async def _named(work: Work, model: type[Row], kind: str, name: str, by_code: ColumnElement[bool], pointer: str) -> Row:
    if name.startswith(f"{ids.PREFIXES[kind]}_"):
        return await _one(work, model, kind, model.id == ids.read(kind, name, pointer), pointer)
    if "\x00" in name:  # PostgreSQL stores none, so no code has it; asked for, it would be a fault
        raise _unknown(kind, pointer)
    return await _one(work, model, kind, by_code, pointer)


async def _one(work: Work, model: type[Row], kind: str, condition: ColumnElement[bool], pointer: str) -> Row:
    row = await work.db.scalar(select(model).where(model.district_id == work.district_id, condition))
    if row is None:
        raise _unknown(kind, pointer)
    return row


def _unknown(kind: str, pointer: str) -> Invalid:
    return Invalid([Violation(pointer, f"{kind}.unknown", f"The playbook has no such {kind}.")])
