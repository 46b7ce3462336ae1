"""Adds, renames, orders and retires the areas of a district. Each change publishes the next version of the playbook.

No new record can use a retired area. The existing records of a retired area stay in it and are judged by the same
rules. Two things about an area never change: its code, and whether it is secured. Records, rules and scopes rely on
both.
"""

from dataclasses import dataclass
from typing import Annotated
from uuid import UUID

from sqlalchemy import func, select

from app.access.permission import Can
from app.access.work import Work, needs
from app.core.clock import now
from app.core.errors import Conflict, Invalid, NotFound, Violation
from app.core.ids import new_id
from app.core.inputs import About, AtMost
from app.core.text import Text
from app.core.violations import KnownValues, Violations, known_values
from app.playbook.lookup import load_areas, locate_area_in_force, require_in_force
from app.playbook.models import Area
from app.playbook.service import lock_playbook, publish_next_version
from app.playbook.structure.rules import (
    MAX_AREAS,
    MAX_CODE_LENGTH,
    MAX_NAME_LENGTH,
    parent_code,
    renumbered,
    repeated,
    violations_of_area,
    violations_of_name,
)

NAME = Text(min=1, max=MAX_NAME_LENGTH)


@dataclass(frozen=True, slots=True)
class NewArea:
    """An area to be added. Its code names the area above it: `ela.fluency` lies below `ela`."""

    code: Annotated[
        str,
        Text(min=1, max=MAX_CODE_LENGTH),
        About("The code, which never changes. `ela.writing` lies below `ela`.", "ela.writing"),
    ]
    name: Annotated[str, NAME, About("The name.", "Writing")]
    secured: Annotated[
        bool,
        About(
            "Whether its records need a scope of their own, `area:<code>`; this never changes. An area below a secured "
            "one is secured with it.",
            False,
        ),
    ] = False


@needs(Can.PUBLISH_PLAYBOOK)
async def add_area(work: Work, new: NewArea) -> Area:
    """Adds an area after the last one.

    Raises `Invalid` for an invalid input or an unknown parent area. Raises `Conflict` if the code is taken, or if the
    district has too many areas.
    """
    await lock_playbook(work)
    values = KnownValues(known_values(new))
    violations, parent_id = Violations(violations_of_area(values)), None
    with violations:
        if not list(violations) and (code := parent_code(new.code)) is not None:
            parent_id = (await _locate_parent(work, code)).id
    violations.refuse()
    of_district = Area.district_id == work.district_id
    if await work.db.scalar(select(Area.id).where(of_district, Area.code == new.code)) is not None:
        raise Conflict("An area with this code exists, in force or retired.", code="area.taken")
    count, last = (await work.db.execute(select(func.count(), func.max(Area.position)).where(of_district))).one()
    if count >= MAX_AREAS:
        raise Conflict(f"A district has at most {MAX_AREAS} areas.", code="area.too_many")
    area = Area(
        district_id=work.district_id,
        id=new_id(),
        code=new.code,
        name=new.name,
        parent_id=parent_id,
        secured=new.secured,
        position=(last or 0) + 1,
        version=1,
    )
    work.db.add(area)
    await work.db.flush()
    await publish_next_version(work)
    return area


@needs(Can.PUBLISH_PLAYBOOK)
async def rename_area(
    work: Work, area_id: UUID, name: Annotated[str, NAME, About("The new name.", "Reading and spelling")]
) -> Area:
    """Renames an area. Its code stays the same."""
    await lock_playbook(work)
    violations = Violations()
    with violations:
        violations.add([*NAME.violations(name, "/name"), *violations_of_name(name)])
    area = await _load(work, area_id)
    violations.refuse()
    if area.name != name:
        area.name = name
        await _publish(work, [area])
    return area


@needs(Can.PUBLISH_PLAYBOOK)
async def order_areas(
    work: Work,
    areas: Annotated[
        tuple[str, ...],
        AtMost(MAX_AREAS, 1),
        About("The areas in their new order: codes or ids.", ("math", "ela")),
    ],
) -> None:
    """Puts the areas in order. Areas that are not given follow in their present order."""
    await lock_playbook(work)
    violations = Violations()
    first: list[Area] = []
    with violations:
        named = await load_areas(work, areas)
        for place, name in enumerate(areas):
            with violations:
                area = named.find(name, f"/areas/{place}")
                require_in_force(area, f"/areas/{place}")
                first.append(area)
        violations.add(repeated([area.id for area in first], "/areas", "area.doubled"))
    violations.refuse()
    rows = await work.db.scalars(
        select(Area)
        .where(Area.district_id == work.district_id, Area.retired_at.is_(None))
        .order_by(Area.position, Area.code)
    )
    moved = renumbered(list(dict.fromkeys([*first, *rows])), "position")
    for area, position in moved.items():
        area.position = position
    await _publish(work, list(moved))


@needs(Can.PUBLISH_PLAYBOOK)
async def retire_area(work: Work, area_id: UUID) -> Area:
    """Retires an area: nothing new may use it. Raises `Conflict` if areas below it are in force."""
    await lock_playbook(work)
    area = await _load(work, area_id)
    if area.retired_at is not None:
        raise Conflict("This area is retired already.", code="area.retired")
    below = select(Area.id).where(
        Area.district_id == work.district_id, Area.parent_id == area.id, Area.retired_at.is_(None)
    )
    if await work.db.scalar(below.limit(1)) is not None:
        raise Conflict("Areas below this one are in force: retire them first.", code="area.has_parts")
    area.retired_at = now()
    await _publish(work, [area])
    return area


@needs(Can.PUBLISH_PLAYBOOK)
async def restore_area(work: Work, area_id: UUID) -> Area:
    """Brings a retired area back into force. Raises `Conflict` while the area above it is retired."""
    await lock_playbook(work)
    area = await _load(work, area_id)
    if area.retired_at is None:
        return area
    if area.parent_id is not None and (await _load(work, area.parent_id)).retired_at is not None:
        raise Conflict("The area above this one is retired: bring it back first.", code="area.retired")
    area.retired_at = None
    await _publish(work, [area])
    return area


async def _locate_parent(work: Work, code: str) -> Area:
    try:
        return await locate_area_in_force(work, code, "/code")
    except Invalid:
        detail = "The code without its last part is not the code of an area in force. Add that area first."
        raise Invalid([Violation("/code", "area.parent_unknown", detail)]) from None


async def _load(work: Work, area_id: UUID) -> Area:
    area = await work.db.scalar(select(Area).where(Area.district_id == work.district_id, Area.id == area_id))
    if area is None:
        raise NotFound("area")
    return area


async def _publish(work: Work, changed: list[Area]) -> None:
    """Increments the version number of each changed area, and publishes the next version of the playbook."""
    for area in changed:
        area.version += 1
    if changed:
        await work.db.flush()
        await publish_next_version(work)
