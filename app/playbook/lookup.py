"""Looks up playbook rows for commands. Checks no permission, because the commands have already done so."""

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import TypeVar
from uuid import UUID

from sqlalchemy import ARRAY, ColumnElement, Text, Uuid, any_, cast, or_, select

from app.access.work import Work
from app.core import ids
from app.core.errors import Forbidden, Invalid, NotFound, Violation
from app.playbook.models import Area, Level, Measure, PlaybookVersion

Row = TypeVar("Row", Area, Measure, Level)


async def locate_area(work: Work, name: str, pointer: str) -> Area:
    """Returns the area with this code or id; raises `Invalid` at `pointer` if there is none."""
    return await _by_code_or_id(work, Area, "area", name, Area.code == name, pointer)


async def locate_area_in_force(work: Work, name: str, pointer: str) -> Area:
    """Returns the area with this code or id, for a new record; raises `Invalid` if it does not exist or is retired."""
    area = await locate_area(work, name, pointer)
    require_in_force(area, pointer)
    return area


def require_in_force(area: Area, pointer: str) -> None:
    """Raises `Invalid` at `pointer` for a retired area."""
    if area.retired_at is not None:
        detail = "This area is retired, and takes nothing new: name an area in force."
        raise Invalid([Violation(pointer, "area.not_in_force", detail)])


async def locate_measure(work: Work, name: str, pointer: str) -> Measure:
    """Returns the measure with this code or id; raises `Invalid` at `pointer` if there is none."""
    return await _by_code_or_id(work, Measure, "measure", name, Measure.code == name, pointer)


async def locate_level(work: Work, rank: int, pointer: str) -> Level:
    """Returns the level in force that has this rank; raises `Invalid` at `pointer` if there is none."""
    if not 0 <= rank < 2**31:  # PostgreSQL refuses a number beyond its type `integer`.
        raise unknown_name("level", pointer)
    return await _load_one(work, Level, "level", (Level.rank == rank) & Level.retired_at.is_(None), pointer)


async def locate_level_or_retired(work: Work, rank: int, pointer: str) -> Level:
    """Returns the level in force that has this rank, or else the level of this rank that was retired last.

    Raises `Invalid` at `pointer` if there is no such level.
    """
    query = select(Level).where(Level.district_id == work.district_id, Level.rank == rank)
    level = None
    if 0 <= rank < 2**31:
        level = await work.db.scalar(query.order_by(Level.retired_at.desc().nulls_first(), Level.id).limit(1))
    if level is None:
        raise unknown_name("level", pointer)
    return level


async def level_beside(work: Work, rank: int, *, above: bool) -> Level | None:
    """Returns the level in force whose rank is the next above or below a rank, or None if there is none."""
    query = select(Level).where(Level.district_id == work.district_id, Level.retired_at.is_(None))
    if above:
        return await work.db.scalar(query.where(Level.rank > rank).order_by(Level.rank).limit(1))
    return await work.db.scalar(query.where(Level.rank < rank).order_by(Level.rank.desc()).limit(1))


@dataclass(frozen=True, slots=True)
class AreasByName:
    """Areas that were read for a list of records, keyed by code and by id."""

    by_name: dict[str | UUID, Area]

    def find(self, name: str, pointer: str) -> Area:
        """Returns the area with this code or id. Raises `Invalid` at `pointer` if there is none."""
        area = self.by_name.get(_id_or_code("area", name, pointer))
        if area is None:
            raise unknown_name("area", pointer)
        return area


async def load_areas(work: Work, names: Iterable[str]) -> AreasByName:
    """Returns the areas with these codes or ids, read with one statement. Unknown names are left out."""
    keys: set[str | UUID] = set()
    for name in set(names):
        with suppress(Invalid):  # `find` raises it later, with the name's pointer
            keys.add(_id_or_code("area", name, ""))
    area_ids, codes = ([key for key in keys if isinstance(key, kind)] for kind in (UUID, str))
    is_named = or_(Area.id == any_(cast(area_ids, ARRAY(Uuid))), Area.code == any_(cast(codes, ARRAY(Text))))
    query = select(Area).where(Area.district_id == work.district_id, is_named)
    areas = list(await work.db.scalars(query)) if keys else []
    return AreasByName({area.id: area for area in areas} | {area.code: area for area in areas})


async def load_levels(work: Work) -> dict[int, Level]:
    """Returns the levels in force, keyed by rank."""
    query = select(Level).where(Level.district_id == work.district_id, Level.retired_at.is_(None))
    return {level.rank: level for level in await work.db.scalars(query)}


async def area_by_id(work: Work, area_id: UUID) -> Area:
    """Returns the area with this id. The id must come from a row that refers to the area, so the area always exists."""
    return await _load_one(work, Area, "area", Area.id == area_id, "")


async def measure_by_id(work: Work, measure_id: UUID) -> Measure:
    """Returns the measure with this id. The id must come from a row that refers to the measure, so it always exists."""
    return await _load_one(work, Measure, "measure", Measure.id == measure_id, "")


async def level_by_id(work: Work, level_id: UUID) -> Level:
    """Returns the level with this id. The id must come from a row that refers to the level, so it always exists."""
    return await _load_one(work, Level, "level", Level.id == level_id, "")


async def published(work: Work) -> PlaybookVersion:
    """Returns the latest published version of the playbook, which is the version in force."""
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
    """Returns the code of the secured area that applies to an area, or None if no secured area applies.

    This is the area itself if it is secured, and otherwise the nearest secured area that contains it. Raises
    `Forbidden` if the caller lacks the scope of the secured area.
    """
    secured_area: Area | None = area
    while secured_area is not None and not secured_area.secured:
        secured_area = await area_by_id(work, secured_area.parent_id) if secured_area.parent_id else None
    return None if secured_area is None else opened_code(work, secured_area.code)


def opened_code(work: Work, code: str) -> str:
    """Returns `code`, the code of a secured area, after checking that the caller may use this area.

    A secured area, such as counselling, requires a scope of its own. Raises `Forbidden` if the caller lacks it.
    """
    if not work.principal.opens_area(code):
        detail = f"The area {code} is secured: it needs the scope area:{code}."
        raise Forbidden(detail, code="area.secured")
    return code


async def _by_code_or_id(
    work: Work, model: type[Row], kind: str, name: str, by_code: ColumnElement[bool], pointer: str
) -> Row:
    key = _id_or_code(kind, name, pointer)
    return await _load_one(work, model, kind, model.id == key if isinstance(key, UUID) else by_code, pointer)


def _id_or_code(kind: str, name: str, pointer: str) -> UUID | str:
    """Returns the row id if `name` is a public id, otherwise `name` itself, which is then a code.

    Raises `Invalid` at `pointer` for a malformed id or code.
    """
    if name.startswith(f"{ids.PREFIXES[kind]}_"):
        return ids.parse_id(kind, name, pointer)
    if "\x00" in name:  # PostgreSQL cannot store this text and would raise an error.
        raise unknown_name(kind, pointer)
    return name


async def _load_one(work: Work, model: type[Row], kind: str, condition: ColumnElement[bool], pointer: str) -> Row:
    row = await work.db.scalar(select(model).where(model.district_id == work.district_id, condition))
    if row is None:
        raise unknown_name(kind, pointer)
    return row


def unknown_name(kind: str, pointer: str) -> Invalid:
    """Returns the error for a code or an id that does not exist in the playbook. `kind` is, for example, `area`."""
    return Invalid([Violation(pointer, f"{kind}.unknown", f"The playbook has no such {kind}.")])
