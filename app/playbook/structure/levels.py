"""Adds, renames, orders and retires the levels of support. Each change publishes the next version of the playbook.

No new record can use a retired level. Supports and phases that have a retired level keep it. A retired level also keeps
its rank, which a level in force may then have too.
"""

from dataclasses import dataclass
from typing import Annotated
from uuid import UUID

from sqlalchemy import select

from app.access.permission import Can
from app.access.work import Work, needs
from app.core import ids
from app.core.clock import now
from app.core.errors import Conflict, Invalid, NotFound, Violation
from app.core.ids import new_id
from app.core.inputs import About, AtMost
from app.core.text import Text
from app.core.violations import KnownValues, Violations, known_values
from app.playbook.models import Level
from app.playbook.service import lock_playbook, publish_next_version
from app.playbook.structure.rules import (
    MAX_LEVELS,
    MAX_NAME_LENGTH,
    renumbered,
    repeated,
    violations_of_name,
    violations_of_rank,
)

NAME = Text(min=1, max=MAX_NAME_LENGTH)


@dataclass(frozen=True, slots=True)
class NewLevel:
    """A level of support to be added."""

    name: Annotated[str, NAME, About("The name.", "Strategic")]
    rank: Annotated[
        int | None,
        About("The rank; 1 is core. Levels of this rank and above move up. By default, above the highest.", 3),
    ] = None


@needs(Can.PUBLISH_PLAYBOOK)
async def add_level(work: Work, new: NewLevel) -> Level:
    """Adds a level. If its rank is taken, the levels of this rank and above move up by one.

    Raises `Invalid` for an invalid name or rank, and `Conflict` if the district has `MAX_LEVELS` levels already.
    """
    await lock_playbook(work)
    values, violations = KnownValues(known_values(new)), Violations()
    present = await _in_force(work)
    highest = max((level.rank for level in present), default=0)
    with violations:
        violations.add([*NAME.violations(values["name"], "/name"), *violations_of_name(values["name"])])
    with violations:
        rank = highest + 1 if values["rank"] is None else values["rank"]
        violations.add(violations_of_rank(rank, highest))
    violations.refuse()
    if len(present) >= MAX_LEVELS:
        raise Conflict(f"A district has at most {MAX_LEVELS} levels.", code="level.too_many")
    if any(level.rank == rank for level in present):
        await _move(work, {level: level.rank + 1 for level in present if level.rank >= rank})
    level = Level(district_id=work.district_id, id=new_id(), rank=rank, name=new.name, version=1)
    work.db.add(level)
    await work.db.flush()
    await publish_next_version(work)
    return level


@needs(Can.PUBLISH_PLAYBOOK)
async def rename_level(
    work: Work, level_id: UUID, name: Annotated[str, NAME, About("The new name.", "Tier 2")]
) -> Level:
    """Renames a level."""
    await lock_playbook(work)
    violations = Violations()
    with violations:
        violations.add([*NAME.violations(name, "/name"), *violations_of_name(name)])
    level = await _load(work, level_id)
    violations.refuse()
    if level.name != name:
        level.name = name
        level.version += 1
        await work.db.flush()
        await publish_next_version(work)
    return level


@needs(Can.PUBLISH_PLAYBOOK)
async def order_levels(
    work: Work,
    levels: Annotated[
        tuple[str, ...],
        AtMost(MAX_LEVELS, 1),
        About("The ids of levels in force in their new order, the lowest first.", ("lev_01jq4n6d9zf3vbs0x5k2m7e8ta",)),
    ],
) -> None:
    """Orders the levels in force: they get ranks from 1 in this order.

    Levels that are not given follow in their present order.
    """
    await lock_playbook(work)
    present = {level.id: level for level in await _in_force(work)}
    violations, ordered = Violations(), list[UUID]()
    with violations:
        for place, name in enumerate(levels):
            with violations:
                level_id = ids.parse_id("level", name, f"/levels/{place}")
                if level_id not in present:
                    detail = "There is no such level in force."
                    raise Invalid([Violation(f"/levels/{place}", "level.unknown", detail)])
                ordered.append(level_id)
        violations.add(repeated(ordered, "/levels", "level.doubled"))
    violations.refuse()
    ordered += [level_id for level_id in present if level_id not in ordered]
    moved = renumbered([present[level_id] for level_id in ordered], "rank")
    if moved:
        await _move(work, moved)
        await publish_next_version(work)


@needs(Can.PUBLISH_PLAYBOOK)
async def retire_level(work: Work, level_id: UUID) -> Level:
    """Retires a level: nothing new may use it. Raises `Conflict` for the only level in force."""
    await lock_playbook(work)
    level = await _load(work, level_id)
    if level.retired_at is not None:
        raise Conflict("This level is retired already.", code="level.retired")
    if len(await _in_force(work)) == 1:
        raise Conflict("This is the only level in force.", code="level.only_one")
    level.retired_at = now()
    level.version += 1
    await work.db.flush()
    await publish_next_version(work)
    return level


@needs(Can.PUBLISH_PLAYBOOK)
async def restore_level(work: Work, level_id: UUID) -> Level:
    """Brings a retired level back into force, with its former rank or, if that rank is taken, as the highest level."""
    await lock_playbook(work)
    level = await _load(work, level_id)
    if level.retired_at is None:
        return level
    ranks = [each.rank for each in await _in_force(work)]
    if level.rank in ranks:
        level.rank = max(ranks) + 1
    level.retired_at = None
    level.version += 1
    await work.db.flush()
    await publish_next_version(work)
    return level


async def _move(work: Work, ranks: dict[Level, int]) -> None:
    """Gives each of these levels a new rank.

    Ranks must be unique after every statement. So the levels first get negative ranks, which no other level has.
    """
    for level, rank in ranks.items():
        level.rank = -rank
        level.version += 1
    await work.db.flush()
    for level, rank in ranks.items():
        level.rank = rank
    await work.db.flush()


async def _in_force(work: Work) -> list[Level]:
    rows = await work.db.scalars(
        select(Level).where(Level.district_id == work.district_id, Level.retired_at.is_(None)).order_by(Level.rank)
    )
    return list(rows)


async def _load(work: Work, level_id: UUID) -> Level:
    level = await work.db.scalar(select(Level).where(Level.district_id == work.district_id, Level.id == level_id))
    if level is None:
        raise NotFound("level")
    return level
