"""Owns the reads of the playbook: areas, levels, measures, the rule that judges a measure."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import select

from app.access.permission import Can
from app.access.work import Work, needs
from app.playbook.lookup import locate_area, locate_level, locate_measure, published
from app.playbook.models import Area, Level, Measure


@dataclass(frozen=True, slots=True)
class ChosenRule:
    """The rule that judges a measure, and the playbook version that says so."""

    rule: str
    parameters: Mapping[str, Any]
    playbook_version_id: UUID


@needs(Can.READ_PLAYBOOK)
async def areas(work: Work) -> list[Area]:
    """All areas by code; a district has tens, not thousands."""
    return list(await work.db.scalars(select(Area).where(Area.district_id == work.district_id).order_by(Area.code)))


@needs(Can.READ_PLAYBOOK)
async def levels(work: Work) -> list[Level]:
    """All levels by rank."""
    return list(await work.db.scalars(select(Level).where(Level.district_id == work.district_id).order_by(Level.rank)))


@needs(Can.READ_PLAYBOOK)
async def measures(work: Work) -> list[Measure]:
    """All measures by code."""
    rows = await work.db.scalars(select(Measure).where(Measure.district_id == work.district_id).order_by(Measure.code))
    return list(rows)


@needs(Can.READ_PLAYBOOK)
async def area_named(work: Work, name: str, pointer: str) -> Area:
    """The area of this code or id; raises `Invalid` at `pointer`."""
    return await locate_area(work, name, pointer)


@needs(Can.READ_PLAYBOOK)
async def measure_named(work: Work, name: str, pointer: str) -> Measure:
    """The measure of this code or id; raises `Invalid` at `pointer`."""
    return await locate_measure(work, name, pointer)


@needs(Can.READ_PLAYBOOK)
async def level_of_rank(work: Work, rank: int, pointer: str) -> Level:
    """The level of this rank; raises `Invalid` at `pointer`."""
    return await locate_level(work, rank, pointer)


@needs(Can.READ_PLAYBOOK)
async def rule_for(work: Work, measure_code: str) -> ChosenRule:
    """The rule of the published version for a measure."""
    version = await published(work)
    chosen = version.rules.get(measure_code) or version.rules["*"]
    return ChosenRule(chosen["rule"], chosen.get("parameters") or {}, version.id)
