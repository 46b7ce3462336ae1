"""Owns the reads of the playbook: areas, levels, measures, the rule that judges a measure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import select

from app.access.permission import Can
from app.access.work import Work, needs
from app.playbook.defaults import REMINDERS
from app.playbook.lookup import locate_area, locate_level, locate_measure, published
from app.playbook.models import Area, Level, Measure
from app.playbook.rules import AREA, choose


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


@dataclass(frozen=True, slots=True)
class Rulebook:
    """The rules of a version, with the areas in their tree; reads nothing more."""

    playbook_version_id: UUID
    rules: Mapping[str, Any]
    above: Mapping[UUID, tuple[str, ...]]

    def rule_for(self, measure: str, area_id: UUID, schools: Sequence[UUID]) -> ChosenRule:
        """The rule that judges this measure in this area at the first of these schools that has its own."""
        rule, parameters = choose(self.rules, measure, self.above.get(area_id, ()), schools)
        return ChosenRule(rule, parameters, self.playbook_version_id)


@needs(Can.READ_PLAYBOOK)
async def reminder_days(work: Work) -> dict[str, int]:
    """After how many days in weeks of instruction each thing is overdue; 0 is never."""
    return REMINDERS | {name: int(days) for name, days in (await published(work)).reminders.items()}


@needs(Can.READ_PLAYBOOK)
async def rulebook(work: Work, rules: Mapping[str, Any] | None = None) -> Rulebook:
    """The rules in force, or others in their place, as they would be."""
    version = await published(work)
    found = version.rules if rules is None else rules
    rows = {row.id: row for row in await areas(work)} if any(AREA in key for key in found) else {}
    above: dict[UUID, tuple[str, ...]] = {}
    for area_id in rows:
        codes, at = [], rows.get(area_id)
        while at is not None:
            codes.append(at.code)
            at = rows.get(at.parent_id) if at.parent_id else None
        above[area_id] = tuple(codes)
    return Rulebook(version.id, found, above)
